"""Critics and actors: multi-layer perceptrons of any depth, with or without a normalisation.

The depth L counts weight matrices: L = 3 is two hidden layers and a head, L = 1 a linear function.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from seem.errors import InputError
from seem.normalisation import Normalisation, parse

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "identity": lambda x: x,
}


@dataclass(frozen=True)
class MLPConfig:
    """Shape of a multi-layer perceptron.

    Attributes:
        depth: Number L of weight matrices, at least 1.
        width: Units of each hidden layer.
        activation: A key of `ACTIVATIONS`.
        bias: Whether linear layers have biases.
        normalisation: A kind of `seem.normalisation.NORMALISATIONS`: "layer" (LayerNorm), "rms" (RMSNorm), "group"
            (GroupNorm; "group:8" has 8 groups), "batch" (BatchNorm) and "scale" (LayerScale; "scale:0.1" starts at
            0.1) act on the pre-activation, before the non-linearity; "weight" (WeightNorm) and "spectral" (spectral
            norm) on the weights; "none" is nothing.
        normalised_layers: Hidden layers (1 to L - 1) that are normalised; None means all of them.
        affine: Whether LayerNorm, RMSNorm, GroupNorm and BatchNorm have a learnable gain (and shift, RMSNorm apart).
        epsilon: Added to the variance (RMSNorm: the mean square) of those four.

    Raises:
        InputError: When a value is impossible.
    """

    depth: int = 3
    width: int = 256
    activation: str = "relu"
    bias: bool = True
    normalisation: str = "none"
    normalised_layers: tuple[int, ...] | None = None
    affine: bool = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise InputError(
                f"depth {self.depth} is impossible: a network has at least one weight matrix, so pass 1 or more"
            )
        if self.width < 1:
            raise InputError(f"width {self.width} is impossible: pass a width of 1 or more")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        if not self.epsilon >= 0:
            raise InputError(f"epsilon {self.epsilon} is impossible: pass a number of 0 or more")
        problem = parse(self.normalisation).problem(self.width, self.affine, self.epsilon)
        if problem is not None:
            raise InputError(problem)
        if any(not 1 <= layer < self.depth for layer in self.normalised_layers or ()):
            raise InputError(
                f"normalised layers {self.normalised_layers} do not fit depth {self.depth}: "
                f"hidden layers are numbered 1 to {self.depth - 1}"
            )

    @property
    def kind(self) -> str:
        """The normalisation without its option: "group" for "group:8"."""
        return parse(self.normalisation).name

    def is_normalised(self, layer: int) -> bool:
        """Whether hidden layer ``layer`` (1 to L - 1) is normalised."""
        if self.kind == "none" or not 1 <= layer < self.depth:
            return False
        return self.normalised_layers is None or layer in self.normalised_layers

    def normaliser(self, layer: int) -> Normalisation:
        """The record of the normalisation of layer ``layer`` (1 to L)."""
        return parse(self.normalisation if self.is_normalised(layer) else "none")


class MLP(nn.Module):
    r"""A perceptron :math:`h_l = \sigma(\mathrm{norm}(W_l h_{l-1} + b_l))`, :math:`f = W_L h_{L-1} + b_L`.

    Weights and biases are drawn from torch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), with the
    given CPU generator, so a seed gives the same network on every device.

    Args:
        inputs: Number of input components.
        outputs: Number of output components.
        config: Depth, width and the rest.
        generator: CPU generator of the initial weights.
        dtype: Floating dtype of the parameters.
        device: Device of the parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: MLPConfig,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        self.activation = ACTIVATIONS[config.activation]
        sizes = [inputs, *[config.width] * (config.depth - 1), outputs]
        # Built in float64 on the CPU and then moved: a seed gives one network on every device and in every dtype.
        linears = [_drawn_linear(fan_in, fan_out, config.bias, generator) for fan_in, fan_out in pairwise(sizes)]
        norms = []
        for layer, linear in enumerate(linears[:-1], start=1):
            normaliser = config.normaliser(layer)
            norms.append(normaliser.build(config.width, config.affine, config.epsilon))
            normaliser.parametrise(linear)
        self.linears, self.norms = nn.ModuleList(linears), nn.ModuleList(norms)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        """Outputs of the network, one row per input row."""
        for linear, norm in zip(self.linears[:-1], self.norms, strict=True):
            x = self.activation(norm(linear(x)))
        return self.linears[-1](x)


def _drawn_linear(fan_in: int, fan_out: int, bias: bool, generator: torch.Generator) -> nn.Linear:
    linear = cast(nn.Linear, skip_init(nn.Linear, fan_in, fan_out, bias=bias, dtype=torch.float64))
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        for parameter in linear.parameters():
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * (2 * bound) - bound
            parameter.copy_(drawn)
    return linear


class Critic(MLP):
    """A state-action value f(s, a): a perceptron on the row (s, a) with one output."""

    def __init__(self, observation_dim: int, action_dim: int, config: MLPConfig, **options) -> None:
        super().__init__(observation_dim + action_dim, 1, config, **options)

    def q(
        self, observations: Float[Tensor, "N observation"], actions: Float[Tensor, "N action"]
    ) -> Float[Tensor, " N"]:
        """Values f(s, a), shape (N,)."""
        return self(torch.cat((observations, actions), dim=1)).squeeze(1)


class DeterministicActor(MLP):
    """A policy a = tanh(MLP(s)), inside the box [-1, 1]."""

    def __init__(self, observation_dim: int, action_dim: int, config: MLPConfig, **options) -> None:
        super().__init__(observation_dim, action_dim, config, **options)

    def forward(self, x: Float[Tensor, "N observation"]) -> Float[Tensor, "N action"]:
        """Actions in the states ``x``, shape (N, action_dim)."""
        return torch.tanh(super().forward(x))


class GaussianActor(MLP):
    """A policy a = tanh(mean(s) + std(s) * noise), inside the box [-1, 1].

    Source: Haarnoja et al. 2018 (1812.05905), appendix C, for the density of the squashed variable.
    """

    LOG_STD_RANGE = (-20.0, 2.0)

    def __init__(self, observation_dim: int, action_dim: int, config: MLPConfig, **options) -> None:
        super().__init__(observation_dim, 2 * action_dim, config, **options)

    def forward(self, x: Float[Tensor, "N observation"]) -> Float[Tensor, "N action"]:
        """The policy's most likely pre-squash action in the states ``x``, squashed: tanh(mean(s))."""
        mean, _ = self.moments(x)
        return torch.tanh(mean)

    def moments(
        self, observations: Float[Tensor, "N observation"]
    ) -> tuple[Float[Tensor, "N action"], Float[Tensor, "N action"]]:
        """Mean and logarithm of the standard deviation before squashing, each (N, action_dim)."""
        mean, log_std = super().forward(observations).chunk(2, dim=1)
        return mean, log_std.clamp(*self.LOG_STD_RANGE)

    def sample(
        self, observations: Float[Tensor, "N observation"], noise: Float[Tensor, "N action"]
    ) -> tuple[Float[Tensor, "N action"], Float[Tensor, " N"]]:
        """Squashed actions and their log-densities for given standard normal ``noise``.

        Returns:
            Actions (N, action_dim) and log π(a | s), shape (N,), in nats.
        """
        mean, log_std = self.moments(observations)
        raw = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(x)^2) = log(4 σ(2x) σ(-2x)) neither cancels nor is cut off at saturation, as softplus would be.
        squash = math.log(4) + functional.logsigmoid(2 * raw) + functional.logsigmoid(-2 * raw)
        return torch.tanh(raw), (gaussian - squash).sum(1)


def parameter_list(modules: Sequence[nn.Module] | nn.Module) -> list[Tensor]:
    """All parameters of a module or of several, in a fixed order."""
    modules = [modules] if isinstance(modules, nn.Module) else modules
    return [parameter for module in modules for parameter in module.parameters()]
