r"""The joint matrix of N critics that learn from one backup of their values.

For critics i, j and weights :math:`S_k = \partial\,\mathrm{backup}/\partial Q_k` at X* (for the minimum the indicator
of the smallest),

.. math:: A_{ij} = \gamma\,\mathrm{diag}(1-d) \sum_k S_k\,G_{kj}(X^*, X) - G_{ij}(X, X),

an (NM, NM) matrix that holds shared encoders too.

Source: derived (theory/twin_min.py for two critics without shared parameters).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from seem.dynamics import Training

Backup = str | Callable[[Tensor], Tensor]
"""\"min\", \"mean\", or a function of the values (N, M) to (M,)."""


def flat(blocks: Tensor) -> Tensor:
    """(N, N, M, M) as (NM, NM)."""
    count, rows = blocks.shape[0], blocks.shape[2]
    return blocks.transpose(1, 2).reshape(count * rows, count * rows)


def next_growth(full: Tensor, error: Tensor, training: Training, step_size: float) -> float:
    """‖u + ηA W ψ(u)‖/‖u‖; 0 without an error."""
    size = error.norm().item()
    if size == 0:
        return 0.0
    pulled = training.pull(error) / size
    return (error.flatten() / size + step_size * (full @ pulled.flatten())).norm().item()


def backup_weights(values_next: Float[Tensor, "N M"], backup: Backup) -> Float[Tensor, "N M"]:
    """∂backup/∂Q_k at X*, for every critic and row.

    Args:
        values_next: Q(X*) of the critics that give the backup.
        backup: "min" (the first of equals), "mean", or a function of (N, M) to (M,).
    """
    count, rows = values_next.shape
    if count == 1 and not callable(backup):
        return torch.ones_like(values_next)
    if backup == "mean":
        return torch.full_like(values_next, 1 / count)
    if backup == "min":
        weights = torch.zeros_like(values_next)
        weights[values_next.argmin(0), torch.arange(rows)] = 1.0
        return weights
    assert callable(backup)
    with torch.inference_mode(False), torch.enable_grad():
        tracked = values_next.clone().requires_grad_()
        return torch.autograd.grad(backup(tracked).sum(), tracked)[0]
