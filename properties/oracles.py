"""Slow, obvious twins of the kernel, and the sizes by which its rounding errors are measured."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from properties.margins import target_share
from seem.networks import MLP
from seem.normalisation.base import Normalisation
from seem.ntk import Inputs, evaluate

KINKED = ("relu", "leaky_relu")
"""Activations whose derivative jumps at 0."""
CURVATURE = {"relu": 0.0, "leaky_relu": 0.0, "identity": 0.0, "tanh": 0.8, "gelu": 0.8, "silu": 0.5, "elu": 1.0}
"""Bounds on |σ''| of every activation, away from the kinks."""
SLOPE = 1.13
"""A bound on |σ'| of every activation, attained by GELU; all have σ(0) = 0, so |σ(z)| <= SLOPE·|z| too."""


def gradient_rows(network: nn.Module, x: Inputs) -> dict[str, Tensor]:
    """Per-sample gradients, by one backward pass a row.

    Args:
        network: A module with one output per row.
        x: Inputs, N rows, or a tuple of them.

    Returns:
        For each trainable parameter its gradients, shape (N, size); zeros where the output does not use it.
    """
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    parts = x if isinstance(x, tuple) else (x,)
    rows = []
    for row in zip(*(part.split(1) for part in parts), strict=True):
        value = evaluate(network, row if isinstance(x, tuple) else row[0]).sum()
        gradients = torch.autograd.grad(value, list(parameters.values()), materialize_grads=True, allow_unused=True)
        rows.append([gradient.flatten() for gradient in gradients])
    return dict(zip(parameters, map(torch.stack, zip(*rows, strict=True)), strict=True))


def gram_shares(network: nn.Module, z: Inputs, x: Inputs) -> dict[str, Tensor]:
    """What each parameter contributes to the Gram block G(Z, X).

    Args:
        network: A module with one output per row.
        z: Inputs of the rows.
        x: Inputs of the columns.

    Returns:
        For each trainable parameter its share, shape (rows, columns); their sum is G(Z, X).
    """
    rows, columns = gradient_rows(network, z), gradient_rows(network, x)
    return {name: rows[name] @ columns[name].T for name in rows}


def gram_by_loop(network: nn.Module, z: Inputs, x: Inputs) -> Tensor:
    """The Gram block G(Z, X), shape (rows, columns), from per-sample gradients of a loop."""
    return torch.stack(list(gram_shares(network, z, x).values())).sum(0)


def assert_within(*comparisons: tuple[Tensor, Tensor, Tensor]) -> None:
    """Compare tensors within bounds, and drive the search to the edge of them.

    Args:
        comparisons: What is, what should be, and the largest allowed difference: tensors of one shape, with
            positive bounds.
    """
    ratios = [((actual - expected).abs() / bound).flatten() for actual, expected, bound in comparisons]
    largest = [ratio.amax().item() if len(ratio) else 0.0 for ratio in ratios]
    for ratio, (actual, expected, _) in zip(largest, comparisons, strict=True):
        # Written so that NaN fails.
        assert ratio <= 1, f"off by {ratio} bounds: {actual} is not {expected}; all comparisons: {largest}"
    target_share(max(largest), "error / bound")


@dataclass(frozen=True)
class Sizes:
    """Norms that bound every intermediate number of a perceptron, by row; rounding errors are multiples of them.

    Attributes:
        operations: How often a number is rounded, at most, on its way through both passes and the kernel.
        output: Bound on |f| and on the terms that it is summed from, shape (N,).
        gradient: Bound on ‖∇f‖ and on the terms of its entries, shape (N,).
        sensitivity: By how much more than its factors a gradient moves, 1 where nothing bends, shape (N,).
        margin: Smallest distance of a unit from its kink, in units of the rounding it carries per epsilon,
            shape (N,); infinity without kinks.
    """

    operations: int
    output: Tensor
    gradient: Tensor
    sensitivity: Tensor
    margin: Tensor

    def of_gram(self, columns: "Sizes") -> Tensor:
        """Rounding of the Gram block with these rows and other columns, per epsilon, shape (rows, columns)."""
        rows = self.gradient * self.sensitivity
        return self.operations * rows[:, None] * (columns.gradient * columns.sensitivity)[None]

    @property
    def of_output(self) -> Tensor:
        """Rounding of the outputs, per epsilon, shape (N,)."""
        return self.operations * self.output * self.sensitivity


@torch.no_grad()
def sizes(network: MLP, x: Tensor) -> Sizes:
    """Follow norms through a perceptron forward, then backward, to first order in epsilon.

    A layer's dot products are rounded fan_in times forward and fan_out times backward, twice as often in a
    product of two rows, and once more for the activation, its derivative, a normalisation and a gain. A
    derivative σ' moves by |σ''| times its argument's rounding, and dividing by a standard deviation s
    multiplies an error in z by |z|/s, by a spectral norm uᵀWv that cancels by |u|ᵀ|W||v|/|uᵀWv|.

    Args:
        network: A perceptron with one output, normalised or not, in evaluation mode.
        x: Inputs, shape (N, inputs).
    """
    config, layers = network.config, []
    size, actual = x.norm(dim=1), x
    sensitivity, margin = torch.ones_like(size), torch.full_like(size, torch.inf)
    for layer, (linear, norm) in enumerate(zip(network.linears, [*network.norms, nn.Identity()], strict=True), start=1):
        normaliser = config.normaliser(layer)
        inputs, actual = size, linear(actual)
        sensitivity += _cancellation(linear)
        size = linear.weight.norm() * inputs + _length(linear.bias)
        divisor, standardised = _standardised(normaliser, norm, actual, size)
        layers.append((linear, inputs, _largest_gain(norm) / divisor, standardised))
        if normaliser.by_row:
            sensitivity += 4 * config.width**0.5 * size / divisor
        size, actual = _largest_gain(norm) * standardised + _length(getattr(norm, "bias", None)), norm(actual)
        if linear is network.linears[-1]:
            break
        sensitivity += CURVATURE[config.activation] * size
        if config.activation in KINKED:
            # A unit at 0 is there for good: all that it is summed from is 0.
            margin = torch.minimum(margin, torch.where(actual == 0, torch.inf, actual.abs()).amin(1) / size)
        size, actual = SLOPE * size, network.activation(actual)
    delta, squares = torch.ones_like(size), torch.zeros_like(size)
    for linear, inputs, slope, standardised in reversed(layers):
        squares += delta.square() * (standardised.square() + 1)  # of gain and shift
        delta = delta * slope
        squares += delta.square() * (_stretch(linear) * inputs.square() + 1)
        delta = SLOPE * linear.weight.norm() * delta
    operations = sum(4 * (linear.in_features + linear.out_features + 16) for linear in network.linears)
    return Sizes(operations, size, squares.sqrt(), sensitivity, margin / (operations * sensitivity))


def _length(parameter: Tensor | None) -> Tensor | float:
    return 0.0 if parameter is None else parameter.norm()


def _largest_gain(norm: nn.Module) -> Tensor | float:
    gain = getattr(norm, "weight", None)
    return 1.0 if gain is None else gain.abs().max()


def _standardised(kind: Normalisation, norm: nn.Module, z: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """What a normalisation divides by, and a bound on the norm of what its gain multiplies, both by row."""
    divisor = kind.divisor(norm, z).expand_as(z).amin(1)
    if kind.by_row:
        return divisor, torch.full_like(size, z.shape[1] ** 0.5)
    return divisor, (size + kind.centre(norm, z).expand_as(z).norm(dim=1)) / divisor


def _is_spectral(linear: nn.Linear) -> bool:
    return is_parametrized(linear) and isinstance(linear.parametrizations.weight[0], _SpectralNorm)


def _cancellation(linear: nn.Linear) -> Tensor | float:
    """How much larger the terms of a spectral norm are than their sum, which is small where its vectors are stale."""
    if not _is_spectral(linear):
        return 0.0
    norm = linear.parametrizations.weight[0]
    original, left, right = linear.parametrizations.weight.original, norm.get_buffer("_u"), norm.get_buffer("_v")
    return (left.abs() @ original.abs() @ right.abs()) / (left @ original @ right).abs()


def _stretch(linear: nn.Linear) -> float:
    """How much longer the squared gradient by the parameters of a normed weight is than the one by the weight."""
    if not is_parametrized(linear):
        return 1.0
    # Weights are a multiple of them, less a projection of the same size; a gain of its own adds one more.
    original = list(linear.parametrizations.weight.parameters())[-1]
    stretch = 8 * max(1.0, float((linear.weight.norm(dim=1) / original.norm(dim=1)).nan_to_num().max()) ** 2)
    # What a spectral norm projects out is as long as its weight is large: 1 where its vectors are at rest.
    projected = torch.linalg.matrix_norm(linear.weight, 2) if _is_spectral(linear) else 0.0
    return stretch * max(1.0, float(projected) ** 2)
