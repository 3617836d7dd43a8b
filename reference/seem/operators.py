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

from seem.factors import check_one_output
from seem.features import KernelFeatures
from seem.networks import MLP
from seem.ntk import (
    Inputs,
    Parameters,
    check_reading_is_possible,
    is_perceptron,
    parameters_and_buffers,
    per_sample_gradients,
    products,
)
from seem.stacked import StackedMLP

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
    """The same matrix of any module, through ``torch.func``.

    Attributes:
        network: A module with one output per row, whose rows do not depend on each other.
        x: X, shape (M, inputs), or a tuple of tensors.
        x_next: X*, likewise.
        mask: γ(1 - d), shape (M,).
    """

    network: nn.Module
    x: Inputs
    x_next: Inputs
    mask: Float[Tensor, " M"]

    def __post_init__(self) -> None:
        check_reading_is_possible(self.network)

    def matrix(self) -> Float[Tensor, "M M"]:
        """A itself."""
        return torch.cat(list(self._blocks()))

    def norm(self) -> Float[Tensor, ""]:
        """‖A‖_F, without holding A."""
        return torch.stack([block.norm() for block in self._blocks()]).norm()

    def product(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """A times k vectors, by three derivatives each."""
        gathered = self._gather(self.x, v)
        return self.mask[:, None] * self._spread(self.x_next, gathered) - self._spread(self.x, gathered)

    def transposed(self, v: Float[Tensor, "M k"]) -> Float[Tensor, "M k"]:
        """Aᵀ times k vectors."""
        following, current = self._gather(self.x_next, self.mask[:, None] * v), self._gather(self.x, v)
        return self._spread(self.x, {name: following[name] - current[name] for name in current})

    def _blocks(self) -> Iterator[Tensor]:
        """A by blocks of rows: the rows of γ(1 - d)Φ(X*) - Φ(X), times Φ(X)ᵀ."""
        current, following = (per_sample_gradients(self.network, inputs, CHUNK) for inputs in (self.x, self.x_next))
        for mask, here, there in zip(self.mask[:, None].split(CHUNK), current, following, strict=True):
            rows = [mask * g_next - g for g_next, g in zip(there, here, strict=True)]
            columns = per_sample_gradients(self.network, self.x, CHUNK)
            yield torch.cat([products(rows, some) for some in columns], 1)

    def _pull(self, inputs: Inputs) -> Callable[[Tensor], Parameters]:
        """The map of v to Φᵀv by parameter."""
        parameters, buffers = parameters_and_buffers(self.network)
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)

        def values(parameters: Parameters) -> Tensor:
            outputs = torch.func.functional_call(self.network, (parameters, buffers), arguments)
            check_one_output(outputs)
            return outputs.reshape(-1)

        def pull(v: Tensor) -> Parameters:
            return torch.func.vjp(values, parameters)[1](v)[0]

        return pull

    def _gather(self, inputs: Inputs, v: Tensor) -> Parameters:
        """Φᵀv by parameter, the k vectors first."""
        return torch.func.vmap(self._pull(inputs))(v.T)

    def _spread(self, inputs: Inputs, gathered: Parameters) -> Tensor:
        """Φw for what `_gather` gave: the transposed map, so that no operation needs a forward derivative."""
        push = torch.func.vjp(self._pull(inputs), torch.zeros_like(self.mask))[1]
        return torch.func.vmap(push)(gathered)[0].T


def operator_of(
    critic: nn.Module, x: Inputs, x_next: Inputs, *, discount: float, terminals: Float[Tensor, " M"]
) -> SEEMOperator | ModuleOperator:
    """The operator of any critic, the fastest that it allows.

    Args:
        critic: A module with one output per row, whose rows do not depend on each other.
        x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
        x_next: X* = (s', π(s')), likewise.
        discount: γ in [0, 1].
        terminals: d, 1 on true terminals, shape (M,).

    Raises:
        InputError: When the network has several outputs, or couples the rows of a batch.
    """
    if isinstance(x, Tensor) and isinstance(x_next, Tensor) and is_perceptron(critic):
        return SEEMOperator.of(critic, x, x_next, discount=discount, terminals=terminals)
    like = x[0] if isinstance(x, tuple) else x
    return ModuleOperator(critic, x, x_next, discount * (1 - terminals.to(like)))
