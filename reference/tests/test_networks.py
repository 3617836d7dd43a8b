"""Networks against their formulas: forward, initial weights, the squashed Gaussian, homogeneity, refusals."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from seem.errors import InputError
from seem.networks import ACTIVATIONS, MLP, Critic, DeterministicActor, GaussianActor, MLPConfig, parameter_list

FORMULAS = {
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "tanh": math.tanh,
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "identity": lambda z: z,
}
SHAPES = [
    *(MLPConfig(depth=3, width=4, activation=name) for name in FORMULAS),
    MLPConfig(depth=1),
    MLPConfig(depth=2, width=4, bias=False),
    MLPConfig(depth=3, width=4, normalisation="layer", epsilon=0.5),
    MLPConfig(depth=4, width=4, normalisation="layer", normalised_layers=(2,)),
    MLPConfig(depth=3, width=4, normalisation="layer", affine=False, epsilon=0.0),
    MLPConfig(depth=3, width=4, normalisation="none", normalised_layers=(1,)),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(config: MLPConfig, outputs: int = 1, dtype: torch.dtype = torch.float64) -> MLP:
    """A network whose every parameter, gains and shifts too, is away from its initial value."""
    source = generator()
    network = MLP(3, outputs, config, generator=source, dtype=dtype)
    for parameter in network.parameters():
        parameter.data += torch.randn(parameter.shape, generator=source, dtype=dtype)
    return network.requires_grad_(False)


def inputs(rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, 3, generator=generator(1), dtype=torch.float64)


def slow_row(network: MLP, row: list[float]) -> list[float]:
    """σ(LN(W h + b)) layer after layer in Python floats; LN divides by sqrt(variance + ε)."""
    config, last = network.config, network.config.depth
    for layer, linear in enumerate(network.linears, start=1):
        bias = linear.bias.tolist() if config.bias else [0.0] * linear.out_features
        weights = zip(linear.weight.tolist(), bias, strict=True)
        row = [sum(w * h for w, h in zip(line, row, strict=True)) + b for line, b in weights]
        if layer == last:
            return row
        chosen = config.normalised_layers is None or layer in config.normalised_layers
        if config.normalisation == "layer" and chosen:
            mean = sum(row) / len(row)
            variance = sum((z - mean) ** 2 for z in row) / len(row)
            row = [(z - mean) / math.sqrt(variance + config.epsilon) for z in row]
            if config.affine:
                norm = network.norms[layer - 1]
                row = [g * z + b for g, z, b in zip(norm.weight.tolist(), row, norm.bias.tolist(), strict=True)]
        row = [FORMULAS[config.activation](z) for z in row]
    raise AssertionError


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_forward_equals_the_formula_in_python_floats(config):
    network, x = drawn(config, outputs=2), inputs()
    expected = torch.tensor([slow_row(network, row) for row in x.tolist()], dtype=torch.float64)
    # 1e-13: some twenty float64 operations per layer on numbers of size 1 to 10.
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-13)


def test_depth_one_is_an_affine_map():
    network, x = drawn(MLPConfig(depth=1, activation="tanh", normalisation="layer")), inputs()
    (linear,) = network.linears
    assert len(network.norms) == 0
    assert torch.equal(network(x), torch.nn.functional.linear(x, linear.weight, linear.bias))
    bare = drawn(MLPConfig(depth=1, bias=False))
    assert torch.equal(bare(4 * x), 4 * bare(x))
    assert parameter_list(bare)[0].shape == (1, 3)


def test_a_seed_gives_one_network_whatever_its_dtype():
    config = MLPConfig(depth=3, width=5, normalisation="layer")
    wide = MLP(3, 1, config, generator=generator(), dtype=torch.float64)
    narrow = MLP(3, 1, config, generator=generator(), dtype=torch.float32)
    again = MLP(3, 1, config, generator=generator(), dtype=torch.float64)
    other = MLP(3, 1, config, generator=generator(1), dtype=torch.float64)
    for parts in zip(*(parameter_list(network) for network in (wide, narrow, again)), strict=True):
        assert torch.equal(parts[0].float(), parts[1])
        assert torch.equal(parts[0], parts[2])
    assert not torch.equal(wide.linears[0].weight, other.linears[0].weight)
    assert (wide.linears[0].weight != wide.linears[0].weight.float()).any(), "float64 weights use their whole mantissa"


def test_networks_draw_from_their_generator_one_after_the_other():
    source, config = generator(), MLPConfig(depth=2, width=4)
    first, second = (MLP(3, 1, config, generator=source) for _ in range(2))
    assert not torch.equal(first.linears[0].weight, second.linears[0].weight)


def test_initial_weights_fill_torchs_default_range():
    network = MLP(4, 1, MLPConfig(depth=3, width=100), generator=generator(), dtype=torch.float64).requires_grad_(False)
    for linear in network.linears:
        bound = 1 / math.sqrt(linear.in_features)
        for parameter in (linear.weight, linear.bias):
            assert parameter.abs().max() <= bound
        # 100 draws or more all miss a given twentieth of the range with chance 0.95^100 < 1%; the seed is fixed.
        assert linear.weight.max() > 0.9 * bound
        assert linear.weight.min() < -0.9 * bound
    # The deviation of U(-b, b) is b/√3; 10 000 draws give it to about half a percent.
    assert network.linears[1].weight.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)


def test_a_layer_norm_starts_as_the_identity_of_its_affine():
    network = MLP(3, 1, MLPConfig(depth=2, width=4, normalisation="layer"), generator=generator())
    assert torch.equal(network.norms[0].weight, torch.ones(4))
    assert torch.equal(network.norms[0].bias, torch.zeros(4))


def test_only_chosen_hidden_layers_are_normalised():
    config = MLPConfig(depth=4, normalisation="layer", normalised_layers=(1, 3))
    assert [config.is_normalised(layer) for layer in range(6)] == [False, True, False, True, False, False]
    assert [MLPConfig(depth=3, normalisation="layer").is_normalised(layer) for layer in range(4)] == [
        False,
        True,
        True,
        False,
    ]
    assert not MLPConfig(depth=3, normalised_layers=(1,)).is_normalised(1)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_without_biases_the_network_is_homogeneous(depth, activation):
    """A power of two only moves exponents, so f_(cθ)(x) = c^L f_θ(x) and f_θ(cx) = c f_θ(x) hold bit for bit."""
    network, x = drawn(MLPConfig(depth=depth, width=6, activation=activation, bias=False)), inputs()
    values = network(x)
    assert torch.equal(network(8 * x), 8 * values)
    for parameter in network.parameters():
        parameter.mul_(0.25)
    assert torch.equal(network(x), 0.25**depth * values)


def test_biases_break_the_homogeneity():
    network, x = drawn(MLPConfig(depth=2, width=6)), inputs()
    assert not torch.allclose(network(8 * x), 8 * network(x))


def test_layer_norm_without_epsilon_forgets_the_scale_of_its_input():
    config = MLPConfig(depth=2, width=6, bias=False, normalisation="layer", epsilon=0.0)
    network, x = drawn(config), inputs()
    assert torch.equal(network(8 * x), network(x))
    rough = drawn(MLPConfig(depth=2, width=6, bias=False, normalisation="layer", epsilon=0.1))
    assert not torch.allclose(rough(8 * x), rough(x))


def test_a_critic_reads_states_then_actions():
    critic = Critic(2, 1, MLPConfig(depth=1, bias=False), generator=generator(), dtype=torch.float64)
    s, a = inputs()[:, :2], inputs()[:, 2:]
    weight = critic.linears[0].weight.tolist()[0]
    expected = [
        weight[0] * x + weight[1] * y + weight[2] * z for (x, y), (z,) in zip(s.tolist(), a.tolist(), strict=True)
    ]
    # 1e-15: three products of numbers of size 1.
    torch.testing.assert_close(critic.q(s, a).tolist(), expected, rtol=0, atol=1e-15)


def test_a_deterministic_actor_squashes_its_perceptron():
    actor = DeterministicActor(3, 2, MLPConfig(depth=2, width=4), generator=generator(), dtype=torch.float64)
    plain = MLP(3, 2, MLPConfig(depth=2, width=4), generator=generator(), dtype=torch.float64)
    assert torch.equal(actor(inputs()), plain(inputs()).tanh())


def gaussian_actor(shift: float = 0.0) -> GaussianActor:
    actor = GaussianActor(3, 2, MLPConfig(depth=2, width=4), generator=generator(), dtype=torch.float64)
    actor.requires_grad_(False).linears[-1].bias[2:] += shift
    return actor


def test_log_density_equals_torch_distributions():
    actor, s = gaussian_actor(), inputs()
    mean, log_std = actor.moments(s)
    assert log_std.abs().max() > 0.1, "a unit deviation would hide a missing term"
    noise = torch.randn(5, 2, generator=generator(2), dtype=torch.float64)
    actions, densities = actor.sample(s, noise)
    # The cache hands back the pre-squash value instead of an atanh, which would round.
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform(cache_size=1)])
    raw = mean + log_std.exp() * noise
    assert torch.equal(actions, raw.tanh())
    expected = Independent(squashed, 1).log_prob(squashed.transforms[0](raw))
    # 1e-13: ten float64 operations on numbers of size 1 to 10.
    torch.testing.assert_close(densities, expected, rtol=1e-13, atol=1e-13)


def test_the_most_likely_action_is_the_squashed_mean_whatever_the_noise_would_be():
    actor, s = gaussian_actor(), inputs()
    actions, _ = actor.sample(s, torch.zeros(5, 2, dtype=torch.float64))
    assert torch.equal(actor(s), actions)


def test_log_density_stays_finite_where_the_squash_saturates():
    actor, s = gaussian_actor(), inputs()
    actions, densities = actor.sample(s, torch.full((5, 2), 400.0, dtype=torch.float64))
    assert torch.equal(actions, torch.ones_like(actions))
    assert torch.isfinite(densities).all()


@pytest.mark.parametrize(("shift", "expected"), [(1e3, 2.0), (-1e3, -20.0)])
def test_the_deviation_is_clamped(shift, expected):
    _, log_std = gaussian_actor(shift).moments(inputs())
    assert torch.equal(log_std, torch.full_like(log_std, expected))


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        ({"depth": 0}, "pass 1 or more"),
        ({"depth": -1}, "pass 1 or more"),
        ({"width": 0}, "pass a width of 1 or more"),
        ({"activation": "sigmoid"}, "choose one of relu"),
        ({"normalisation": "instance"}, "choose one of none, layer"),
        ({"epsilon": -1e-9}, "pass a number of 0 or more"),
        ({"epsilon": math.nan}, "pass a number of 0 or more"),
        ({"depth": 3, "normalised_layers": (0,)}, "numbered 1 to 2"),
        ({"depth": 3, "normalised_layers": (1, 3)}, "numbered 1 to 2"),
    ],
)
def test_an_impossible_shape_is_refused_in_one_sentence(bad, remedy):
    with pytest.raises(InputError, match=remedy) as caught:
        MLPConfig(**bad)
    assert "\n" not in str(caught.value)
    assert ". " not in str(caught.value)
