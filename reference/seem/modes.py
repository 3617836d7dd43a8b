r"""Modes of one linearised step of the optimiser, in the row space: which grows fastest, why, and at which step sizes.

With :math:`K = JDJ^\top = RR^\top` of rank r and the bootstrap block Γ K*, both in coordinates of the row space
(`seem.margins.reduced`), a step acts on 3r numbers, of the critics' parameters, the memory and the targets. That leaves
out by construction the trivial eigenvalues 1, β and 1 - τ of the whole map, which never move u; every |z| > 1 that is
left does. With targets copied at every step each eigenvalue x of h(ΓK* - K) has its modes in closed form,

.. math:: (z - 1 + \omega)(z - \beta) = x\,n(z),

with frozen ones the eigenvalues of -hK take its place, and otherwise the dense matrix of one period is solved.

Source: derived (theory/preconditioned_step.py, theory/copied_target_radius.py, theory/averaged_target_modes.py,
theory/noncommuting_blocks.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seem.step_rules import StepRule

Matrix = NDArray[np.float64]
Driver = Literal["self-excitation", "overshoot", "resonance"]

GROWING = 1e-9
"""Growth per step below this is rounding of eigenvalues near 1, not growth."""
DAMPING = 1e-12
"""Eigenvalues of ΓK* - K below this share of its norm are rounding of float64 blocks."""
ACCEPTED = 1e-9
"""Largest backward error, relative to the step's matrix, of a mode that is reported."""
DECADES, PER_DECADE, HALVINGS = 4, 6, 30
"""The scan of learning rates: decades either way, points a decade, and halvings of an interval with a switch."""


@dataclass(frozen=True)
class Rows:
    """Both blocks in the row space, and the rule that acts on them.

    Attributes:
        kernel: RᵀR, shape (r, r), with the row weights; D and so the learning rates inside.
        bootstrap: ΓK* likewise.
        rule: The optimiser's.
        share: h.
        rate: τ: 1 for copied targets, 0 for frozen ones.
        interval: Steps between two changes of the targets.
    """

    kernel: Matrix
    bootstrap: Matrix
    rule: StepRule
    share: float
    rate: float
    interval: int

    @property
    def closed(self) -> bool:
        """Whether the modes have a closed form: targets copied at every step, or frozen."""
        return self.rate == 0 or (self.rate == 1 and self.interval == 1)

    def eigenvalues(self) -> NDArray[np.complex128]:
        """The x of the closed form at the present learning rates, without those that are rounding."""
        driven = -self.kernel if self.rate == 0 else self.bootstrap - self.kernel
        found = np.linalg.eigvals(driven).astype(np.complex128)
        kept = found[np.abs(found) > DAMPING * np.linalg.norm(driven)]
        return self.share * kept

    def step_matrix(self, factor: float, rate: float) -> Matrix:
        """One step of (critics, memory, targets) with all learning rates times a factor, shape (3r, 3r)."""
        size, rule = len(self.kernel), self.rule
        one, none = np.eye(size), np.zeros((size, size))
        push = factor * (self.share * self.kernel + rule.pull * one)
        gradient = np.hstack((push, none, -factor * self.share * self.bootstrap))
        memory = np.hstack((none, rule.memory * one, none)) + rule.inflow * gradient
        critic = np.hstack(((1 - factor * rule.shrink) * one, none, none))
        critic = critic - rule.direct * gradient - rule.through * memory
        targets = np.hstack((none, none, (1 - rate) * one)) + rate * critic
        return np.vstack((critic, memory, targets))

    def period(self, factor: float) -> Matrix:
        """The steps from one change of the targets to the next, as a matrix."""
        last = self.step_matrix(factor, self.rate)
        if self.interval == 1:
            return last
        return last @ np.linalg.matrix_power(self.step_matrix(factor, 0.0), self.interval - 1)


@dataclass(frozen=True)
class Mode:
    """The mode that grows fastest.

    Attributes:
        value: z, its factor per step; with an interval of the targets the principal root of the period's.
        growth: |z|.
        driver: What makes it grow; None where it does not.
        backward_error: How much the matrix has to change, relative to its norm, for the mode to be exact.
    """

    value: complex
    growth: float
    driver: Driver | None
    backward_error: float


def leading_mode(rows: Rows) -> Mode | None:
    """The mode of largest |z|, or None without any.

    Args:
        rows: The blocks.
    """
    if not len(rows.kernel):
        return None
    if rows.closed:
        return _closed(rows)
    matrix = rows.period(1.0)
    values, vectors = np.linalg.eig(matrix)
    first = int(np.abs(values).argmax())
    value, vector = complex(values[first]), vectors[:, first]
    error = float(np.linalg.norm(matrix @ vector - value * vector) / np.linalg.norm(matrix))
    z = value ** (1 / rows.interval)
    growth = abs(value) ** (1 / rows.interval)
    return Mode(z, growth, _driver_of(rows, value, growth) if growth > 1 + GROWING else None, error)


def _closed(rows: Rows) -> Mode | None:
    x = rows.eigenvalues()
    if not len(x):
        return None
    z = roots(x - rows.rule.pull, rows.rule)
    index, root = np.unravel_index(int(np.abs(z).argmax()), z.shape)
    value = complex(z[index, root])
    driver: Driver | None = None
    if abs(value) > 1 + GROWING:
        driver = "self-excitation" if x[index].real > 0 else "overshoot"
        if x[index].real <= 0 and abs(value.imag) > GROWING and rows.rule.memory > 0:
            driver = "resonance"
    # LAPACK's eigenvalues are those of a matrix within a modest multiple of rounding.
    return Mode(value, abs(value), driver, float(np.finfo(np.float64).eps) * len(rows.kernel))


def roots(x: NDArray[np.complex128], rule: StepRule) -> NDArray[np.complex128]:
    """Both z of (z - 1 + ω)(z - β) = x n(z) for every x, shape (n, 2).

    Args:
        x: Rates, shape (n,).
        rule: The optimiser's.
    """
    lead, constant = rule.numerator
    keep = 1 - rule.shrink
    total = keep + rule.memory + x * lead
    product = rule.memory * keep - x * constant
    root = np.sqrt(total**2 - 4 * product)
    # The larger of both without cancellation; the other from the product.
    large = np.where(np.abs(total + root) >= np.abs(total - root), total + root, total - root) / 2
    small = np.divide(product, large, out=np.zeros_like(large), where=large != 0)
    return np.stack((large, small), axis=1).astype(np.complex128)


def _driver_of(rows: Rows, value: complex, growth: float) -> Driver:
    """Of a mode with averaged or rarely copied targets: by where it stands, and whether ΓK* - K excites itself."""
    if abs(value.imag) <= 1e-6 * abs(value):
        return "self-excitation" if value.real > 0 else "overshoot"
    x = np.linalg.eigvals(rows.bootstrap - rows.kernel)
    excited = bool(x.real.max() > DAMPING * np.linalg.norm(rows.kernel))
    return "self-excitation" if excited and value.real > 0 else "resonance"


def growth_at(rows: Rows, factor: float) -> float:
    """ρ, the growth per step of the fastest mode, with all learning rates times a factor."""
    if rows.closed:
        x = factor * (rows.eigenvalues() - rows.rule.pull)
        shrunk = replace(rows.rule, shrink=factor * rows.rule.shrink)
        return float(np.abs(roots(x, shrunk)).max(initial=0.0))
    return float(np.abs(np.linalg.eigvals(rows.period(factor))).max(initial=0.0)) ** (1 / rows.interval)


def stable_factors(rows: Rows) -> tuple[tuple[float, float], ...]:
    """Factors on all learning rates at which no mode grows, as intervals.

    In closed form (down to 0) where targets are copied at every step or frozen, without decay and Nesterov: the modes
    reach the ellipse at -2αRe x/((Re x)² + α²(Im x)²), α = (1+β)/(1-β), x in Adam's units. Else from a scan of 4
    decades either way: narrower intervals, and ones beyond, are not seen.

    Args:
        rows: The blocks.

    Source: derived (theory/optimiser_thresholds.py, theory/noncommuting_blocks.py).
    """
    rule = rows.rule
    if not (rows.closed and rule.direct == 0 and rule.shrink == 0 and rule.pull == 0):
        return scan(lambda factor: growth_at(rows, factor) <= 1 + GROWING)
    x = rows.eigenvalues() * rule.numerator[0] / (1 - rule.memory)
    if not len(x):
        return ((0.0, math.inf),)
    if (x.real >= 0).any():
        return ()
    alpha = (1 + rule.memory) / (1 - rule.memory)
    sizes = np.abs(x)
    real, imaginary = x.real / sizes, x.imag / sizes  # no square may underflow
    largest = (-2 * alpha * real / (real**2 + alpha**2 * imaginary**2) / sizes).min()
    return ((0.0, float(largest)),)


def scan(stable: Callable[[float], bool]) -> tuple[tuple[float, float], ...]:
    """Intervals of the factors at which something is stable, by bisection between the points of a grid.

    Args:
        stable: Whether it is, at a factor.
    """
    grid = np.logspace(-DECADES, DECADES, 2 * DECADES * PER_DECADE + 1).tolist()
    states = [stable(factor) for factor in grid]
    ends: list[float] = [0.0] if states[0] else []
    for low, high, before, after in zip(grid, grid[1:], states, states[1:], strict=False):
        if before != after:
            ends.append(_switch(stable, low, high, after))
    if len(ends) % 2:
        ends.append(math.inf)
    return tuple((ends[i], ends[i + 1]) for i in range(0, len(ends), 2))


def _switch(stable: Callable[[float], bool], low: float, high: float, at_high: bool) -> float:
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if stable(middle) == at_high:
            high = middle
        else:
            low = middle
    return math.sqrt(low * high)
