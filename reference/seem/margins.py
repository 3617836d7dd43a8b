r"""How far a critic is from blowing up: in the discount, and in the step size.

With :math:`B = \mathrm{diag}(1-d)\,G(X^*, X)` and :math:`G = G(X, X)`, :math:`A(\gamma) = \gamma B - G`. Modes outside
the row space of the gradients do not move the TD error: all is computed on that of G, where the Gram matrix is
:math:`RR^\top` and :math:`T(\gamma) = \gamma R^{+}BR^{+\top} R^\top R - R^\top R` has the eigenvalues of A without the
zeros that rank deficiency adds. A mode on the imaginary axis is where stability switches: real ones at
:math:`1/\gamma \in \mathrm{eig}`, complex ones where :math:`T \oplus T` is singular, found between the points of a scan
by bisection.

Source: derived (the unstable set need not be an interval: a counterexample stands in the tests).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.leading import torch_threads_only

RANK = 1e-12
"""Eigenvalues of G below this share of the largest are rounding of float64 blocks, and outside the row space."""
SCAN = 32
"""Discounts at which stability is looked at, besides the real crossings: complex modes cross between them."""
HALVINGS = 40
"""Halvings of the interval that holds a crossing: its end is known to 1e-12."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class DiscountMargin:
    """At which discounts the critic is unstable as η tends to zero.

    Attributes:
        critical: γ_c, the infimum of the γ in [0, 1] with a growing mode; None when there is none up to 1.
        stable: Whether no mode grows at the present γ; None when γ differs by row.
        switch: The nearest γ in [0, 1] to the present one where stability changes; None when there is none.
        unstable: The unstable intervals found in [0, 1].
    """

    critical: float | None
    stable: bool | None
    switch: float | None
    unstable: tuple[tuple[float, float], ...]


def reduced(gram: Float[Tensor, "M M"], bootstrap: Float[Tensor, "M M"]) -> tuple[Matrix, Matrix]:
    """Both blocks in coordinates of the row space: matrices (r, r) with the eigenvalues of γB - G that are not trivial.

    Args:
        gram: G(X, X), float64 on the CPU.
        bootstrap: B, likewise.

    Returns:
        RᵀR and R⁺BR, with G = RRᵀ: similar to G and B on G's range.
    """
    values, vectors = np.linalg.eigh(gram.numpy())
    kept = values > max(values[-1], 0.0) * RANK
    roots = np.sqrt(values[kept])
    basis = vectors[:, kept]
    # u = R w with R = V√Λ: then w' = R⁺(γB - G)R w.
    inner = (basis.T @ bootstrap.numpy() @ basis) * roots[None] / roots[:, None]
    return np.diag(values[kept]), inner


@torch_threads_only
def discount_margin(
    gram: Float[Tensor, "M M"], bootstrap: Float[Tensor, "M M"], discount: float | None
) -> DiscountMargin:
    """The critical discount, stability at the present one, and the nearest switch.

    Args:
        gram: G(X, X), of one critic or the joint one of several, float64 on the CPU.
        bootstrap: B, the bootstrap's block without γ, likewise.
        discount: The present γ; None when it differs by row.

    Returns:
        The margin. Complex crossings closer together than 1/32 of γ may be missed.
    """
    plain, inner = reduced(gram, bootstrap)
    if not len(plain):
        return DiscountMargin(None, None if discount is None else True, None, ())
    size = max(float(np.abs(plain).max()), 1e-300)
    plain, inner = plain / size, inner / size
    room = 1e-11 * max(1.0, float(np.linalg.norm(inner)))

    def grows(gamma: float) -> bool:
        return bool(np.linalg.eigvals(gamma * inner - plain).real.max() > room)

    # det(γB - G) = 0 where γ = 1/eig(G⁻¹B): real modes cross there.
    ratios = np.linalg.eigvals(inner / np.diag(plain)[:, None])
    real = ratios.real[(np.abs(ratios.imag) <= 1e-9 * np.abs(ratios)) & (ratios.real >= 1)]
    crossings = sorted(float(1 / ratio) for ratio in real)
    floor = _certified_floor(plain, inner)
    points = [0.0, 1.0, *np.linspace(floor, 1, SCAN).tolist(), *([] if discount is None else [discount])]
    points += [0.5 * (first + second) for first, second in pairwise(crossings)]
    points += [crossing + shift for crossing in crossings for shift in (-1e-9, 1e-9) if 0 <= crossing + shift <= 1]
    states = [(float(gamma), bool(gamma > floor and grows(gamma))) for gamma in sorted(set(points))]
    switches = [_bisect(grows, a, b, at_b) for (a, at_a), (b, at_b) in pairwise(states) if at_a != at_b]
    unstable = _intervals(switches, states[0][1])
    stable = None if discount is None else not grows(discount)
    nearest = None if discount is None or not switches else min(switches, key=lambda gamma: abs(gamma - discount))
    return DiscountMargin(unstable[0][0] if unstable else None, stable, nearest, unstable)


def _certified_floor(plain: Matrix, inner: Matrix) -> float:
    """A γ below which the symmetric part proves that nothing grows: 1/λ_max(sym B, G)."""
    largest = float(scipy.linalg.eigh((inner + inner.T) / 2, plain, eigvals_only=True)[-1])
    return 1.0 if largest <= 1 else (1 - 1e-9) / largest


def _bisect(grows: Callable[[float], bool], low: float, high: float, grows_at_high: bool) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if grows(middle) == grows_at_high:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _intervals(switches: list[float], unstable_at_zero: bool) -> tuple[tuple[float, float], ...]:
    ends = [*([0.0] if unstable_at_zero else []), *switches]
    if len(ends) % 2:
        ends.append(1.0)
    return tuple((ends[i], ends[i + 1]) for i in range(0, len(ends), 2))


def largest_step(spectrum: Tensor, damping: float = 0.0) -> float | None:
    """The largest η with |1 + ηλ| ≤ 1 for all eigenvalues: above it the step size overshoots.

    Args:
        spectrum: All eigenvalues of A, complex.
        damping: Rounding of the eigenvalues: those within it of zero do not move u.

    Returns:
        η*, infinity when nothing moves; None when a mode grows at any step size.

    Source: derived: min of -2 Re λ/|λ|².
    """
    moving = spectrum[spectrum.abs() > damping]
    if (moving.real >= 0).any():
        return None
    if not len(moving):
        return math.inf
    # -2 Re λ/|λ|², without the square's underflow.
    sizes = moving.abs()
    return (-2 * (moving.real / sizes) / sizes).min().item()
