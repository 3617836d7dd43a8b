r"""Gram blocks of the empirical neural tangent kernel, :math:`G(Z, X) = \Phi(Z)\Phi(X)^\top`.

:math:`\Phi(X)` stacks the per-sample gradients :math:`\nabla_\theta f_\theta(x_i)`. A gradient row of a
linear layer is an outer product of its back-propagated delta and its input, so its share of the
kernel is :math:`(\delta\delta'^\top)\circ(hh'^\top + b)` with b = 1 for a layer with biases. No row of
length P (the number of parameters) is ever formed: one forward and one backward pass give all factors.

Source: the layerwise identity is Novak et al. 2022 (2206.08720); the kernel is the paper's, section 3
(recalled numbering).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.errors import InputError
from seem.networks import MLP

Inputs = Tensor | tuple[Tensor, ...]
"""Rows of a module with one argument, or a tuple of them for a module with several."""


def evaluate(network: nn.Module, x: Inputs) -> Float[Tensor, " N"]:
    """The outputs of a module with one output a row.

    Args:
        network: A module of one argument, or of as many as ``x`` has parts.
        x: Inputs, N rows.

    Returns:
        One value a row, shape (N,).

    Raises:
        InputError: When the module has several outputs.
    """
    values = network(*x) if isinstance(x, tuple) else network(x)
    _check_one_output(values)
    return values.reshape(-1)


def _check_one_output(values: Tensor) -> None:
    if values.numel() != len(values):
        raise InputError(
            f"a critic has one output a row, this one gives {values[0].numel()}: pass a one-output network"
        )


@dataclass(frozen=True)
class OuterFactors:
    """Factors of a linear layer: gradient rows δ ⊗ h, and δ for the biases.

    Attributes:
        inputs: Layer inputs h, shape (N, fan_in).
        deltas: Derivatives δ of the output by the layer's pre-activation, shape (N, fan_out).
        bias: Whether the layer has biases.
    """

    inputs: Float[Tensor, "N fan_in"]
    deltas: Float[Tensor, "N fan_out"]
    bias: bool

    def gram(self, rows: slice, columns: slice) -> Float[Tensor, "rows columns"]:
        """The layer's share (δδ'ᵀ)∘(hh'ᵀ + bias) of a Gram block."""
        products = self.inputs[rows] @ self.inputs[columns].T
        if self.bias:
            products += 1
        return products.mul_(self.deltas[rows] @ self.deltas[columns].T)


@dataclass(frozen=True)
class DiagonalFactors:
    """Factors of a LayerNorm's gain and shift: gradient rows δ∘x̂ and δ.

    Attributes:
        normalised: Normalised inputs x̂, shape (N, width).
        deltas: Derivatives δ of the output by the affine's output, shape (N, width).
    """

    normalised: Float[Tensor, "N width"]
    deltas: Float[Tensor, "N width"]

    def gram(self, rows: slice, columns: slice) -> Float[Tensor, "rows columns"]:
        """The affine's share (δ∘x̂)(δ'∘x̂')ᵀ + δδ'ᵀ of a Gram block."""
        gains = self.normalised * self.deltas
        return gains[rows] @ gains[columns].T + self.deltas[rows] @ self.deltas[columns].T


def gradient_factors(network: MLP, x: Float[Tensor, "N inputs"]) -> list[OuterFactors | DiagonalFactors]:
    """All factors of the per-sample gradients of a one-output perceptron, by one backward pass.

    Args:
        network: A perceptron with one output.
        x: Inputs, shape (N, inputs), of the network's dtype and device.

    Returns:
        One entry a linear layer and one a LayerNorm with gain and shift, each over the N rows.
    """
    hidden, inputs, pre_activations, normalised, affines = x, [], [], [], []
    with torch.enable_grad():
        for linear, norm in zip(network.linears[:-1], network.norms, strict=True):
            inputs.append(hidden)
            pre_activations.append(linear(hidden))
            hidden = pre_activations[-1]
            if isinstance(norm, nn.LayerNorm):
                standard = nn.functional.layer_norm(hidden, norm.normalized_shape, eps=norm.eps)
                hidden = norm(hidden)
                if norm.elementwise_affine:
                    normalised.append(standard.detach())
                    affines.append(hidden)
            hidden = network.activation(hidden)
        inputs.append(hidden)
        pre_activations.append(network.linears[-1](hidden))
        _check_one_output(pre_activations[-1])
        # Rows do not meet inside the network, so the gradient of the sum holds every row's own delta.
        deltas = torch.autograd.grad(pre_activations[-1].sum(), pre_activations + affines)
    layers = zip(inputs, deltas[: len(inputs)], network.linears, strict=True)
    return [OuterFactors(h.detach(), delta, linear.bias is not None) for h, delta, linear in layers] + [
        DiagonalFactors(standard, delta) for standard, delta in zip(normalised, deltas[len(inputs) :], strict=True)
    ]


def gram_blocks(network: nn.Module, x: Inputs, x_next: Inputs) -> tuple[Float[Tensor, "M M"], Float[Tensor, "M M"]]:
    r"""The two blocks that the TD iteration needs, :math:`G(X, X)` and :math:`G(X^*, X)`.

    Args:
        network: A critic: an `MLP` takes the closed form, any other module `torch.func`.
        x: Inputs X, shape (M, inputs); for modules of several arguments, a tuple of tensors.
        x_next: Inputs X*, of the same shape.

    Returns:
        G(X, X), symmetric and positive semi-definite, and G(X*, X) with rows X*; each (M, M), of the
        network's dtype.

    Raises:
        InputError: When the network has several outputs, or couples the rows of a batch.

    Example:
        A linear critic with a bias has the kernel z·x + 1:

        >>> import torch
        >>> from seem.networks import Critic, MLPConfig
        >>> critic = Critic(1, 1, MLPConfig(depth=1), generator=torch.Generator().manual_seed(0))
        >>> x, x_next = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0]])
        >>> [block.item() for block in gram_blocks(critic, x, x_next)]
        [6.0, 4.0]
    """
    if isinstance(x, tuple) or isinstance(x_next, tuple) or not isinstance(network, MLP):
        return gram_by_jacobians(network, x, x), gram_by_jacobians(network, x_next, x)
    rows = len(x)
    current, following = slice(0, rows), slice(rows, 2 * rows)
    factors = gradient_factors(network, torch.cat((x, x_next)))
    gram = torch.zeros(rows, rows, dtype=x.dtype, device=x.device)
    gram_next = torch.zeros_like(gram)
    for factor in factors:
        gram += factor.gram(current, current)
        gram_next += factor.gram(following, current)
    return gram, gram_next


def gram_by_jacobians(network: nn.Module, z: Inputs, x: Inputs, chunk: int = 256) -> Float[Tensor, "rows columns"]:
    """A Gram block of any module, by per-sample gradients through ``torch.func``.

    Args:
        network: A module whose rows do not depend on each other, with one output a row.
        z: Inputs of the rows, shape (rows, inputs), or a tuple of tensors for several arguments.
        x: Inputs of the columns, likewise.
        chunk: Rows whose gradients (chunk × P numbers) are held at a time.

    Returns:
        G(Z, X), shape (rows, columns), of the network's dtype.

    Raises:
        InputError: When a module in training mode couples the rows of a batch (BatchNorm), which leaves
            no per-sample gradient.
    """
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules()):
        raise InputError("BatchNorm in training mode couples the rows of a batch: call network.eval() first")
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    buffers = dict(network.named_buffers())

    def value(parameters: dict[str, Tensor], row: tuple[Tensor, ...]) -> Tensor:
        output = torch.func.functional_call(network, (parameters, buffers), tuple(part[None] for part in row))
        _check_one_output(output)
        return output.reshape(())

    gradient = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))

    def gradients(inputs: Inputs):
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        for batch in zip(*(part.split(chunk) for part in parts), strict=True):
            yield [g.flatten(1) for g in gradient(parameters, batch).values()]

    def block(rows: list[Tensor], columns: list[Tensor]) -> Tensor:
        return torch.stack([a @ b.T for a, b in zip(rows, columns, strict=True)]).sum(0)

    return torch.cat([torch.cat([block(rows, columns) for columns in gradients(x)], 1) for rows in gradients(z)])
