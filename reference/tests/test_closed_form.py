"""A perceptron whose parts its configuration does not build: never a wrong kernel, but ``torch.func`` or a sentence."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from seem.errors import InputError
from seem.features import KernelFeatures, gradient_factors
from seem.networks import MLP, MLPConfig
from seem.normalisation import NORMALISATIONS, RECORDS
from seem.ntk import evaluate, gram_blocks
from seem.stacked import StackedMLP

WIDTH = 4


class Max(nn.Module):
    """A row divided by its largest entry, times a gain: a normalisation that the package does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, WIDTH, dtype=torch.float64))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.weight * z / z.abs().amax(1, keepdim=True)


class Doubled(nn.Linear):
    """A linear layer of another function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class OwnGain(nn.LayerNorm):
    """A LayerNorm whose gain is squared."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.weight * super().forward(z)


class Sine(nn.Module):
    """A parametrisation that the package does not have."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.sin()


def set_norm(module: nn.Module):
    def change(network: MLP) -> None:
        network.norms[0] = module.double()

    return change


def set_linear(network: MLP) -> None:
    doubled = Doubled(WIDTH, WIDTH).double()
    doubled.load_state_dict({name: value for name, value in nn.Linear(WIDTH, WIDTH).double().state_dict().items()})
    network.linears[1] = doubled


def share_layers(network: MLP) -> None:
    network.linears[2].weight = network.linears[1].weight


def share_norms(network: MLP) -> None:
    network.norms[1] = network.norms[0]


def extra_parameter(network: MLP) -> None:
    network.linears[1].register_parameter("scale", nn.Parameter(torch.ones(1, dtype=torch.float64)))


def parametrise(how):
    return lambda network: how(network.linears[1])


CHANGES = {
    "an unknown norm": ("none", set_norm(Max())),
    "an unknown norm for a known one": ("layer", set_norm(Max())),
    "a known norm of another kind": ("layer", set_norm(nn.RMSNorm(WIDTH))),
    "a known norm where none is": ("none", set_norm(nn.LayerNorm(WIDTH))),
    "a norm of two modules": ("none", set_norm(nn.Sequential(nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)))),
    "a subclass of a known norm": ("layer", set_norm(OwnGain(WIDTH))),
    "a slope that is learned": ("none", set_norm(nn.PReLU(WIDTH))),
    "another linear layer": ("layer", set_linear),
    "a weight norm": ("none", parametrise(parametrizations.weight_norm)),
    "a spectral norm": ("none", parametrise(parametrizations.spectral_norm)),
    "a second parametrisation": ("weight", parametrise(lambda linear: stack(linear))),
    "a sine of the weights": ("none", parametrise(lambda linear: stack(linear))),
    "a parametrised bias": ("none", parametrise(lambda linear: stack(linear, "bias"))),
    "shared weights": ("none", share_layers),
    "a shared norm": ("layer", share_norms),
    "a parameter of its own": ("none", extra_parameter),
}


def stack(linear: nn.Module, name: str = "weight") -> None:
    parametrize.register_parametrization(linear, name, Sine())


def critic(kind: str) -> tuple[MLP, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    text = RECORDS[kind]().choices(WIDTH)[-1]
    config = MLPConfig(depth=4, width=WIDTH, normalisation=text, activation="tanh")
    network = MLP(3, 1, config, generator=generator, dtype=torch.float64)
    return network, torch.randn(5, 3, generator=generator, dtype=torch.float64)


def gram_by_loop(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """One backward pass per row, over every parameter once."""
    rows = []
    for value in evaluate(network, x):
        gradients = torch.autograd.grad(value, list(network.parameters()), retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows) @ torch.stack(rows).T


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_critic_has_no_closed_form_and_its_own_kernel(change):
    kind, apply = CHANGES[change]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, x = critic(kind)
        apply(network)
    network.eval()
    for closed in (KernelFeatures.of, gradient_factors):
        with pytest.raises(InputError, match="gram_by_jacobians") as caught:
            closed(network, x)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        StackedMLP([network])
    if change != "a shared norm":  # torch.func.functional_call leaves a shared module with other parameters
        # 1e-12: a hundred float64 operations on numbers of size 1.
        torch.testing.assert_close(gram_blocks(network, x, x)[0], gram_by_loop(network, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_an_unchanged_critic_has_a_closed_form(kind):
    network, x = critic(kind)
    features = KernelFeatures.of(network.eval(), x)
    torch.testing.assert_close(features.block(features), gram_by_loop(network, x), rtol=1e-12, atol=1e-12)


def test_batch_norm_without_running_statistics_couples_the_rows():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)).eval()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="track_running_stats"):
        gram_blocks(network, x, x)
