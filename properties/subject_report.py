"""Properties of a critic: one examined with Hypothesis, and the table of all at the end of a run."""

import io
from dataclasses import asdict, dataclass
from typing import Literal

from hypothesis import Phase, given, settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from properties.subject import Draw, Subject, draws
from properties.subject_properties import PROPERTIES, CriticProperty
from properties.subject_traits import Traits

Outcome = Literal["holds", "fails", "not applicable"]
KEY = "critic examination"
"""Under this name an examination travels in a test's report, from the workers of a parallel run too."""


@dataclass(frozen=True)
class Examination:
    """What one property came to for one subject.

    Attributes:
        subject: Name of the critic.
        prop: Name of the property.
        outcome: How it came out.
        detail: Number of examples, the smallest counterexample, or the reason why the property does not apply.
    """

    subject: str
    prop: str
    outcome: Outcome
    detail: str


def examine(subject: Subject, traits: Traits, prop: CriticProperty) -> tuple[Examination, Exception | None]:
    """Try to refute a property of a critic.

    Args:
        subject: The critic.
        traits: What it is.
        prop: What the theory says of it.

    Returns:
        The examination, and what Hypothesis raised on the smallest counterexample, or None.
    """
    reason = prop.unless(traits)
    if reason:
        return Examination(subject.name, prop.name, "not applicable", reason), None
    tried: list[Draw] = []

    # Without the explanations: they take a hundred examples more, and a row of a table has no room for them.
    @settings(phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False)
    @given(draw=draws())
    def refute(draw: Draw) -> None:
        tried.append(draw)
        prop.check(subject.trial(draw), traits)

    try:
        refute()
    except Exception as error:  # a module of a stranger may raise anything: that is a counterexample too
        # Hypothesis runs the smallest one last.
        what = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        first_line = next(iter(what.splitlines()), "")
        return Examination(subject.name, prop.name, "fails", f"{tried[-1]}: {first_line}"), error
    return Examination(subject.name, prop.name, "holds", f"{len(tried)} examples{_of_degree(prop, traits)}"), None


def _of_degree(prop: CriticProperty, traits: Traits) -> str:
    if "^" not in prop.name and "Euler" not in prop.name:
        return ""
    repaired = sorted({exponent for exponent in traits.degrees.exponents.values() if exponent != 1})
    powers = f", biases scaled by c^{' and c^'.join(map(str, repaired))}" if repaired else ""
    return f", d = {traits.degrees.degree}{powers}"


def tables(examinations: list[Examination]) -> str:
    """The examinations of a run, a table per critic, in lines of at most 120 characters."""
    order = [prop.name for prop in PROPERTIES]
    console = Console(file=io.StringIO(), width=120)
    for subject in sorted({examined.subject for examined in examinations}):
        result = Table(title=escape(subject), title_justify="left", title_style="", show_header=False, box=None)
        result.add_column(no_wrap=True)
        result.add_column(overflow="fold")
        of_subject = [examined for examined in examinations if examined.subject == subject]
        for examined in sorted(of_subject, key=lambda examined: order.index(examined.prop)):
            result.add_row(f"  {examined.prop}", escape(f"{examined.outcome}: {examined.detail}"))
        console.print(result)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def to_property(examined: Examination) -> tuple[str, dict[str, str]]:
    """An examination as a test's user property."""
    return KEY, asdict(examined)


def from_properties(properties: list[tuple[str, object]]) -> list[Examination]:
    """The examinations among a test's user properties."""
    return [Examination(**value) for name, value in properties if name == KEY and isinstance(value, dict)]
