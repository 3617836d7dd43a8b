r"""Where the leading eigenvalue lies, when it is not worth all eigenvalues to say which it is.

From below: the largest real part that an Arnoldi iteration found to rounding (`seem.leading.split_off`), and the mean
of all eigenvalues, trace(A)/M. From above: what was split off and the numerical abscissa of the rest,
:math:`\max(\mathrm{Re}\,T, \omega(B))`, whose reduction is in `seem.leading`. Both are of a matrix within
the stated backward error of A. Other inner products do not tighten it: that of G or of its inverse, and a diagonal
scaling, were tried on critics in training and are wider by up to three orders.

Source: derived.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from seem.leading import SMALLEST_ITERATIVE, Leading, Vector, attempt_of, split_off, times, torch_threads_only


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
        (True, None)
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
    bound = torch.linalg.eigvalsh((rest + rest.mT) / 2)
    if split is not None:
        bound = _without_zeros(bound, split.basis.shape[1])
    return Enclosure(low * scale, max(high, bound[-1].item()) * scale, None)


def _without_zeros(values: torch.Tensor, count: int) -> torch.Tensor:
    """Symmetric eigenvalues, rising, without the ``count`` nearest zero that the projection added."""
    order = values.abs().argsort()
    return values[order[count:].sort().values]
