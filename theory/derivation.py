r"""Derivations as sequences of steps that sympy must reduce to zero and mpmath must confirm.

A theory module exposes ``DERIVATIONS``, a tuple of `Derivation`. Its test asserts every step twice: the
symbolic residual left - right (- witness, for an inequality) reduces to exactly 0, and both sides agree
at random admissible points in 50 digits, evaluated by mpmath without sympy's simplifier. The same
objects are rendered as LaTeX on the documentation pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import mpmath
import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.matrices.expressions.matexpr import MatrixExpr

UNEVALUATED = (sp.Limit, sp.Integral, sp.Derivative, sp.Sum, sp.Product, sp.CRootOf, sp.RootSum, sp.Subs)
GUARD_DIGITS = 20
"""Digits carried beyond the asked ones: the steps cancel a few digits at most at their random points."""
SLACK_DIGITS = 10
"""Digits a numeric check may lose to cancellation between large terms."""
CLEARLY_WRONG = 1e-20
"""A relative gap no rounding explains in 50 digits."""

Side = sp.Expr | sp.MatrixBase
Relation = Literal["=", ">=", ">"]


class DerivationError(AssertionError):
    """A step that does not follow, or that is written in a form that nothing can check."""


@dataclass(frozen=True)
class Step:
    """One line of a derivation, ``left = right`` or ``left >= right``, entry by entry for matrices.

    Random points are real: a complex number is written by its real and imaginary parts.

    An inequality carries a witness whose sign sympy sees at once (a square, a product of positive
    symbols), and what is proved is the equality left - right = witness.

    Attributes:
        name: Short name, unique within the derivation.
        statement: What the line says, in words.
        assumptions: What it rests on beyond the assumptions of its symbols.
        left: Left side: an expression, or a matrix with explicit entries.
        right: Right side, of the same shape.
        relation: "=", ">=" or ">".
        witness: left - right of an inequality, in a form whose sign is manifest.
        ranges: Bounds of the random points, by symbol; without, they follow from the symbol's assumptions.
        where: Conditions that the random points must satisfy as well.
        shown: Left side as the page prints it; may hold a Limit, Derivative, Integral or Sum, and its
            ``doit()`` must equal ``left``.
        formula: LaTeX for the page where explicit entries would fill it; a caption, nothing checks it.

    Raises:
        DerivationError: When a side holds an unevaluated operation, a rounded number or an undefined function.
    """

    name: str
    statement: str
    assumptions: tuple[str, ...]
    left: Side
    right: Side
    relation: Relation = "="
    witness: Side | None = None
    ranges: Mapping[sp.Symbol, tuple[float, float]] = field(default_factory=dict)
    where: tuple[sp.Basic, ...] = ()
    shown: sp.Basic | None = None
    formula: str = ""

    def __post_init__(self) -> None:
        if (self.relation == "=") != (self.witness is None):
            raise DerivationError(f"{self.name}: an inequality needs a witness, an equality none")
        for side in ("left", "right", "witness"):
            value = getattr(self, side)
            if value is not None:
                object.__setattr__(self, side, _checked(value, f"{self.name}, {side} side"))
        if _entries(self.left).shape != _entries(self.right).shape:
            raise DerivationError(f"{self.name}: the sides differ in shape")

    def residual(self) -> Side:
        """What is left of left - right (- witness): exactly 0 for a step that follows.

        A difference that mpmath finds to be far from 0 comes back expanded only: no means of
        simplification would make it vanish, and a failing step must not take minutes to say so.
        """
        if self.shown is not None:
            shown_gap = reduced(sp.sympify(self.shown.doit()) - self.left)
            if not _is_zero(shown_gap):
                return shown_gap
        difference = self.left - self.right
        if self.witness is not None:
            difference -= self.witness
        cheap = sp.expand(difference) if isinstance(difference, sp.Expr) else difference.applyfunc(sp.expand)
        if _is_zero(cheap) or self.check_numerically(np.random.default_rng(0), points=1) > CLEARLY_WRONG:
            return cheap
        return reduced(difference)

    def witness_sign(self) -> bool:
        """Whether the witness has the sign that the inequality needs, as sympy derives it from assumptions."""
        if self.witness is None:
            return True
        entries = [sp.factor_terms(entry) for entry in _entries(self.witness)]
        if self.relation == ">":
            return all(entry.is_positive is True for entry in entries)
        return all(entry.is_nonnegative is True for entry in entries)

    def follows(self) -> bool:
        """Whether the residual is exactly zero and, for an inequality, the witness has its sign."""
        return _is_zero(self.residual()) and self.witness_sign()

    def check_numerically(self, rng: np.random.Generator, digits: int = 50, points: int = 4) -> mpmath.mpf:
        """Largest gap between both sides at random admissible points, relative to their size (at least 1).

        Args:
            rng: Source of the points.
            digits: Decimal digits of the evaluation.
            points: Number of points.

        Returns:
            The gap of an equality, of the order 10^-digits when it holds; for an inequality the larger of
            the witness's gap and the amount by which left falls short of right.
        """
        symbols = sorted(
            set().union(*(side.free_symbols for side in (self.left, self.right, self.witness) if side is not None)),
            key=lambda symbol: symbol.name,
        )
        sides = [_entries(side) for side in (self.left, self.right, self.witness) if side is not None]
        evaluate = sp.lambdify(symbols, [list(side) for side in sides], modules="mpmath", cse=True)
        worst = mpmath.mpf(0)
        with mpmath.workdps(digits + GUARD_DIGITS):
            for _ in range(points):
                values = evaluate(*self._point(symbols, rng))
                for left, right, *rest in zip(*values, strict=True):
                    scale = max(1, abs(left), abs(right))
                    worst = max(worst, abs(left - right - sum(rest)) / scale)
                    if self.relation != "=":
                        worst = max(worst, (right - left) / scale)
        return worst

    def agrees_numerically(self, rng: np.random.Generator, digits: int = 50, points: int = 4) -> bool:
        """Whether the gap of `check_numerically` is within rounding of ``digits`` digits."""
        return self.check_numerically(rng, digits, points) <= mpmath.mpf(10) ** (SLACK_DIGITS - digits)

    def _point(self, symbols: list[sp.Symbol], rng: np.random.Generator) -> list[mpmath.mpf | int]:
        for _ in range(10_000):
            point = [_drawn(symbol, self.ranges.get(symbol), rng) for symbol in symbols]
            chosen = dict(zip(symbols, map(sp.sympify, point), strict=True))
            if all(condition.subs(chosen) == sp.true for condition in self.where):
                return point
        raise DerivationError(f"{self.name}: no random point satisfies its conditions; give narrower ranges")

    def latex(self) -> str:
        """The line as LaTeX, without delimiters: its short formula if it has one."""
        if self.formula:
            return self.formula
        sign = {"=": "=", ">=": r"\ge", ">": ">"}[self.relation]
        return f"{sp.latex(self.left if self.shown is None else self.shown)} {sign} {sp.latex(self.right)}"


@dataclass(frozen=True)
class Derivation:
    """A theorem as the steps that lead to it.

    Attributes:
        title: What is derived.
        source: Where the statement is from, with its grade: printed, recalled or derived.
        steps: The steps, in order.

    Raises:
        DerivationError: When two steps share a name or the source carries no grade.
    """

    title: str
    source: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise DerivationError(f"{self.title}: two steps share a name")
        if not any(grade in self.source for grade in ("printed", "recalled", "derived")):
            raise DerivationError(f"{self.title}: the source names no grade (printed, recalled or derived)")

    def latex(self) -> str:
        """All steps as one LaTeX ``gather*`` block, each tagged with its name."""
        lines = (rf"{step.latex()} \tag{{{step.name}}}" for step in self.steps)
        return "\\begin{gather*}\n" + " \\\\\n".join(lines) + "\n\\end{gather*}"

    def __getitem__(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"{self.title} has no step {name!r}")


def assert_step(step: Step, seed: int = 0, digits: int = 50) -> None:
    """Assert that a step follows symbolically and holds numerically.

    Args:
        step: The step.
        seed: Seed of the random points.
        digits: Decimal digits of the numeric check.

    Raises:
        DerivationError: When it does not; the message holds what is left.
    """
    residual = step.residual()
    if not _is_zero(residual):
        raise DerivationError(f"{step.name}: {step.statement} The residual is not zero: {residual}")
    if not step.witness_sign():
        raise DerivationError(f"{step.name}: the sign of the witness {step.witness} is not manifest")
    gap = step.check_numerically(np.random.default_rng(seed), digits)
    if not gap <= mpmath.mpf(10) ** (SLACK_DIGITS - digits):
        raise DerivationError(f"{step.name}: the sides differ by {mpmath.nstr(gap, 5)} at a random point")


def assert_derivation(derivation: Derivation, seed: int = 0) -> None:
    """Assert every step of a derivation; see `assert_step`."""
    for step in derivation.steps:
        assert_step(step, seed)


def reduced(expression: Side) -> Side:
    """An expression simplified, cheapest means first; matrices entry by entry."""
    if isinstance(expression, sp.MatrixBase):
        return expression.applyfunc(reduced)
    return reduce(lambda value, means: value if value == 0 else means(value), _MEANS, expression)


_MEANS: tuple[Callable[[sp.Expr], sp.Expr], ...] = (
    sp.expand,
    lambda value: sp.expand(sp.powsimp(sp.expand_power_base(value, force=False))),
    lambda value: sp.factor(sp.together(value)),
    sp.simplify,
    lambda value: sp.simplify(sp.expand(value.rewrite(sp.exp))),
    lambda value: sp.simplify(sp.radsimp(sp.expand(value))),
)


def _is_zero(value: Side) -> bool:
    return all(entry == 0 for entry in _entries(value))


def _entries(value: Side) -> sp.ImmutableDenseMatrix:
    return value if isinstance(value, sp.MatrixBase) else sp.ImmutableDenseMatrix([[value]])


def _checked(value: object, where: str) -> Side:
    if isinstance(value, MatrixExpr):
        value = value.as_explicit()
    value = sp.ImmutableDenseMatrix(value) if isinstance(value, sp.MatrixBase) else sp.sympify(value)
    if value.has(*UNEVALUATED):
        raise DerivationError(f"{where}: {value} holds an unevaluated operation; evaluate it, show it with `shown`")
    if value.atoms(sp.Float):
        raise DerivationError(f"{where}: {value} holds a rounded number; write it as a Rational")
    if value.atoms(AppliedUndef) or value.atoms(sp.MatrixSymbol):
        raise DerivationError(f"{where}: {value} holds an undefined function or matrix; write its entries")
    if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise DerivationError(f"{where}: {value} is not finite")
    return value


def _drawn(symbol: sp.Symbol, bounds: tuple[float, float] | None, rng: np.random.Generator) -> mpmath.mpf | int:
    low, high = bounds if bounds is not None else _default_bounds(symbol)
    if symbol.is_integer:
        values = [n for n in range(int(np.ceil(low)), int(np.floor(high)) + 1) if n or not symbol.is_nonzero]
        return int(rng.choice(values))
    digits = "".join(map(str, rng.integers(0, 10, mpmath.mp.dps)))
    return mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * mpmath.mpf("0." + digits)


def _default_bounds(symbol: sp.Symbol) -> tuple[float, float]:
    smallest, largest = (1, 6) if symbol.is_integer else (0.1, 3.0)
    if symbol.is_positive:
        return smallest, largest
    if symbol.is_nonnegative:
        return 0, largest
    return -largest, -smallest if symbol.is_negative else largest
