r"""Factors of a perceptron's per-sample gradients: what a Gram block is made of, without rows of length P.

A gradient row of a linear layer is an outer product :math:`\delta h^\top` of its back-propagated delta and
its input, so its share of the kernel is :math:`(\delta\delta'^\top)\circ(hh'^\top)`. Normalisations of the
weights add terms of rank one (`seem.normalisation.weights`); gains and shifts have rows as long as the layer is wide.

Source: the layerwise identity is Novak et al. 2022 (2206.08720).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seem.errors import InputError


def check_one_output(values: Tensor) -> None:
    """Refuse outputs of more than one number per row.

    Raises:
        InputError: When there are several.
    """
    if values.numel() != len(values):
        raise InputError(
            f"a critic has one output per row, this one gives {values[0].numel()}: pass a one-output network"
        )


def check_rows_are_apart(network: nn.Module) -> None:
    """Refuse a module that couples the rows of a batch.

    Raises:
        InputError: When it holds a BatchNorm that takes its statistics from the batch, in training mode or because it
            keeps none: there is no per-sample gradient.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if any(norm.training for norm in norms):
        raise InputError("BatchNorm in training mode couples the rows of a batch: call network.eval() first")
    if any(norm.running_mean is None for norm in norms):
        raise InputError("BatchNorm without running statistics couples the rows of a batch: track_running_stats it")


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
