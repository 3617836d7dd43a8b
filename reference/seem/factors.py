r"""Factors of a perceptron's per-sample gradients: what a Gram block is made of, without rows of length P.

A gradient row of a linear layer is an outer product :math:`\delta h^\top` of its back-propagated delta and
its input, so its share of the kernel is :math:`(\delta\delta'^\top)\circ(hh'^\top)`. Normalisations of the
weights add terms of rank one; gains and shifts have rows as long as the layer is wide.

Source: the layerwise identity is Novak et al. 2022 (2206.08720); the shares of WeightNorm and the spectral
norm are derived.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seem.errors import InputError
from seem.networks import MLP
from seem.normalisation import standardised


def check_one_output(values: Tensor) -> None:
    """Refuse outputs of more than one number a row.

    Raises:
        InputError: When there are several.
    """
    if values.numel() != len(values):
        raise InputError(
            f"a critic has one output a row, this one gives {values[0].numel()}: pass a one-output network"
        )


def check_rows_are_apart(network: nn.Module) -> None:
    """Refuse a module that couples the rows of a batch.

    Raises:
        InputError: When it holds a BatchNorm in training mode, which leaves no per-sample gradient.
    """
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules()):
        raise InputError("BatchNorm in training mode couples the rows of a batch: call network.eval() first")


@dataclass(frozen=True)
class Term:
    r"""A share :math:`s\,(ll'^\top)\circ(rr'^\top)` of the kernel, or :math:`s\,ll'^\top` without r.

    Attributes:
        left: l, shape (..., N, k).
        right: r, shape (..., N, m), or None.
        scale: s, shape ().
    """

    left: Float[Tensor, "*networks N k"]
    right: Float[Tensor, "*networks N m"] | None = None
    scale: Float[Tensor, ""] | float = 1.0


class Factors(ABC):
    """Factors of one layer's per-sample gradients, over N rows."""

    @abstractmethod
    def terms(self) -> list[Term]:
        """The shares of the kernel that the layer adds."""


@dataclass(frozen=True)
class OuterFactors(Factors):
    """Factors of a linear layer: gradient rows δ ⊗ h, and δ for the biases.

    Attributes:
        inputs: Layer inputs h, shape (..., N, fan_in).
        deltas: Derivatives δ of the output by the layer's pre-activation, shape (..., N, fan_out).
        bias: Whether the layer has biases.
    """

    inputs: Float[Tensor, "*networks N fan_in"]
    deltas: Float[Tensor, "*networks N fan_out"]
    bias: bool

    def terms(self) -> list[Term]:
        """The share (δδ'ᵀ)∘(hh'ᵀ + bias); with one output a plain product of δ(h, bias)."""
        # A column of ones adds the biases inside the product, which costs less than another pass over the block.
        inputs = functional.pad(self.inputs, (0, 1), value=1.0) if self.bias else self.inputs
        return [Term(inputs * self.deltas)] if self.deltas.shape[-1] == 1 else [Term(self.deltas, inputs)]


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
class DiagonalFactors(Factors):
    """Factors of a gain and a shift by unit: gradient rows δ∘x̂ and δ.

    Attributes:
        normalised: What the gain multiplies, x̂, shape (..., N, width).
        deltas: Derivatives δ of the output by the affine's output, shape (..., N, width).
        shift: Whether there is a shift.
    """

    normalised: Float[Tensor, "*networks N width"]
    deltas: Float[Tensor, "*networks N width"]
    shift: bool

    def terms(self) -> list[Term]:
        """The shares (δ∘x̂)(δ'∘x̂')ᵀ + shift δδ'ᵀ."""
        gains = Term(self.normalised * self.deltas)
        return [gains, Term(self.deltas)] if self.shift else [gains]


def gradient_factors(network: MLP, x: Float[Tensor, "N inputs"]) -> list[Factors]:
    """All factors of the per-sample gradients of a one-output perceptron, by one backward pass.

    The network is left as it is: the power iteration of a spectral norm does not move, in training mode either.

    Args:
        network: A perceptron with one output, whose BatchNorm is in evaluation mode.
        x: Inputs, shape (N, inputs), of the network's dtype and device.

    Returns:
        One entry a linear layer and one a normalisation with gain, each over the N rows.
    """
    config = network.config
    # Tensors whose deltas are wanted, with what makes the factors of a delta.
    linears: list[tuple[Tensor, Callable[..., Factors]]] = []
    affines: list[tuple[Tensor, Callable[..., Factors]]] = []
    hidden = x
    with torch.enable_grad():
        for layer, linear in enumerate(cast(Iterable[nn.Linear], network.linears), start=1):
            make, weight = _weights(linear, config.kind if config.is_normalised(layer) else "none")
            inputs, hidden = hidden, functional.linear(hidden, weight, linear.bias)
            linears.append((hidden, partial(make, inputs=inputs.detach(), bias=linear.bias is not None)))
            if layer == config.depth:
                break
            norm, before = network.norms[layer - 1], hidden
            hidden = norm(before)
            if getattr(norm, "weight", None) is not None:
                make = partial(DiagonalFactors, shift=getattr(norm, "bias", None) is not None)
                affines.append((hidden, partial(make, normalised=standardised(norm, before).detach())))
            hidden = network.activation(hidden)
        check_one_output(hidden)
        # Rows do not meet inside the network, so the gradient of the sum holds every row's own delta.
        deltas = torch.autograd.grad(hidden.sum(), [tensor for tensor, _ in linears + affines])
    return [make(deltas=delta) for (_, make), delta in zip(linears + affines, deltas, strict=True)]


def _weights(linear: nn.Linear, kind: str) -> tuple[Callable[..., Factors], Tensor]:
    """What makes a linear layer's factors, and the weights it multiplies by."""
    if kind == "weight":
        parts = linear.get_submodule("parametrizations.weight")
        gains, directions = parts.get_parameter("original0").detach()[:, 0], parts.get_parameter("original1").detach()
        return partial(WeightNormFactors, gains=gains, directions=directions), linear.weight
    if kind == "spectral":
        parts = linear.get_submodule("parametrizations.weight")
        weight, vectors = parts.get_parameter("original"), parts.get_submodule("0")
        left, right = vectors.get_buffer("_u"), vectors.get_buffer("_v")
        make = partial(SpectralNormFactors, weight=weight.detach(), left=left, right=right)
        # Not linear.weight: reading that in training mode moves u and v.
        return make, weight / (left @ weight @ right)
    return OuterFactors, linear.weight
