"""Verdicts on a critic: one claim examined with Hypothesis, and the table of all at the end of a run."""

import io
from dataclasses import asdict, dataclass
from typing import Literal

from hypothesis import Phase, given, settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from properties.subject import Draw, Subject, draws
from properties.subject_claims import CLAIMS, Claim
from properties.subject_traits import Traits

Outcome = Literal["holds", "fails", "not applicable"]
KEY = "critic verdict"
"""Under this name a verdict travels in a test's report, from the workers of a parallel run too."""


@dataclass(frozen=True)
class Verdict:
    """What one claim came to for one subject.

    Attributes:
        subject: Name of the critic.
        claim: Name of the claim.
        outcome: How it came out.
        detail: Number of examples, the smallest counterexample, or the reason why the claim does not apply.
    """

    subject: str
    claim: str
    outcome: Outcome
    detail: str


def examine(subject: Subject, traits: Traits, claim: Claim) -> tuple[Verdict, Exception | None]:
    """Try to refute a claim of a critic.

    Args:
        subject: The critic.
        traits: What it is.
        claim: What the theory says of it.

    Returns:
        The verdict, and what Hypothesis raised on the smallest counterexample, or None.
    """
    reason = claim.unless(traits)
    if reason:
        return Verdict(subject.name, claim.name, "not applicable", reason), None
    tried: list[Draw] = []

    # Without the explanations: they take a hundred examples more, and a row of a table has no room for them.
    @settings(phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False)
    @given(draw=draws())
    def refute(draw: Draw) -> None:
        tried.append(draw)
        claim.check(subject.trial(draw), traits)

    try:
        refute()
    except Exception as error:  # a module of a stranger may raise anything: that is a counterexample too
        # Hypothesis runs the smallest one last.
        what = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        first_line = next(iter(what.splitlines()), "")
        return Verdict(subject.name, claim.name, "fails", f"{tried[-1]}: {first_line}"), error
    return Verdict(subject.name, claim.name, "holds", f"{len(tried)} examples{_of_degree(claim, traits)}"), None


def _of_degree(claim: Claim, traits: Traits) -> str:
    if "^" not in claim.name and "Euler" not in claim.name:
        return ""
    repaired = sorted({exponent for exponent in traits.degrees.exponents.values() if exponent != 1})
    powers = f", biases scaled by c^{' and c^'.join(map(str, repaired))}" if repaired else ""
    return f", d = {traits.degrees.degree}{powers}"


def tables(verdicts: list[Verdict]) -> str:
    """The verdicts of a run, a table a critic, in lines of at most 120 characters."""
    order = [claim.name for claim in CLAIMS]
    console = Console(file=io.StringIO(), width=120)
    for subject in sorted({verdict.subject for verdict in verdicts}):
        result = Table(title=escape(subject), title_justify="left", title_style="", show_header=False, box=None)
        result.add_column(no_wrap=True)
        result.add_column(overflow="fold")
        of_subject = [verdict for verdict in verdicts if verdict.subject == subject]
        for verdict in sorted(of_subject, key=lambda verdict: order.index(verdict.claim)):
            result.add_row(f"  {verdict.claim}", escape(f"{verdict.outcome}: {verdict.detail}"))
        console.print(result)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def to_property(verdict: Verdict) -> tuple[str, dict[str, str]]:
    """A verdict as a test's user property."""
    return KEY, asdict(verdict)


def from_properties(properties: list[tuple[str, object]]) -> list[Verdict]:
    """The verdicts among a test's user properties."""
    return [Verdict(**value) for name, value in properties if name == KEY and isinstance(value, dict)]
