r"""The SEEM matrix as an operator: built in blocks of rows, or never built at all.

With the factors of `seem.factors` the products :math:`\Phi(Z)\Phi(X)^\top v` take O(NP) operations and O(N·width)
memory, where P is the number of parameters and no row of length P is formed. Below some ten thousand rows the
matrix itself is faster; beyond, it no longer fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seem.factors import Term, gradient_factors
from seem.networks import MLP
from seem.ntk import check_rows_are_apart

BLOCK = 2**18
"""Numbers in one block of rows: a few such blocks stay in a core's cache."""


@dataclass(frozen=True)
class KernelFeatures:
    r"""What the kernel of a perceptron is made of.

    .. math:: G = C\,\mathrm{diag}(w)\,C^\top + \sum_t s_t\,(l_tl_t^\top)\circ(r_tr_t^\top)

    Attributes:
        plain: C, the terms without a partner side by side, shape (N, K).
        weights: w, shape (K,).
        products: The other terms.
    """

    plain: Float[Tensor, "N K"]
    weights: Float[Tensor, " K"]
    products: tuple[Term, ...]

    @classmethod
    def of(cls, network: MLP, x: Float[Tensor, "N inputs"]) -> "KernelFeatures":
        """The features of a perceptron's rows, by one forward and one backward pass.

        Args:
            network: A perceptron with one output, whose BatchNorm is in evaluation mode.
            x: Inputs, shape (N, inputs).
        """
        check_rows_are_apart(network)
        terms = [term for factors in gradient_factors(network, x) for term in factors.terms()]
        plain = [term for term in terms if term.right is None]
        products = tuple(term for term in terms if term.right is not None)
        weights = [torch.ones_like(term.left[0]) * term.scale for term in plain]
        return cls(torch.cat([term.left for term in plain], dim=1), torch.cat(weights), products)

    def __len__(self) -> int:
        return len(self.plain)

    def block(
        self, others: "KernelFeatures", rows: slice, columns: slice = slice(None)
    ) -> Float[Tensor, "rows columns"]:
        """A block of the Gram matrix of these rows and the columns of others."""
        block = (self.plain[rows] * self.weights) @ others.plain[columns].T
        for mine, theirs in zip(self.products, others.products, strict=True):
            assert mine.right is not None
            assert theirs.right is not None
            left, right = mine.left[rows] @ theirs.left[columns].T, mine.right[rows] @ theirs.right[columns].T
            block.addcmul_(left if isinstance(mine.scale, float) else left.mul_(mine.scale), right)
        return block

    def gather(self, v: Float[Tensor, "N k"]) -> list[Tensor]:
        """Φᵀv for k vectors, in factored form: one matrix a term, the plain terms first."""
        gathered = [(self.plain.T @ v) * self.weights[:, None]]
        for term in self.products:
            assert term.right is not None
            parts = [(term.left * column[:, None]).T @ term.right for column in v.T]
            gathered.append(torch.stack(parts) * term.scale)
        return gathered

    def spread(self, gathered: list[Tensor]) -> Float[Tensor, "N k"]:
        """Φw for what `gather` gave, of these rows or of others of the same network."""
        result = self.plain @ gathered[0]
        for term, parts in zip(self.products, gathered[1:], strict=True):
            assert term.right is not None
            result += torch.stack([((term.left @ part) * term.right).sum(1) for part in parts], dim=1)
        return result


@dataclass(frozen=True)
class SEEMOperator:
    r"""The matrix :math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)` of a perceptron.

    Attributes:
        current: Features of X.
        following: Features of X*.
        mask: γ(1 - d), shape (M,).

    Example:
        >>> import torch
        >>> from seem.networks import Critic, MLPConfig
        >>> critic = Critic(1, 1, MLPConfig(depth=1), generator=torch.Generator().manual_seed(0))
        >>> x, x_next = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0]])
        >>> operator = SEEMOperator.of(critic, x, x_next, discount=0.5, terminals=torch.zeros(1))
        >>> operator.matrix().item(), operator.product(torch.ones(1, 1)).item()
        (-4.0, -4.0)
    """

    current: KernelFeatures
    following: KernelFeatures
    mask: Float[Tensor, " M"]

    @classmethod
    def of(
        cls,
        network: MLP,
        x: Float[Tensor, "M inputs"],
        x_next: Float[Tensor, "M inputs"],
        *,
        discount: float,
        terminals: Float[Tensor, " M"],
    ) -> "SEEMOperator":
        """The operator of a critic.

        Args:
            network: A perceptron with one output, whose BatchNorm is in evaluation mode.
            x: X = (s, a).
            x_next: X* = (s', π(s')).
            discount: γ in [0, 1].
            terminals: d, 1 on true terminals.

        Raises:
            InputError: When the network has several outputs, or couples the rows of a batch.
        """
        return cls(KernelFeatures.of(network, x), KernelFeatures.of(network, x_next), discount * (1 - terminals))

    def matrix(self) -> Float[Tensor, "M M"]:
        """A itself, built block by block; of the symmetric G(X, X) one half is computed."""
        result = self.mask.new_empty(len(self.mask), len(self.mask))
        for rows in self._slices():
            torch.mul(self.mask[rows, None], self.following.block(self.current, rows), out=result[rows])
        for rows in self._slices():
            block = self.current.block(self.current, rows, slice(rows.start, None))
            result[rows, rows.start :] -= block
            result[rows.stop :, rows] -= block[:, rows.stop - rows.start :].T
        return result

    def norm(self) -> float:
        """‖A‖_F, without holding A."""
        total = self.mask.new_zeros(())
        for rows in self._slices():
            block = self.mask[rows, None] * self.following.block(self.current, rows)
            total += (block - self.current.block(self.current, rows)).square().sum()
        return total.sqrt().item()

    def product(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """A times k vectors, without A."""
        gathered = self.current.gather(v)
        return self.mask[:, None] * self.following.spread(gathered) - self.current.spread(gathered)

    def transposed(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """Aᵀ times k vectors, without A."""
        following, current = self.following.gather(self.mask[:, None] * v), self.current.gather(v)
        return self.current.spread([f - c for f, c in zip(following, current, strict=True)])

    def _slices(self) -> Iterator[slice]:
        rows = max(1, BLOCK // len(self.mask))
        return (slice(start, min(start + rows, len(self.mask))) for start in range(0, len(self.mask), rows))
