r"""The SEEM matrix as an operator: built in blocks of rows, or never built at all.

With the factors of `seem.factors` the products :math:`\Phi(Z)\Phi(X)^\top v` take O(NP) operations and O(N·width)
memory, where P is the number of parameters and no row of length P is formed. Below some ten thousand rows the
matrix itself is faster; beyond, it no longer fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from seem.features import KernelFeatures
from seem.networks import MLP
from seem.stacked import StackedMLP

BLOCK = 2**18
"""Numbers in one block of rows: a few such blocks stay in a core's cache."""


@dataclass(frozen=True)
class SEEMOperator:
    r"""The matrix :math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)` of a perceptron, or of a stack of them.

    Attributes:
        current: Features of X.
        following: Features of X*.
        mask: γ(1 - d), shape (..., M).

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
    mask: Float[Tensor, "*networks M"]

    @classmethod
    def of(
        cls,
        network: MLP | StackedMLP,
        x: Float[Tensor, "*networks M inputs"],
        x_next: Float[Tensor, "*networks M inputs"],
        *,
        discount: float | Float[Tensor, "*networks 1"],
        terminals: Float[Tensor, "*networks M"],
    ) -> "SEEMOperator":
        """The operator of a critic, or the operators of a stack: twins, seeds, or both.

        Args:
            network: A perceptron with one output, or K of them.
            x: X = (s, a), shape (M, inputs); for a stack (K, M, inputs).
            x_next: X* = (s', π(s')), likewise.
            discount: γ in [0, 1]; for a stack also one each, shape (K, 1).
            terminals: d, 1 on true terminals, shape (M,), for a stack (K, M).

        Raises:
            InputError: When the network has several outputs, or couples the rows of a batch.
        """
        of = network.features if isinstance(network, StackedMLP) else partial(KernelFeatures.of, network)
        return cls(of(x), of(x_next), discount * (1 - terminals))

    def matrix(self) -> Float[Tensor, "*networks M M"]:
        """A itself, built block by block; of the symmetric G(X, X) one half is computed."""
        result = self.mask.new_empty(*self.mask.shape, self.current.rows)
        for rows in self._slices():
            torch.mul(self.mask[..., rows, None], self.following.block(self.current, rows), out=result[..., rows, :])
        for rows in self._slices():
            block = self.current.block(self.current, rows, slice(rows.start, None))
            result[..., rows, rows.start :] -= block
            result[..., rows.stop :, rows] -= block[..., rows.stop - rows.start :].mT
        return result

    def norm(self) -> Float[Tensor, "*networks"]:
        """‖A‖_F, without holding A."""
        total = self.mask.new_zeros(self.mask.shape[:-1])
        for rows in self._slices():
            block = self.mask[..., rows, None] * self.following.block(self.current, rows)
            total += (block - self.current.block(self.current, rows)).square().sum((-2, -1))
        return total.sqrt()

    def product(self, v: Float[Tensor, "*networks M k"]) -> Float[Tensor, "*networks M k"]:
        """A times k vectors, without A."""
        gathered = self.current.gather(v)
        return self.mask[..., None] * self.following.spread(gathered) - self.current.spread(gathered)

    def transposed(self, v: Float[Tensor, "*networks M k"]) -> Float[Tensor, "*networks M k"]:
        """Aᵀ times k vectors, without A."""
        following, current = self.following.gather(self.mask[..., None] * v), self.current.gather(v)
        return self.current.spread([f - c for f, c in zip(following, current, strict=True)])

    def _slices(self) -> Iterator[slice]:
        total = self.current.rows
        rows = max(1, BLOCK // self.mask.numel())
        return (slice(start, min(start + rows, total)) for start in range(0, total, rows))
