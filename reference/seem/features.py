r"""The kernel of a perceptron in factored form: blocks of it, and products with it, without rows of length P.

P is the number of parameters. Every field may carry leading batch dimensions, one entry per network.

Source: the layerwise identity is Novak et al. 2022 (2206.08720); that a product with the kernel needs no kernel
is standard.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seem.errors import InputError
from seem.factors import DiagonalFactors, Factors, Term, check_one_output, check_rows_are_apart
from seem.networks import MLP


def why_no_closed_form(network: MLP) -> str | None:
    """What in a perceptron its configuration does not explain, so that the closed form would miss it, or None.

    Args:
        network: A perceptron, whose parts may have been replaced, parametrised or shared since it was built.
    """
    for layer, (linear, norm) in enumerate(zip(network.linears, [*network.norms, nn.Identity()], strict=True), start=1):
        unknown = network.config.normaliser(layer).why_unknown(linear, norm)
        if unknown is not None:
            return f"layer {layer} has {unknown}, where its configuration has {network.config.normaliser(layer).title}"
    if len(list(network.named_parameters(remove_duplicate=False))) != len(list(network.parameters())):
        return "layers share parameters"
    return None


def gradient_factors(network: MLP, x: Float[Tensor, "N inputs"]) -> list[Factors]:
    """All factors of the per-sample gradients of a one-output perceptron, by one backward pass.

    The network is left as it is: the power iteration of a spectral norm does not move, in training mode either.

    Args:
        network: A perceptron with one output, whose BatchNorm is in evaluation mode.
        x: Inputs, shape (N, inputs), of the network's dtype and device.

    Returns:
        One entry per linear layer and one per normalisation with gain, each over the N rows.

    Raises:
        InputError: When the network has several outputs, or parts that its configuration does not build.
    """
    unknown = why_no_closed_form(network)
    if unknown is not None:
        raise InputError(f"the closed form of the kernel does not hold: {unknown}; read it by gram_by_jacobians")
    # Tensors whose deltas are wanted, with what makes the factors of a delta.
    linears: list[tuple[Tensor, Callable[..., Factors]]] = []
    affines: list[tuple[Tensor, Callable[..., Factors]]] = []
    hidden = x
    with torch.enable_grad():
        for layer, linear in enumerate(cast(Iterable[nn.Linear], network.linears), start=1):
            normaliser = network.config.normaliser(layer)
            make, weight = normaliser.factors(linear)
            inputs, hidden = hidden, functional.linear(hidden, weight, linear.bias)
            linears.append((hidden, partial(make, inputs=inputs.detach(), bias=linear.bias is not None)))
            if layer == network.config.depth:
                break
            norm, before = network.norms[layer - 1], hidden
            hidden = norm(before)
            if getattr(norm, "weight", None) is not None:
                make = partial(DiagonalFactors, shift=getattr(norm, "bias", None) is not None)
                affines.append((hidden, partial(make, normalised=normaliser.standardised(norm, before).detach())))
            hidden = network.activation(hidden)
        check_one_output(hidden)
        # Rows do not meet inside the network, so the gradient of the sum holds every row's own delta.
        deltas = torch.autograd.grad(hidden.sum(), [tensor for tensor, _ in linears + affines])
    return [make(deltas=delta) for (_, make), delta in zip(linears + affines, deltas, strict=True)]


@dataclass(frozen=True)
class KernelFeatures:
    r"""What the kernel of a perceptron is made of.

    .. math:: G = C\,\mathrm{diag}(w)\,C^\top + \sum_t s_t\,(l_tl_t^\top)\circ(r_tr_t^\top)

    Attributes:
        plain: C, the terms without a partner side by side, shape (..., N, K).
        weights: w, shape (K,).
        products: The other terms.
    """

    plain: Float[Tensor, "*networks N K"]
    weights: Float[Tensor, " K"]
    products: tuple[Term, ...]

    @classmethod
    def of(cls, network: MLP, x: Float[Tensor, "N inputs"]) -> "KernelFeatures":
        """The features of a perceptron's rows, by one forward and one backward pass.

        Args:
            network: A perceptron with one output.
            x: Inputs, shape (N, inputs), of the network's dtype and device.

        Raises:
            InputError: When the network has several outputs, couples the rows of a batch, or has parts that its
                configuration does not build.
        """
        check_rows_are_apart(network)
        return cls.from_factors(gradient_factors(network, x))

    @classmethod
    def from_factors(cls, factors: Iterable[Factors]) -> "KernelFeatures":
        """The features of all layers' factors over the same rows; one of them has a term without a partner."""
        terms = [term for layer in factors for term in layer.terms()]
        plain = [term for term in terms if term.right is None]
        weights = [term.left.new_ones(term.left.shape[-1]) * term.scale for term in plain]
        products = tuple(term for term in terms if term.right is not None)
        return cls(torch.cat([term.left for term in plain], dim=-1), torch.cat(weights), products)

    @property
    def rows(self) -> int:
        """N."""
        return self.plain.shape[-2]

    def block(
        self, others: "KernelFeatures", rows: slice = slice(None), columns: slice = slice(None)
    ) -> Float[Tensor, "*networks rows columns"]:
        """The Gram matrix of these rows and others of the same network as columns, or a block of it."""
        block = (self.plain[..., rows, :] * self.weights) @ others.plain[..., columns, :].mT
        for mine, theirs in zip(self.products, others.products, strict=True):
            assert mine.right is not None
            assert theirs.right is not None
            left = mine.left[..., rows, :] @ theirs.left[..., columns, :].mT
            right = mine.right[..., rows, :] @ theirs.right[..., columns, :].mT
            block.addcmul_(left if isinstance(mine.scale, float) else left.mul_(mine.scale), right)
        return block

    def gather(self, v: Float[Tensor, "*networks N k"]) -> list[Tensor]:
        """Φᵀv for k vectors, in factored form: one matrix a term, the plain terms first."""
        gathered = [(self.plain.mT @ v) * self.weights[:, None]]
        for term in self.products:
            assert term.right is not None
            parts = [(term.left * column[..., None]).mT @ term.right for column in v.unbind(-1)]
            gathered.append(torch.stack(parts) * term.scale)
        return gathered

    def spread(self, gathered: list[Tensor]) -> Float[Tensor, "*networks N k"]:
        """Φw for what `gather` gave, of these rows or of others of the same network."""
        result = self.plain @ gathered[0]
        for term, parts in zip(self.products, gathered[1:], strict=True):
            assert term.right is not None
            result += torch.stack([((term.left @ part) * term.right).sum(-1) for part in parts], dim=-1)
        return result
