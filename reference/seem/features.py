r"""The kernel of a perceptron in factored form: blocks of it, and products with it, without rows of length P.

P is the number of parameters. Every field may carry leading batch dimensions, one entry a network.

Source: the layerwise identity is Novak et al. 2022 (2206.08720); that a product with the kernel needs no kernel
is standard.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seem.factors import Factors, Term, check_rows_are_apart, gradient_factors
from seem.networks import MLP


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
            InputError: When the network has several outputs, or couples the rows of a batch.
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
