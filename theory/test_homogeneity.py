"""Homogeneity: every step, its mutants, and bitwise scaling of seem's networks by powers of two."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.networks import Critic, MLPConfig
from seem.ntk import gram_blocks
from theory import homogeneity, homogeneity_layernorm
from theory.derivation import assert_step

STEPS = [s for module in (homogeneity, homogeneity_layernorm) for d in module.DERIVATIONS for s in d.steps]
CONCRETE = homogeneity.DERIVATIONS[1]


@pytest.mark.claim("HOM-OUTPUT")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


@pytest.mark.parametrize("name", ["value-2", "gradient-3", "kernel-3", "kernel-unequal-2"])
@pytest.mark.parametrize("extra", [homogeneity.C, 1 / homogeneity.C, -1])
def test_a_wrong_exponent_or_sign_is_caught(name, extra):
    mutant = replace(CONCRETE[name], right=CONCRETE[name].right * extra)
    assert not mutant.follows()
    assert not mutant.agrees_numerically(np.random.default_rng(0))


def critic(**options) -> Critic:
    config = MLPConfig(**({"depth": 3, "width": 8, "bias": False} | options))
    generator = torch.Generator().manual_seed(5)
    network = Critic(3, 2, config, generator=generator, dtype=torch.float64)
    for norm in network.norms:
        for parameter in norm.parameters():  # gains of 1 and shifts of 0 would hide a wrong degree
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def inputs() -> torch.Tensor:
    return torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


def scale(network: Critic, factor: float = 2.0) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= factor


@pytest.mark.claim("HOM-OUTPUT")
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_value_and_kernel_of_real_networks_scale_bit_for_bit(depth, activation):
    network, (x, x_next) = critic(depth=depth, activation=activation), inputs()
    value, blocks = network(x), gram_blocks(network, x, x_next)
    scale(network)
    assert torch.equal(network(x), 2**depth * value)
    for before, after in zip(blocks, gram_blocks(network, x, x_next), strict=True):
        assert torch.equal(after, 2 ** (2 * depth - 2) * before)


@pytest.mark.claim("HOM-SMOOTH")
@pytest.mark.parametrize("depth", [2, 3])
def test_tanh_is_not_homogeneous(depth):
    network, (x, _) = critic(depth=depth, activation="tanh"), inputs()
    value = network(x)
    scale(network)
    assert (network(x) - 2**depth * value).abs().max() > 1e-2 * value.abs().max()


@pytest.mark.claim("HOM-BIASES")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_biases_break_and_repair(depth):
    network, (x, x_next) = critic(depth=depth, bias=True), inputs()
    value, (gram, _) = network(x), gram_blocks(network, x, x_next)
    scale(network)
    # In layer 1 a bias is already scaled right, so a biased network of depth 1 is homogeneous.
    assert torch.equal(network(x), 2**depth * value) == (depth == 1)
    with torch.no_grad():
        for layer, linear in enumerate(network.linears, start=1):
            linear.bias *= 2.0 ** (layer - 1)
    assert torch.equal(network(x), 2**depth * value)
    # The kernel of the biases of layers 2 to L scales otherwise than the weights'.
    scaled_gram = gram_blocks(network, x, x_next)[0]
    assert torch.equal(scaled_gram, 2 ** (2 * depth - 2) * gram) == (depth == 1)


@pytest.mark.claim("HOM-LAYERNORM")
def test_layernorm_critic_has_degree_two_in_last_affine_and_head_and_zero_before():
    network, (x, _) = critic(depth=4, normalisation="layer", epsilon=0.0), inputs()
    value = network(x)
    with torch.no_grad():
        for linear in network.linears[:-1]:
            linear.weight *= 4
    # A quarter of a unit in the last place a layer: powers of two pass through sqrt(4^k) exactly.
    torch.testing.assert_close(network(x), value, rtol=1e-13, atol=0)
    with torch.no_grad():
        for parameter in (*network.norms[-1].parameters(), network.linears[-1].weight):
            parameter *= 2
    torch.testing.assert_close(network(x), 4 * value, rtol=1e-13, atol=0)
    with torch.no_grad():
        for norm in network.norms[:-1]:
            for parameter in norm.parameters():
                parameter *= 2
    torch.testing.assert_close(network(x), 4 * value, rtol=1e-13, atol=0)


@pytest.mark.claim("HOM-EPSILON")
def test_epsilon_breaks_exactness_by_the_derived_correction():
    z = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    variance = z.var(unbiased=False)
    gaps = []
    for epsilon in (1e-4, 1e-5):
        ratio = torch.layer_norm(2 * z, (3,), eps=epsilon) / torch.layer_norm(z, (3,), eps=epsilon)
        gaps.append((ratio - 1 - epsilon * (1 - 2.0**-2) / (2 * variance)).abs().max().item())
    assert gaps[0] > 0
    # Second order in ε: a tenth of ε, a hundredth of the gap.
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.02)
