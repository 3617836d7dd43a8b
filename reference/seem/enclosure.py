r"""Where the leading eigenvalue lies, when it is not worth all eigenvalues to say which it is.

From below: the largest real part that an Arnoldi iteration found to rounding, among the eigenvalues of largest modulus
(`seem.leading.split_off`) and, where those do not tell, of largest real part (`rightmost`); the mean of all
eigenvalues, trace(A)/M; and the parity of the real eigenvalues above a number close to 0, from the sign of a
determinant (`odd_above`). From above: what was split off and the numerical abscissa of the rest,
:math:`\max(\mathrm{Re}\,T, \omega(B))`, whose reduction is in `seem.leading`. Both are of a matrix within
the stated backward error of A. Other inner products do not tighten it: that of G or of its inverse, and a diagonal
scaling, were tried on critics in training and are wider by up to three orders.

Source: derived.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

from seem.leading import (
    SMALLEST_ITERATIVE,
    TOLERANCE,
    Leading,
    Vector,
    attempt_of,
    split_off,
    times,
    torch_threads_only,
)

BASIS = 40
"""Vectors of the Arnoldi iteration for the largest real part."""
RESTARTS = 10
"""Its restarts, some 400 products: where the eigenvalue is no nearer to the others than a hundredth of the norm it
needs one or two, and beyond this the determinant is cheaper."""
ROUGHLY = 1e-4
"""Relative accuracy at which the iteration stops; an inverse iteration takes it to rounding."""


@dataclass(frozen=True)
class Enclosure:
    """Bounds of max Re λ(A).

    Attributes:
        low: It is not below this.
        high: It is not above this.
        leading: The eigenvalue itself where it could be certified without all of them, or None.
    """

    low: float
    high: float
    leading: Leading | None

    @property
    def excited(self) -> bool | None:
        """Whether a mode excites itself; None where the bounds do not tell, which a gate should take for yes."""
        if self.low > 0:
            return True
        return False if self.high <= 0 else None


@torch_threads_only
def enclose(matrix: NDArray[np.float64], *, start: Vector | None = None) -> Enclosure:
    """Bounds of the leading eigenvalue without all eigenvalues.

    Args:
        matrix: Square and finite, shape (M, M), float64.
        start: What an earlier, similar matrix gave as ``start``.

    Returns:
        The bounds; they coincide where the leading eigenvalue is certified.

    Example:
        >>> import numpy as np
        >>> bounds = enclose(np.diag([1.0, *np.linspace(-100, -1, 99)]))
        >>> bounds.low <= 1 <= bounds.high, bounds.excited
        (True, True)
    """
    scale = float(np.abs(matrix).max())
    if scale == 0:
        return Enclosure(0.0, 0.0, None)
    scaled = torch.from_numpy(matrix / scale)
    norm, mean = scaled.norm().item(), scaled.diagonal().mean().item()
    split = (
        split_off(partial(times, scaled), len(matrix), norm, start=start) if len(matrix) >= SMALLEST_ITERATIVE else None
    )
    rest, low, high = scaled, mean, -np.inf
    if split is not None:
        found = attempt_of(split, norm, scaled)
        if found is not None:
            value = found.value.real * scale
            return Enclosure(value, value, found.scaled(scale))
        basis = torch.from_numpy(split.basis)
        rest = scaled - basis @ (basis.mT @ scaled)
        rest = rest - (rest @ basis) @ basis.mT
        # Off the subspace the rest has only zeros: they do not count.
        low, high = max(mean, split.value.real - split.residual), split.value.real + split.residual
    if low <= 0:
        low = max(low, rightmost(scaled.numpy(), norm))
    if low <= 0 and odd_above(scaled.numpy(), TOLERANCE * norm):
        low = TOLERANCE * norm
    bound = torch.linalg.eigvalsh((rest + rest.mT) / 2)
    if split is not None:
        bound = _without_zeros(bound, split.basis.shape[1])
    return Enclosure(low * scale, max(high, bound[-1].item()) * scale, None)


@torch_threads_only
def rightmost(matrix: NDArray[np.float64], norm: float) -> float:
    """A bound from below of the largest real part, by an Arnoldi iteration for it and one inverse iteration.

    Args:
        matrix: Square and finite, shape (M, M).
        norm: ‖A‖_F.

    Returns:
        The real part of an eigenvalue of a matrix within `TOLERANCE` of A, less that distance; -inf where the
        iteration does not get there.
    """
    rows = len(matrix)
    if rows <= BASIS:
        return -np.inf
    start = np.random.default_rng(0).standard_normal(rows)
    options = {"which": "LR", "v0": start, "ncv": BASIS, "maxiter": RESTARTS, "tol": ROUGHLY}
    product = partial(times, torch.from_numpy(matrix))
    operator = cast(Any, LinearOperator)((rows, rows), matvec=product, dtype=np.float64)
    try:
        values, vectors = cast(Any, eigs)(operator, 1, **options)
    except ArpackError:  # not converged, or broken down
        return -np.inf
    # The smallest step aside keeps the factors from a pivot of 0 where the eigenvalue is exact.
    shift = complex(values[0]) + np.finfo(np.float64).eps * norm
    inverse = torch.linalg.lu_factor_ex(torch.from_numpy(matrix - shift * np.eye(rows)))
    vector = torch.from_numpy(vectors[:, :1]).to(torch.complex128)
    for _ in range(2):
        vector = torch.linalg.lu_solve(inverse.LU, inverse.pivots, vector)
        vector /= vector.norm()
    vector = vector[:, 0].numpy()
    pushed = matrix @ vector
    value = complex(np.vdot(vector, pushed))
    residual = float(np.linalg.norm(pushed - value * vector))
    return value.real - residual if residual <= TOLERANCE * norm else -np.inf


@torch_threads_only
def odd_above(matrix: NDArray[np.float64], level: float) -> bool:
    """Whether an odd number of real eigenvalues exceeds a level, which is then at least one.

    det(level·I - A) is negative then: real eigenvalues above the level give a negative factor each, and complex pairs a
    positive one. From one LU factorisation.

    Args:
        matrix: Square and finite, shape (M, M).
        level: The level.
    """
    return bool(np.linalg.slogdet(level * np.eye(len(matrix)) - matrix)[0] < 0)


def _without_zeros(values: torch.Tensor, count: int) -> torch.Tensor:
    """Symmetric eigenvalues, rising, without the ``count`` nearest zero that the projection added."""
    order = values.abs().argsort()
    return values[order[count:].sort().values]
