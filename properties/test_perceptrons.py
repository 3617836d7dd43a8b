"""Perceptrons against their formula, unit by unit, and their initial weights.

Hypotheses: evaluation mode. LayerNorm is written out here; the other normalisations are compared with theirs in
test_normalisers.py and test_normalisers_of_weights.py.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.oracles import assert_within, sizes
from properties.strategies.networks import cases, configs
from seem.errors import InputError
from seem.networks import MLP, Critic, DeterministicActor, GaussianActor, MLPConfig
from seem.ntk import evaluate

EPSILON = torch.finfo(torch.float64).eps
SCALAR_ACTIVATIONS = {
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "tanh": math.tanh,
    "gelu": lambda z: z * math.erfc(-z / math.sqrt(2)) / 2,
    "silu": lambda z: z / (1 + math.exp(-z)),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "identity": lambda z: z,
}


def value_of_row(network: MLP, row: list[float]) -> float:
    """f(x), one unit at a time, in Python's floats."""
    config, hidden = network.config, row
    normalised = () if config.normalisation == "none" else config.normalised_layers or range(1, config.depth)
    for layer, linear in enumerate(network.linears, start=1):
        weights = linear.weight.tolist()
        biases = [0.0] * len(weights) if linear.bias is None else linear.bias.tolist()
        hidden = [sum(map(float.__mul__, unit, hidden)) + bias for unit, bias in zip(weights, biases, strict=True)]
        if layer == config.depth:
            break
        if layer in normalised:
            norm, mean = network.norms[layer - 1], sum(hidden) / len(hidden)
            deviation = math.sqrt(sum((z - mean) ** 2 for z in hidden) / len(hidden) + config.epsilon)
            gains = norm.weight.tolist() if config.affine else [1.0] * len(hidden)
            shifts = norm.bias.tolist() if config.affine else [0.0] * len(hidden)
            hidden = [g * (z - mean) / deviation + b for g, z, b in zip(gains, hidden, shifts, strict=True)]
        hidden = [SCALAR_ACTIVATIONS[config.activation](z) for z in hidden]
    return hidden[0]


@given(case=cases(trained=None, dead=None, weight_scales=st.sampled_from((1.0, 0.25, 4.0))))
def test_forward_is_the_formula(case):
    network, x, _ = case.draw()
    values = torch.tensor([value_of_row(network, row) for row in x.tolist()], dtype=torch.float64)
    # Both sides round.
    assert_within((evaluate(network, x), values, 2 * EPSILON * sizes(network, x).of_output))


@given(case=cases(normalised=False))
def test_initial_weights_fill_torchs_interval(case):
    network, _, _ = case.draw()
    values = torch.cat(
        [p.flatten() * linear.in_features**0.5 for linear in network.linears for p in linear.parameters()]
    )
    assert values.abs().max() <= 1 + 2 * EPSILON  # two roundings, of the bound and here
    # All of n uniform values lie in the inner half, or have one sign, with probability 2^-n: too small from 40 on.
    if len(values) >= 40:
        assert values.abs().max() > 0.5
        assert values.min() < 0 < values.max()


@given(config=configs(normalisations=("layer", "weight", "spectral")), seed=st.integers(0, 2**32 - 1))
def test_a_seed_is_one_network_in_every_dtype(config, seed):
    before = torch.random.get_rng_state()
    networks = [
        MLP(3, 2, config, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        for dtype in (torch.float64, torch.float32, torch.float64)
    ]
    for exact, single, again in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(single, exact.float())
        assert torch.equal(again, exact)
    other = MLP(3, 2, config, generator=torch.Generator().manual_seed(seed ^ 1), dtype=torch.float64)
    assert not torch.equal(next(other.parameters()), next(networks[0].parameters()))
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator has moved"


@given(case=cases(), observation_dim=st.integers(1, 3))
def test_a_critic_is_a_function_of_the_state_then_the_action(case, observation_dim):
    generator = torch.Generator().manual_seed(case.seed)
    critic = Critic(observation_dim, 2, case.config, generator=generator, dtype=torch.float64)
    observations = torch.randn(case.rows, observation_dim, generator=generator, dtype=torch.float64)
    actions = torch.randn(case.rows, 2, generator=generator, dtype=torch.float64)
    values = critic.q(observations, actions)
    assert values.shape == (case.rows,)
    rows = [[*s.tolist(), *a.tolist()] for s, a in zip(observations, actions, strict=True)]
    expected = torch.tensor([value_of_row(critic, row) for row in rows], dtype=torch.float64)
    assert_within((values, expected, 2 * EPSILON * sizes(critic, torch.tensor(rows, dtype=torch.float64)).of_output))


@given(case=cases(weight_scales=st.sampled_from((1.0, 16.0))), outputs=st.integers(1, 3))
def test_actors_stay_in_the_box_and_squash_their_perceptron(case, outputs):
    _, x, _ = case.draw()
    for actor_class, raw_outputs in ((DeterministicActor, outputs), (GaussianActor, 2 * outputs)):
        generator = torch.Generator().manual_seed(case.seed)
        actor = actor_class(case.inputs, outputs, case.config, generator=generator, dtype=torch.float64)
        generator = torch.Generator().manual_seed(case.seed)
        twin = MLP(case.inputs, raw_outputs, case.config, generator=generator, dtype=torch.float64)
        for network in (actor, twin):
            for parameter in network.linears.parameters():
                parameter.data *= case.weight_scale
        actions = actor(x)
        assert actions.abs().max() <= 1
        assert torch.equal(actions, torch.tanh(twin(x)[:, :outputs]))


REFUSED = [
    {"depth": 0},
    {"width": 0},
    {"activation": "sine"},
    {"normalisation": "instance"},
    {"epsilon": -1.0},
    {"depth": 2, "normalisation": "layer", "normalised_layers": (2,)},
]


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_an_impossible_shape_is_refused(options):
    with pytest.raises(InputError):
        MLPConfig(**options)
