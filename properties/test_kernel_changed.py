"""A perceptron whose parts its configuration does not build: never a wrong kernel, but ``torch.func`` or a sentence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from properties.oracles import gram_by_loop
from seem.errors import InputError
from seem.features import KernelFeatures, gradient_factors
from seem.networks import MLP, MLPConfig
from seem.normalisation import NORMALISATIONS, RECORDS
from seem.ntk import gram_blocks
from seem.stacked import StackedMLP

WIDTH = 4
SEEDS = st.integers(0, 2**32 - 1)


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
    network.linears[1] = Doubled(WIDTH, WIDTH).double()


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


def critic(kind: str, seed: int) -> tuple[MLP, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    text = RECORDS[kind]().choices(WIDTH)[-1]
    config = MLPConfig(depth=4, width=WIDTH, normalisation=text, activation="tanh")
    network = MLP(3, 1, config, generator=generator, dtype=torch.float64)
    return network, torch.randn(5, 3, generator=generator, dtype=torch.float64)


def assert_is_kernel(block: torch.Tensor, network: nn.Module, x: torch.Tensor) -> None:
    expected = gram_by_loop(network, x, x)
    # 1e-9: some hundred float64 operations, enlarged by up to 1/√ε = 300 in each normalised layer.
    torch.testing.assert_close(block, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("change", CHANGES)
@given(seed=SEEDS)
def test_a_changed_critic_has_no_closed_form_and_its_own_kernel(change, seed):
    kind, apply = CHANGES[change]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, x = critic(kind, seed)
        apply(network)
    network.eval()
    for closed in (KernelFeatures.of, gradient_factors):
        with pytest.raises(InputError, match="gram_by_jacobians") as caught:
            closed(network, x)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        StackedMLP([network])
    assert_is_kernel(gram_blocks(network, x, x)[0], network, x)


@pytest.mark.parametrize("kind", NORMALISATIONS)
@given(seed=SEEDS)
def test_an_unchanged_critic_has_a_closed_form(kind, seed):
    network, x = critic(kind, seed)
    features = KernelFeatures.of(network.eval(), x)
    assert_is_kernel(features.block(features), network, x)


def test_batch_norm_without_running_statistics_couples_the_rows():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)).eval()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="track_running_stats"):
        gram_blocks(network, x, x)
