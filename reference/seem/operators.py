r"""The SEEM matrix as an operator: built in blocks of rows, or never built at all.

A product :math:`\Phi(Z)\Phi(X)^\top v` takes O(NP) operations, where P is the number of parameters, and no row of
length P is formed: a perceptron has the factors of `seem.features`, any other module the products with its
Jacobian and the transposed one. Below some ten thousand rows the matrix itself is faster; beyond, it no longer
fits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.errors import InputError
from seem.features import KernelFeatures
from seem.gradients import chunks, products, swapped
from seem.isolation import untouched
from seem.kernel import kernel_blocks
from seem.networks import MLP
from seem.ntk import has_closed_form
from seem.row_checks import readable
from seem.stacked import StackedMLP
from seem.subject import Subject
from seem.trees import Tree

BLOCK = 2**18
"""Numbers in one block of rows: a few such blocks stay in a core's cache."""
CHUNK = 256
"""Rows of a module whose gradients are held at a time."""


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
        current, following = of(x), of(x_next)
        return cls(current, following, discount * (1 - terminals.to(current.plain)))

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


@dataclass(frozen=True)
class ModuleOperator:
    """The same matrix of any module, read from a copy.

    Attributes:
        subject: The copy of a module with one output per row, whose rows do not depend on each other.
        x: X, as the copy takes it.
        x_next: X*, likewise.
        mask: γ(1 - d), shape (M,).
    """

    subject: Subject
    x: tuple[Tree, ...]
    x_next: tuple[Tree, ...]
    mask: Float[Tensor, " M"]

    def matrix(self) -> Float[Tensor, "M M"]:
        """A itself."""
        with untouched():
            blocks = kernel_blocks(self.subject, self.x, self.x_next, 1)
        return self.mask[:, None] * blocks.gram_next[0, 0] - blocks.gram[0, 0]

    def norm(self) -> Float[Tensor, ""]:
        """‖A‖_F, without holding A."""
        with untouched():
            return torch.stack([block.norm() for block in self._blocks()]).norm()

    def product(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """A times k vectors, by three derivatives each."""
        with untouched():
            gathered = self._gather(self.x, v)
            return self.mask[:, None] * self._spread(self.x_next, gathered) - self._spread(self.x, gathered)

    def transposed(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """Aᵀ times k vectors."""
        with untouched():
            following, current = self._gather(self.x_next, self.mask[:, None] * v), self._gather(self.x, v)
            return self._spread(self.x, {name: following[name] - current[name] for name in current})

    def _blocks(self) -> Iterator[Tensor]:
        """A by blocks of rows: the rows of γ(1 - d)Φ(X*) - Φ(X), times Φ(X)ᵀ."""
        gradients = partial(chunks, self.subject, names=list(self.subject.parameters), critics=1, size=CHUNK)
        for mask, here, there in zip(
            self.mask[:, None].split(CHUNK), gradients(self.x), gradients(self.x_next), strict=True
        ):
            rows = {name: mask * there[name] - here[name] for name in here}
            yield torch.cat([products(rows, columns)[0, 0] for columns in gradients(self.x)], 1)

    def _pull(self, inputs: tuple[Tree, ...]) -> Callable[[Tensor], dict[str, Tensor]]:
        """The map of v to Φᵀv by parameter."""

        def values(tensors: dict[str, Tensor]) -> Tensor:
            with swapped(self.subject, tensors):
                return self.subject.values(inputs)[0]

        def pull(v: Tensor) -> dict[str, Tensor]:
            tensors = {name: parameter.detach() for name, parameter in self.subject.parameters.items()}
            return torch.func.vjp(values, tensors)[1](v)[0]

        return pull

    def _gather(self, inputs: tuple[Tree, ...], v: Tensor) -> dict[str, Tensor]:
        """Φᵀv by parameter, the k vectors first."""
        return torch.func.vmap(self._pull(inputs))(v.T)

    def _spread(self, inputs: tuple[Tree, ...], gathered: dict[str, Tensor]) -> Tensor:
        """Φw for what `_gather` gave: the transposed map, so that no operation needs a forward derivative."""
        push = torch.func.vjp(self._pull(inputs), torch.zeros_like(self.mask))[1]
        return torch.func.vmap(push)(gathered)[0].T


def operator_of(
    critic: nn.Module, x: Tree, x_next: Tree, *, discount: float | Float[Tensor, " M"], terminals: Float[Tensor, " M"]
) -> SEEMOperator | ModuleOperator:
    """The operator of any critic, the fastest that it allows.

    Args:
        critic: A module with one output per row, whose rows do not depend on each other.
        x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
        x_next: X* = (s', π(s')), likewise.
        discount: γ in [0, 1], of all rows or by row, shape (M,).
        terminals: d, 1 on true terminals, shape (M,).

    Raises:
        InputError: When the network has several outputs, or couples the rows of a batch.
    """
    if isinstance(x, Tensor) and isinstance(x_next, Tensor) and has_closed_form(critic):
        return SEEMOperator.of(critic, x, x_next, discount=discount, terminals=terminals)
    with untouched():
        subject, here, values = readable(critic, x, dtype=None)
        if len(values) > 1:
            raise InputError(f"a critic has one output per row, this one gives {len(values)}: read it by seem.read")
        mask = discount * (1 - terminals.to(values))
        return ModuleOperator(subject, here, subject.arguments(x_next), mask)
