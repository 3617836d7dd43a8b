"""Normalisations of each unit by itself, without statistics of the row: BatchNorm, LayerScale."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.normalisation.base import Normalisation, epsilon_of


@dataclass(frozen=True)
class BatchNorm(Normalisation):
    """In evaluation mode, the unit less its running mean, divided by √(running variance + ε)."""

    name, title, module, gain = "batch", "BatchNorm", nn.BatchNorm1d, "optional"

    def problem(self, width: int, affine: bool, epsilon: float) -> str | None:
        """An ε of 0."""
        if epsilon == 0:
            return "BatchNorm needs a positive epsilon: torch trains no other"
        return super().problem(width, affine, epsilon)

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """A BatchNorm with running statistics."""
        return nn.BatchNorm1d(width, eps=epsilon, affine=affine, dtype=torch.float64)

    def centre(self, norm: nn.Module, z: Tensor) -> Tensor:
        """The running mean, shape (width,)."""
        return norm.get_buffer("running_mean")

    def divisor(self, norm: nn.Module, z: Tensor) -> Tensor:
        """√(running variance + ε), shape (width,)."""
        return (norm.get_buffer("running_var") + epsilon_of(norm)).sqrt()


class ScaledUnits(nn.Module):
    r"""A learnable gain per unit, :math:`g \circ z`, without statistics.

    Args:
        width: Number of units.
        initial: Initial gain of every unit.
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), initial, dtype=torch.float64))

    def forward(self, z: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
        """The rows ``z`` times the gain."""
        return self.weight * z


@dataclass(frozen=True)
class LayerScale(Normalisation):
    """A learnable gain per unit; the option is its initial value.

    Source: Touvron et al. 2021 (2103.17239), there on residual branches.
    """

    name, title, module, gain = "scale", "LayerScale", ScaledUnits, "always"
    default = 1.0

    def problem(self, width: int, affine: bool, epsilon: float) -> str | None:
        """A gain that is no number."""
        if not math.isfinite(self.option):
            return f"LayerScale's initial gain {self.option} is impossible: pass a finite number"
        return super().problem(width, affine, epsilon)

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """A gain per unit."""
        return ScaledUnits(width, self.option)
