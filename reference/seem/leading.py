r"""The leading eigenvalue of A with a certificate, at a small share of the cost of all eigenvalues.

A critic that diverges has a few eigenvalues far from the rest. An Arnoldi iteration finds them; then an
orthonormal basis Q of their invariant subspace splits A (Schur's reduction):

.. math:: [Q\ Q_\perp]^\top A\,[Q\ Q_\perp] = \begin{pmatrix} T & * \\ R & B \end{pmatrix},
   \qquad \|B\|_F^2 = \|A\|_F^2 - \|Q^\top A\|_F^2 - \|R\|_F^2 .

A differs by ‖R‖ from a matrix whose eigenvalues are those of T and of B, and no eigenvalue of B has a real part
above :math:`\min(\|B\|_F, \omega(B))` with the numerical abscissa :math:`\omega(B) = \lambda_{max}((B+B^\top)/2)`.
If the largest real part in T exceeds that bound it is the leading eigenvalue: convergence alone never proves it.
On healthy critics the leading eigenvalue hides beside a far larger negative part and no bound separates it;
then all eigenvalues are computed.

Source: derived; Schur's reduction and ‖B‖ are standard (Golub and Van Loan, Matrix Computations, chapter 7).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from typing import Any, Literal, ParamSpec, TypeVar, cast

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs
from threadpoolctl import ThreadpoolController
from torch import Tensor

WANTED = 10
"""Eigenvalues that are split off: on diverging critics the tenth is below a fifth of the first."""
RESTARTS = 20
"""Restarts of the Arnoldi iteration; a critic that needs more has no isolated leading eigenvalue."""
TOLERANCE = 1e-11
"""Largest accepted ‖R‖/‖A‖_F: some hundred float64 roundings, what dense solvers reach at these sizes."""
SMALLEST_ITERATIVE = 64
"""Below this size all eigenvalues take no longer than an attempt."""

P = ParamSpec("P")
R = TypeVar("R")
Method = Literal["iterative", "dense"]
Vector = NDArray[np.float64]
Product = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Leading:
    """The leading eigenvalue of a matrix, and why it is the leading one.

    Attributes:
        value: The eigenvalue of largest real part; its imaginary part is not negative.
        others_below: No other eigenvalue, except those that were split off with it, has a real part above
            this; the second largest real part when all eigenvalues were computed.
        backward_error: Norm of the smallest known change of the matrix after which ``value`` is exact, relative
            to the Frobenius norm.
        method: "iterative" or "dense".
        products: Matrix-vector products that it took; 0 when dense.
        start: Unit vector, shape (M,), to start from when the matrix has changed a little; None when dense.
    """

    value: complex
    others_below: float
    backward_error: float
    method: Method
    products: int
    start: Vector | None

    def scaled(self, factor: float) -> "Leading":
        """Of the matrix times a positive factor."""
        return replace(self, value=self.value * factor, others_below=self.others_below * factor)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def torch_threads_only(function: Callable[P, R]) -> Callable[P, R]:
    """Hold numpy's and scipy's BLAS to one thread: theirs spin beside torch's and slow down what torch does next."""

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return held


def leading_eigenvalue(matrix: NDArray[np.float64], *, start: Vector | None = None) -> Leading:
    """The leading eigenvalue of a dense matrix: iterative where that can be certified, else from all of them.

    Args:
        matrix: Square and finite, shape (M, M), float64.
        start: What an earlier, similar matrix gave as ``start``; a fixed random vector without one.

    Returns:
        The eigenvalue with its certificate.

    Example:
        >>> import numpy as np
        >>> leading = leading_eigenvalue(np.diag([100.0, *np.full(99, -1.0)]))
        >>> round(leading.value.real, 9), leading.method
        (100.0, 'iterative')
        >>> leading_eigenvalue(np.diag([1.0, *np.linspace(-100, -1, 99)])).method
        'dense'
    """
    return attempt(matrix, start=start) or from_all_eigenvalues(matrix)


@torch_threads_only
def attempt(matrix: NDArray[np.float64], *, start: Vector | None = None, wanted: int = WANTED) -> Leading | None:
    """The iterative part of `leading_eigenvalue`.

    Args:
        matrix: Square and finite, shape (M, M), float64.
        start: A vector to start from.
        wanted: Eigenvalues that are split off.

    Returns:
        The eigenvalue with its certificate, or None when it cannot be certified, or when the matrix is so small
        that all eigenvalues take no longer.
    """
    scale = float(np.abs(matrix).max())
    if scale == 0 or len(matrix) < SMALLEST_ITERATIVE:
        return None
    scaled = torch.from_numpy(matrix / scale)  # no square of a nearly overflowing critic may overflow
    norm = scaled.norm().item()
    split = split_off(partial(times, scaled), len(matrix), norm, start=start, wanted=wanted)
    if split is None:
        return None
    found = attempt_of(split, norm, scaled)
    return found and found.scaled(scale)


def attempt_of(split: "Split", norm: float, matrix: Tensor) -> Leading | None:
    """Certify what was split off a matrix, by the norm or by the numerical abscissa of what remains.

    Args:
        split: The subspace.
        norm: ‖A‖_F.
        matrix: A.
    """
    crossing = times(matrix.mT, split.basis).T
    return certify(split, norm, crossing) or _certify_by_abscissa(split, norm, matrix, crossing)


def times(matrix: Tensor, v: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix times a vector or a block of vectors, by torch."""
    return (matrix @ torch.from_numpy(np.ascontiguousarray(v))).numpy()


@dataclass(frozen=True)
class Split:
    """An invariant subspace of a matrix: AQ = QT + R.

    Attributes:
        basis: Q, orthonormal columns, shape (M, k).
        eigenvalues: Those of T, falling real part, shape (k,).
        residual: ‖R‖_F.
        products: Matrix-vector products that it took.
    """

    basis: NDArray[np.float64]
    eigenvalues: NDArray[np.complex128]
    residual: float
    products: int

    @property
    def value(self) -> complex:
        """The eigenvalue of T with the largest real part."""
        return complex(self.eigenvalues[0].real, abs(self.eigenvalues[0].imag))


def split_off(
    product: Product,
    rows: int,
    norm: float,
    *,
    start: Vector | None = None,
    wanted: int = WANTED,
) -> Split | None:
    """Find the eigenvalues of largest modulus and an orthonormal basis of their invariant subspace.

    Args:
        product: A times a vector (M,) or a block of vectors (M, k).
        rows: M.
        norm: ‖A‖_F.
        start: A vector to start from; a fixed random one without it.
        wanted: How many eigenvalues.

    Returns:
        The subspace, of those eigenvalues that converged, or None when there is none to `TOLERANCE`.
    """
    count = 0

    def counted(vector: Vector) -> Vector:
        nonlocal count
        count += 1
        return product(vector)

    operator = cast(Any, LinearOperator)((rows, rows), matvec=counted, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(rows) if start is None else start
    try:
        # ARPACK's criterion is relative to each eigenvalue; ‖R‖ below is measured against ‖A‖.
        options = {"ncv": min(rows - 1, 4 * wanted), "maxiter": RESTARTS, "tol": TOLERANCE / 10}
        vectors = cast(Any, eigs)(operator, wanted, which="LM", v0=start, **options)[1]
    except ArpackNoConvergence as stopped:
        vectors = stopped.eigenvectors
    except ArpackError:
        return None  # the start vector spans an invariant subspace already, or the iteration broke down
    if vectors.shape[1] == 0:
        return None
    # Complex pairs come together, so real and imaginary parts span the same real subspace; half of them repeat.
    parts = np.hstack((vectors.real, vectors.imag))
    basis, triangle, _ = cast(Any, scipy.linalg.qr)(parts, mode="economic", pivoting=True)
    rank = int((np.abs(np.diag(triangle)) > 1e-8 * abs(triangle[0, 0])).sum())
    basis = np.ascontiguousarray(basis[:, :rank])
    pushed = product(basis)
    block = times(torch.from_numpy(basis).mT, pushed)
    residual = float(np.linalg.norm(pushed - times(torch.from_numpy(basis), block)))
    if not residual <= TOLERANCE * norm:
        return None
    eigenvalues = np.linalg.eigvals(block).astype(np.complex128)
    order = np.argsort(-eigenvalues.real, kind="stable")
    return Split(basis, eigenvalues[order], residual, count + rank)


def certify(split: Split, norm: float, crossing: NDArray[np.float64]) -> Leading | None:
    """Certify by the Frobenius norm of what remains.

    Args:
        split: The subspace.
        norm: ‖A‖_F.
        crossing: QᵀA, shape (k, M).

    Returns:
        The leading eigenvalue, or None when ‖B‖_F is not below its real part.
    """
    # A difference of squares: rounding of ‖A‖² is added, so that the bound stays one.
    rest = norm**2 * (1 + 1e-14 * len(split.basis)) - np.linalg.norm(crossing) ** 2
    return _certified(split, norm, float(np.sqrt(max(rest, 0.0))))


def _certify_by_abscissa(split: Split, norm: float, matrix: Tensor, crossing: NDArray[np.float64]) -> Leading | None:
    """Certify by ω(B) < s: then and only then sI - (B + Bᵀ)/2 has a Cholesky factor."""
    bound = split.value.real / 2  # half, to leave the next readings a margin and the bound a meaning
    if not bound > TOLERANCE * norm:
        return None
    basis, crossed = (torch.from_numpy(np.ascontiguousarray(part)) for part in (split.basis, crossing))
    rest = matrix - basis @ crossed
    rest -= (rest @ basis) @ basis.mT
    definite = (rest + rest.mT) * -0.5
    definite.diagonal().add_(bound)
    if torch.linalg.cholesky_ex(definite).info != 0:
        return None
    return _certified(split, norm, bound)


def _certified(split: Split, norm: float, bound: float) -> Leading | None:
    if not split.value.real > bound + split.residual:
        return None
    start = split.basis.sum(axis=1)
    start /= np.linalg.norm(start)
    return Leading(split.value, bound, split.residual / norm, "iterative", split.products, start)


@torch_threads_only
def from_all_eigenvalues(matrix: NDArray[np.float64]) -> Leading:
    """The leading eigenvalue, by computing all of them.

    Args:
        matrix: Square and finite, shape (M, M), float64.
    """
    values = np.linalg.eigvals(matrix).astype(np.complex128)
    values = values[np.argsort(-values.real, kind="stable")]
    first = complex(values[0].real, abs(values[0].imag))
    behind = min(2 if first.imag else 1, len(values) - 1)
    # LAPACK's eigenvalues are those of a matrix within a modest multiple of rounding (Anderson et al., 4.8).
    error = np.finfo(np.float64).eps * len(matrix)
    return Leading(first, float(values[behind].real), error, "dense", 0, None)
