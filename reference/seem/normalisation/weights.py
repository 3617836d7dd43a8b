r"""Normalisations of a layer's weights: WeightNorm and the spectral norm, as torch parametrises them.

Source: their shares of the kernel are derived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm, spectral_norm, weight_norm

from seem.factors import Factors, Term
from seem.normalisation.base import Normalisation


@dataclass(frozen=True)
class WeightNormFactors(Factors):
    r"""Factors of a layer with weight rows :math:`g_j \hat v_j`, :math:`\hat v = v/\|v\|`.

    With p_j = ⟨h, v̂_j⟩ and s_j = g_j/‖v_j‖ the gradients are δ_j s_j (h - p_j v̂_j) by v_j, δ_j p_j by g_j and
    δ_j by the bias.

    Attributes:
        inputs: Layer inputs h, shape (N, fan_in).
        deltas: Derivatives δ of the output by the layer's pre-activation, shape (N, fan_out).
        gains: g, shape (fan_out,).
        directions: v, shape (fan_out, fan_in).
        bias: Whether the layer has biases.
    """

    inputs: Float[Tensor, "N fan_in"]
    deltas: Float[Tensor, "N fan_out"]
    gains: Float[Tensor, " fan_out"]
    directions: Float[Tensor, "fan_out fan_in"]
    bias: bool

    def terms(self) -> list[Term]:
        """The shares (δs)(δ's)ᵀ∘hh'ᵀ - (δsp)(δ'sp)ᵀ + (δp)(δ'p)ᵀ + bias δδ'ᵀ."""
        lengths = self.directions.norm(dim=1)
        along = self.deltas * (self.inputs @ (self.directions / lengths[:, None]).T)
        scales = self.gains / lengths
        shares = [Term(self.deltas * scales, self.inputs), Term(along * scales, scale=-1.0), Term(along)]
        return [*shares, Term(self.deltas)] if self.bias else shares


@dataclass(frozen=True)
class SpectralNormFactors(Factors):
    r"""Factors of a layer with weights :math:`W/\sigma`, :math:`\sigma = u^\top W v`; u and v are held constant.

    With q = δᵀWh/σ the gradient by W is (δhᵀ - q uvᵀ)/σ.

    Attributes:
        inputs: Layer inputs h, shape (N, fan_in).
        deltas: Derivatives δ of the output by the layer's pre-activation, shape (N, fan_out).
        weight: W, shape (fan_out, fan_in).
        left: u, shape (fan_out,).
        right: v, shape (fan_in,).
        bias: Whether the layer has biases.
    """

    inputs: Float[Tensor, "N fan_in"]
    deltas: Float[Tensor, "N fan_out"]
    weight: Float[Tensor, "fan_out fan_in"]
    left: Float[Tensor, " fan_out"]
    right: Float[Tensor, " fan_in"]
    bias: bool

    def terms(self) -> list[Term]:
        """The shares (δδ'ᵀ∘hh'ᵀ - cq'ᵀ - qc'ᵀ + ‖u‖²‖v‖² qq'ᵀ)/σ² + bias δδ'ᵀ, with c = ⟨δ, u⟩⟨h, v⟩."""
        sigma = self.left @ self.weight @ self.right
        value = (self.deltas * (self.inputs @ self.weight.T)).sum(1) / sigma
        # c less half of its own product with q: the three terms of rank one become two.
        crossed = (self.deltas @ self.left) * (self.inputs @ self.right)
        crossed = crossed - self.left.square().sum() * self.right.square().sum() / 2 * value
        scale = 1 / sigma.square()
        # cq' + qc' is half the difference of the squares of c + q and c - q.
        squares = [
            Term((crossed + value)[:, None], scale=-scale / 2),
            Term((crossed - value)[:, None], scale=scale / 2),
        ]
        shares = [Term(self.deltas, self.inputs, scale), *squares]
        return [*shares, Term(self.deltas)] if self.bias else shares


@dataclass(frozen=True)
class WeightNorm(Normalisation):
    """Each row of the weights is a gain times a direction."""

    name, title, gain = "weight", "WeightNorm", "always"
    parametrisation = _WeightNorm

    def parametrise(self, linear: nn.Linear) -> None:
        """Gains start at the rows' lengths."""
        weight_norm(linear)

    def factors(self, linear: nn.Linear) -> tuple[Callable[..., Factors], Tensor]:
        """The factors of gains and directions."""
        parts = linear.get_submodule("parametrizations.weight")
        gains, directions = parts.get_parameter("original0").detach()[:, 0], parts.get_parameter("original1").detach()
        return partial(WeightNormFactors, gains=gains, directions=directions), linear.weight


@dataclass(frozen=True)
class SpectralNorm(Normalisation):
    """The weights are divided by an estimate of their largest singular value, a power iteration's."""

    name, title = "spectral", "the spectral norm"
    parametrisation = _SpectralNorm

    def parametrise(self, linear: nn.Linear) -> None:
        """The power iteration starts at its fixed point, so that its vectors follow from the weights alone."""
        left, _, right = torch.linalg.svd(linear.weight.detach())
        with torch.random.fork_rng(devices=[]):  # torch draws first vectors from its global generator
            spectral_norm(linear)
        vectors = linear.get_submodule("parametrizations.weight.0")
        vectors.get_buffer("_u").copy_(left[:, 0])
        vectors.get_buffer("_v").copy_(right[0])

    def factors(self, linear: nn.Linear) -> tuple[Callable[..., Factors], Tensor]:
        """The factors of the weights with the vectors held."""
        parts = linear.get_submodule("parametrizations.weight")
        weight, vectors = parts.get_parameter("original"), parts.get_submodule("0")
        left, right = vectors.get_buffer("_u"), vectors.get_buffer("_v")
        make = partial(SpectralNormFactors, weight=weight.detach(), left=left, right=right)
        # Not linear.weight: reading that in training mode moves u and v.
        return make, weight / (left @ weight @ right)
