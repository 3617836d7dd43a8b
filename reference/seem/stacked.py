r"""Many perceptrons of one shape in one program: batched products, a hand-written backward pass, flat storage.

On a small critic the arithmetic of a training step is a few batched matrix products; what costs the rest is
the bookkeeping of every module, gradient and parameter for itself. Here K networks are one batch, all their
parameters one tensor, and their gradients another, so that an optimiser's step or a blended target is one
operation and nothing is allocated twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.errors import InputError
from seem.factors import DiagonalFactors, Factors, OuterFactors
from seem.features import KernelFeatures, why_no_closed_form
from seem.networks import ACTIVATIONS, MLP
from seem.normalisation import RECORDS
from seem.normalisation.base import Normalisation, StackedNorm

aten = torch.ops.aten
DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    # Each takes the derivative by the activation's output, its input, and its output.
    "relu": lambda delta, _, after: aten.threshold_backward(delta, after, 0),
    "leaky_relu": lambda delta, before, _: aten.leaky_relu_backward(delta, before, 0.01, False),
    "tanh": lambda delta, _, after: aten.tanh_backward(delta, after),
    "gelu": lambda delta, before, _: aten.gelu_backward(delta, before),
    "silu": lambda delta, before, _: aten.silu_backward(delta, before),
    "elu": lambda delta, before, _: aten.elu_backward(delta, 1.0, 1.0, 1.0, False, before),
    "identity": lambda delta, before, after: delta,
}


@dataclass(frozen=True)
class Layer:
    """Views of one layer's parameters in a flat tensor; None where the layer has none.

    Attributes:
        weight: Shape (K, fan_out, fan_in).
        bias: Shape (K, 1, fan_out).
        gain: The normalisation's gain, shape (K, 1, fan_out).
        shift: The normalisation's shift, shape (K, 1, fan_out).
    """

    weight: Float[Tensor, "K fan_out fan_in"]
    bias: Float[Tensor, "K 1 fan_out"] | None
    gain: Float[Tensor, "K 1 fan_out"] | None
    shift: Float[Tensor, "K 1 fan_out"] | None

    @cached_property
    def transposed(self) -> Float[Tensor, "K fan_in fan_out"]:
        """The weights as the forward pass multiplies by them."""
        return self.weight.mT

    def every(self, number: int) -> "Layer":
        """The parameters of each ``number``-th network, from the first on."""
        parts = (None if part is None else part[::number] for part in (self.bias, self.gain, self.shift))
        return Layer(self.weight[::number], *parts)


@dataclass(frozen=True)
class Trace:
    """What the backward pass needs of one layer's forward pass.

    Attributes:
        inputs: The layer's input, shape (K, N, fan_in).
        before: Input of the activation; the output itself at the last layer.
        after: Output of the activation.
        normalised: What the layer's gain multiplies; W h + b where the layer is not normalised.
        kept: What the normalisation's backward pass needs.
    """

    inputs: Tensor
    before: Tensor
    after: Tensor
    normalised: Tensor
    kept: tuple[Tensor, ...]


class StackedMLP:
    """K perceptrons of one shape.

    Args:
        networks: Perceptrons of the same configuration and sizes, with a normalisation that has a `StackedNorm` or
            none; their parameters are copied.

    Raises:
        InputError: When the networks differ in shape or are normalised in another way.
    """

    def __init__(self, networks: Sequence[MLP]) -> None:
        first = networks[0]
        self.config, self.count = first.config, len(networks)
        linears = _linears(first)
        self.sizes = [linear.in_features for linear in linears] + [linears[-1].out_features]
        self.norms = [_stacked(first.config.normaliser(number)) for number in range(1, first.config.depth + 1)]
        unknown = next(filter(None, map(why_no_closed_form, networks)), None)
        if unknown is not None:
            raise InputError(f"stacked networks are as their configuration builds them, but {unknown}")
        if any(n.config != first.config or _linears(n)[0].in_features != self.sizes[0] for n in networks):
            raise InputError("stacked networks have one shape: stack networks of the same configuration")
        self.activation, self.derivative = ACTIVATIONS[self.config.activation], DERIVATIVES[self.config.activation]
        like = linears[0].weight
        total = self.count * sum(parameter.numel() for parameter in first.parameters())
        self.parameters = torch.zeros(total, dtype=like.dtype, device=like.device)
        self.layers = self.views(self.parameters)
        # Views that a step would otherwise make again and again.
        self._every = {1: self.layers}
        self.load(networks)

    def views(self, flat: Float[Tensor, " total"]) -> list[Layer]:
        """The layers' views of a flat tensor: of the parameters, their gradients, or an optimiser's moments."""
        used = 0

        def take(*shape: int) -> Tensor:
            nonlocal used
            size = self.count * torch.Size(shape).numel()
            used += size
            return flat[used - size : used].view(self.count, *shape)

        layers = []
        for number, (fan_in, fan_out) in enumerate(pairwise(self.sizes), start=1):
            affine = self.config.is_normalised(number) and self.config.affine
            weight = take(fan_out, fan_in)
            bias = take(1, fan_out) if self.config.bias else None
            gain, shift = (take(1, fan_out), take(1, fan_out)) if affine else (None, None)
            layers.append(Layer(weight, bias, gain, shift))
        return layers

    @torch.no_grad()
    def load(self, networks: Sequence[MLP]) -> None:
        """Copy the networks' parameters into the stack."""
        for index, network in enumerate(networks):
            for mine, theirs in self._pairs(index, network):
                mine.copy_(theirs)

    @torch.no_grad()
    def store(self, index: int, network: MLP) -> None:
        """Copy one member's parameters into a network of its shape."""
        for mine, theirs in self._pairs(index, network):
            theirs.copy_(mine)

    def _pairs(self, index: int, network: MLP) -> list[tuple[Tensor, Tensor]]:
        pairs = []
        for number, layer in enumerate(self.layers):
            linear = _linears(network)[number]
            norm = network.norms[number] if number < len(network.norms) else None
            wanted = (linear.weight, linear.bias, getattr(norm, "weight", None), getattr(norm, "bias", None))
            for mine, theirs in zip((layer.weight, layer.bias, layer.gain, layer.shift), wanted, strict=True):
                if mine is not None and theirs is not None:
                    pairs.append((mine[index].view(theirs.shape), theirs))
        return pairs

    def forward(self, x: Float[Tensor, "K N inputs"], *, every: int = 1) -> tuple[Tensor, list[Trace]]:
        """Outputs of the networks, and what `backward` needs.

        Args:
            x: Inputs, shape (K, N, inputs), or (K / every, N, inputs).
            every: Evaluate only each ``every``-th network, from the first on.

        Returns:
            Outputs, shape (K / every, N, outputs), and one trace per layer.
        """
        traces: list[Trace] = []
        for number, layer in enumerate(self._members(every), start=1):
            weight = layer.transposed
            before = torch.bmm(x, weight) if layer.bias is None else torch.baddbmm(layer.bias, x, weight)
            normalised, kept = self.norms[number - 1].forward(before, self.config.epsilon)
            before = normalised
            if layer.gain is not None and layer.shift is not None:
                before = torch.addcmul(layer.shift, normalised, layer.gain)
            after = before if number == self.config.depth else self.activation(before)
            traces.append(Trace(x, before, after, normalised, kept))
            x = after
        return x, traces

    def backward(
        self,
        delta: Float[Tensor, "K N outputs"],
        traces: list[Trace],
        gradient: list[Layer] | None,
        *,
        every: int = 1,
        inputs: bool = False,
    ) -> Tensor | None:
        """Derivatives of a sum of losses by the parameters, and by the inputs where they are wanted.

        Args:
            delta: Derivative by the outputs.
            traces: What `forward` gave.
            gradient: Views that are overwritten with the derivatives by the parameters; None skips them.
            every: As in `forward`; only with ``gradient`` None unless 1.
            inputs: Whether the derivative by the inputs is wanted.

        Returns:
            The derivative by the inputs, shape (K, N, inputs), or None.
        """
        delta_inputs = None
        for number, affine, raw in self._deltas(delta, traces, every):
            trace = traces[number - 1]
            if gradient is not None:
                out = gradient[number - 1]
                if out.gain is not None and out.shift is not None:
                    torch.sum(affine * trace.normalised, 1, keepdim=True, out=out.gain)
                    torch.sum(affine, 1, keepdim=True, out=out.shift)
                torch.bmm(raw.mT, trace.inputs, out=out.weight)
                if out.bias is not None:
                    torch.sum(raw, 1, keepdim=True, out=out.bias)
            if number == 1 and inputs:
                delta_inputs = torch.bmm(raw, self._members(every)[0].weight)
        return delta_inputs

    def features(self, x: Float[Tensor, "K N inputs"]) -> KernelFeatures:
        """Features of the kernels of all networks at once.

        Args:
            x: Inputs, shape (K, N, inputs).

        Raises:
            InputError: When the networks have several outputs.
        """
        outputs, traces = self.forward(x)
        if outputs.shape[-1] != 1:
            raise InputError(
                f"a critic has one output per row, these give {outputs.shape[-1]}: pass one-output networks"
            )
        factors: list[Factors] = []
        for number, affine, raw in self._deltas(torch.ones_like(outputs), traces):
            trace = traces[number - 1]
            if self.layers[number - 1].gain is not None:
                factors.append(DiagonalFactors(trace.normalised, affine, shift=True))
            factors.append(OuterFactors(trace.inputs, raw, bias=self.config.bias))
        return KernelFeatures.from_factors(factors)

    def _members(self, every: int) -> list[Layer]:
        """The layers of each ``every``-th network, from the first on."""
        if every not in self._every:
            self._every[every] = [layer.every(every) for layer in self.layers]
        return self._every[every]

    def _deltas(self, delta: Tensor, traces: list[Trace], every: int = 1) -> Iterator[tuple[int, Tensor, Tensor]]:
        """From the last layer to the first: its number, and the derivatives by its activation's input and by Wh + b."""
        layers = self._members(every)
        for number in range(self.config.depth, 0, -1):
            layer, trace = layers[number - 1], traces[number - 1]
            affine = delta if number == self.config.depth else self.derivative(delta, trace.before, trace.after)
            raw = self.norms[number - 1].backward(affine if layer.gain is None else affine * layer.gain, trace.kept)
            yield number, affine, raw
            if number > 1:
                delta = torch.bmm(raw, layer.weight)


def _stacked(normaliser: Normalisation) -> StackedNorm:
    if normaliser.stacked is None:
        able = " or ".join(kind.title for kind in RECORDS.values() if kind.stacked is not None)
        raise InputError(f"stacked networks have {able}, not {normaliser.title}: train this one by itself")
    return normaliser.stacked


def _linears(network: MLP) -> list[nn.Linear]:
    return [linear for linear in network.linears if isinstance(linear, nn.Linear)]
