"""The leading eigenvalue of a matrix that is too large to be held, with the certificate of `seem.leading`."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seem.errors import InputError
from seem.leading import SMALLEST_ITERATIVE, WANTED, Leading, Vector, certify, split_off, torch_threads_only
from seem.operators import ModuleOperator, SEEMOperator


@torch_threads_only
def leading_of_operator(
    operator: SEEMOperator | ModuleOperator, *, start: Vector | None = None, wanted: int = WANTED
) -> Leading | None:
    """The leading eigenvalue of a matrix that is too large to be held.

    Args:
        operator: Of one critic in float64 on the CPU, with at least 64 rows.
        start: What an earlier, similar matrix gave as ``start``.
        wanted: Eigenvalues that are split off; more of them leave a smaller rest, and certify more.

    Returns:
        The eigenvalue with its certificate, or None when it cannot be certified: there is no dense way out.

    Raises:
        InputError: When the operator is not in float64, whose rounding the certificate counts on.
    """
    if operator.mask.dtype != torch.float64:
        raise InputError(f"a certificate needs float64, not {operator.mask.dtype}: convert the critic by .double()")
    rows, norm = len(operator.mask), operator.norm().item()
    if not 0 < norm < np.inf or rows < SMALLEST_ITERATIVE:
        return None

    def apply(multiply: Callable[[Tensor], Tensor], v: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = torch.from_numpy(np.ascontiguousarray(v.reshape(rows, -1)))
        return multiply(columns).detach().numpy().reshape(v.shape)

    split = split_off(partial(apply, operator.product), rows, norm, start=start, wanted=wanted)
    return split and certify(split, norm, apply(operator.transposed, split.basis).T)
