"""Normalisations that divide each row by a size of its own: LayerNorm, RMSNorm, GroupNorm."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seem.normalisation.base import Normalisation, StackedNorm, epsilon_of

aten = torch.ops.aten


def _stacked_forward(z: Tensor, epsilon: float) -> tuple[Tensor, tuple[Tensor, ...]]:
    normalised, mean, deviation = aten.native_layer_norm(z, z.shape[-1:], None, None, epsilon)
    return normalised, (z, mean, deviation)


def _stacked_backward(delta: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
    z, mean, deviation = kept
    wanted = [True, False, False]
    return aten.native_layer_norm_backward(delta, z, z.shape[-1:], mean, deviation, None, None, wanted)[0]


@dataclass(frozen=True)
class LayerNorm(Normalisation):
    """The row less its mean, divided by √(variance + ε)."""

    name, title, module, gain = "layer", "LayerNorm", nn.LayerNorm, "optional"
    by_row, centred = True, True
    stacked = StackedNorm(_stacked_forward, _stacked_backward)

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """A LayerNorm over all units."""
        return nn.LayerNorm(width, eps=epsilon, elementwise_affine=affine, dtype=torch.float64)

    def centre(self, norm: nn.Module, z: Tensor) -> Tensor:
        """The row's mean, shape (N, 1)."""
        return z.mean(1, keepdim=True)

    def divisor(self, norm: nn.Module, z: Tensor) -> Tensor:
        """√(variance + ε) of the row, shape (N, 1)."""
        return ((z - self.centre(norm, z)).square().mean(1, keepdim=True) + epsilon_of(norm)).sqrt()


@dataclass(frozen=True)
class RMSNorm(Normalisation):
    """The row divided by √(mean square + ε)."""

    name, title, module, gain = "rms", "RMSNorm", nn.RMSNorm, "optional"
    by_row = True

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """An RMSNorm over all units; it has no shift."""
        return nn.RMSNorm(width, eps=epsilon, elementwise_affine=affine, dtype=torch.float64)

    def divisor(self, norm: nn.Module, z: Tensor) -> Tensor:
        """√(mean square + ε) of the row, shape (N, 1)."""
        return (z.square().mean(1, keepdim=True) + epsilon_of(norm)).sqrt()


@dataclass(frozen=True)
class GroupNorm(Normalisation):
    """A LayerNorm of each group of units; the option is the number of groups."""

    name, title, module, gain = "group", "GroupNorm", nn.GroupNorm, "optional"
    default = 32.0  # of Wu and He 2018 (1803.08494)
    by_row, centred = True, True

    def problem(self, width: int, affine: bool, epsilon: float) -> str | None:
        """Groups that are not equal, or hold one unit, whose normalised value is always 0."""
        groups = self.option
        if not groups.is_integer() or groups < 1 or width % groups or width == groups:
            return (
                f"{groups:g} groups do not split width {width} into equal groups of 2 units or more: "
                "pass group:G with another G, or change the width"
            )
        return super().problem(width, affine, epsilon)

    def choices(self, width: int) -> list[str]:
        """Every number of equal groups of two units or more."""
        return [f"group:{count}" for count in range(1, width) if width % count == 0]

    def build(self, width: int, affine: bool, epsilon: float) -> nn.Module:
        """A GroupNorm of ``option`` groups."""
        return nn.GroupNorm(int(self.option), width, eps=epsilon, affine=affine, dtype=torch.float64)

    def centre(self, norm: nn.Module, z: Tensor) -> Tensor:
        """The mean of each unit's group, shape (N, width)."""
        return self._of_groups(z).mean(2).repeat_interleave(z.shape[1] // int(self.option), dim=1)

    def divisor(self, norm: nn.Module, z: Tensor) -> Tensor:
        """√(variance + ε) of each unit's group, shape (N, width)."""
        squares = self._of_groups((z - self.centre(norm, z)).square())
        return (squares.mean(2) + epsilon_of(norm)).sqrt().repeat_interleave(z.shape[1] // int(self.option), dim=1)

    def _of_groups(self, z: Tensor) -> Tensor:
        return z.unflatten(1, (int(self.option), -1))
