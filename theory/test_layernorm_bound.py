"""LayerNorm: every step, and the explicit bound against the kernels of seem's real networks."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from seem import layernorm
from seem.errors import InputError
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks
from theory import layernorm_bound, layernorm_lemmas, layernorm_placement
from theory.derivation import assert_step

MODULES = (layernorm_lemmas, layernorm_bound, layernorm_placement)
STEPS = [step for module in MODULES for derivation in module.DERIVATIONS for step in derivation.steps]
RADII = np.concatenate([-np.logspace(-2, 8, 31), [0.0], np.logspace(-2, 8, 31)])
BOUNDED = [
    MLPConfig(depth=2, width=16, normalisation="layer"),
    MLPConfig(depth=2, width=16, normalisation="layer", bias=False, affine=False, epsilon=0.0),
    MLPConfig(depth=2, width=16, normalisation="layer", activation="leaky_relu", epsilon=0.0),
    MLPConfig(depth=3, width=12, normalisation="layer"),
    MLPConfig(depth=3, width=12, normalisation="layer", bias=False, epsilon=1e-2),
    MLPConfig(depth=3, width=12, normalisation="layer", affine=False, activation="tanh"),
    MLPConfig(depth=3, width=12, normalisation="layer", normalised_layers=(1,)),
    MLPConfig(depth=4, width=10, normalisation="layer", normalised_layers=(1, 3), epsilon=1e-3),
]


@pytest.mark.claim("LN-BOUND")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def test_mutants_are_caught():
    rng = np.random.default_rng(0)
    supremum = layernorm_lemmas.DERIVATIONS[1]["ray-supremum"]
    rescaled = layernorm_placement.DERIVATIONS[1]["rescaled-jacobian"]
    placed = layernorm_placement.DERIVATIONS[1]["placement-2"]
    for mutant in (
        replace(supremum, left=supremum.left / 2),
        replace(rescaled, right=rescaled.right / layernorm_placement.T),
        replace(placed, right=placed.right * layernorm_placement.FAR),
    ):
        assert not mutant.follows()
        assert not mutant.agrees_numerically(rng)


@pytest.mark.claim("LN-ANYWHERE")
@pytest.mark.parametrize(("placement", "affine"), layernorm_placement.PLACEMENTS, ids=str)
def test_placements_have_finite_limits(placement, affine):
    """At t = 0 every factor is a finite number that its value at t = 1e-20 approaches."""
    at_infinity = layernorm_placement.kernel(placement, affine, sp.Integer(0))
    near = layernorm_placement.kernel(placement, affine, sp.Rational(1, 10**20))
    assert {degree for degree, _ in at_infinity} == {0 if placement else 1}
    for (_, limit), (_, value) in zip(at_infinity, near, strict=True):
        # The factors are smooth in t with derivatives below 1e5 in these examples.
        assert abs(sp.N(limit, 40) - sp.N(value, 40)) < mpmath.mpf("1e-15")
    assert abs(sp.N(sum(limit for _, limit in at_infinity))) > 1


def drawn(config: MLPConfig, seed: int, inputs: int = 5) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    network = MLP(inputs, 1, config, generator=generator, dtype=torch.float64)
    for norm in network.norms:
        for parameter in norm.parameters():  # gains of 1 and shifts of 0 would hide a wrong factor
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def kernel_on(network: MLP, x0: torch.Tensor, points: torch.Tensor) -> np.ndarray:
    """The kernel k(x0, point) for every point, by seem's closed form."""
    return gram_blocks(network, x0.expand(len(points), -1), points)[1][:, 0].numpy()


def bound(network: MLP, x0: torch.Tensor, direction: torch.Tensor | None, **options) -> float:
    if not options:
        return layernorm.kernel_bound(network, x0, direction)
    return layernorm.ray_constant(x0.numpy(), direction.numpy(), **arrays(network), **options)


def arrays(network: MLP) -> dict:
    """What `seem.layernorm.ray_constant` asks of a critic with affine LayerNorm in every layer and biases."""
    return {
        "weights": [linear.weight.detach().numpy() for linear in network.linears],
        "epsilon": network.config.epsilon,
        "biases": [linear.bias.detach().numpy() for linear in network.linears],
        "gains": {layer: norm.weight.detach().numpy() for layer, norm in enumerate(network.norms, start=1)},
        "shifts": {layer: norm.bias.detach().numpy() for layer, norm in enumerate(network.norms, start=1)},
    }


def ray(seed: int, inputs: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x0, v = torch.randn(2, inputs, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64)
    return x0, v, x0 + torch.from_numpy(RADII)[:, None] * v


@pytest.mark.claim("LN-BOUND")
@pytest.mark.parametrize("config", BOUNDED, ids=str)
def test_kernel_of_real_networks_never_passes_the_bound(config):
    for seed in range(8):
        network, (x0, v, points) = drawn(config, seed), ray(seed)
        values = np.abs(kernel_on(network, x0, points))
        on_ray = bound(network, x0, v)
        # 1e-7: at ρ = 1e8 a product x0·x of size 1e8 is rounded at 1e-8 relative to the centred layer.
        assert values.max() <= on_ray * (1 + 1e-7)
        # With ε = 0 and biases the input may hit the one point where s_1 is least: no floor without ε there.
        if config.epsilon or not config.bias:
            assert values.max() <= bound(network, x0, None) * (1 + 1e-7)


@pytest.mark.claim("LN-BOUND")
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_package_computes_the_derived_constant(affine, bias):
    """K of the derivation, with norms, floors and the supremum R put in from the network."""
    config = MLPConfig(depth=3, width=7, normalisation="layer", affine=affine, bias=bias, epsilon=0.25)
    network, (x0, v, _) = drawn(config, 3), ray(3)
    weights = [linear.weight.detach().numpy() for linear in network.linears]
    first_bias = network.linears[0].bias.detach().numpy() if bias else None
    start, supremum, _ = layernorm.first_layer(x0.numpy(), v.numpy(), weights[0], first_bias, config.epsilon)
    values = {
        layernorm_bound.LIPSCHITZ: 1,
        layernorm_bound.HEAD: np.linalg.norm(weights[2]),
        layernorm_bound.SECOND: np.linalg.norm(weights[1], 2),
        layernorm_bound.SUPREMUM: supremum,
        layernorm_bound.BIAS: int(bias),
        **dict(zip(layernorm_bound.FLOORS, (start, 0.5), strict=True)),
        **dict.fromkeys(layernorm_bound.UNITS, 7),
    }
    for layer, (gain, shift) in enumerate(zip(layernorm_bound.GAINS, layernorm_bound.SHIFTS, strict=True), start=1):
        gains, shifts = layernorm.affine(network, layer)
        values |= {gain: np.abs(gains).max(), shift: np.linalg.norm(shifts)}
    expected = float(sum(layernorm_bound.constant(affine)).subs(values))
    assert layernorm.kernel_bound(network, x0, v) == pytest.approx(expected, rel=1e-12)


def test_a_critic_without_bound_is_refused():
    x0 = torch.zeros(5, dtype=torch.float64)
    with pytest.raises(InputError, match="holds for layer, group and rms"):
        layernorm.kernel_bound(drawn(MLPConfig(depth=2, width=4), 0), x0)
    with pytest.raises(InputError, match="no hidden layer is normalised"):
        layernorm.value_bound(drawn(MLPConfig(depth=2, width=4), 0))
    last = MLPConfig(depth=3, width=4, normalisation="layer", normalised_layers=(2,))
    with pytest.raises(InputError, match="first hidden layer is not normalised"):
        layernorm.kernel_bound(drawn(last, 0), x0)


def test_the_bound_is_of_the_right_size_for_one_hidden_layer():
    """Vacuous bounds are easy: without ε's powers this one is within a factor of 100 of the largest kernel."""
    ratios = []
    for seed in range(10):
        network, (x0, v, points) = drawn(BOUNDED[0], seed), ray(seed)
        ratios.append(bound(network, x0, v) / np.abs(kernel_on(network, x0, points)).max())
    assert min(ratios) > 1
    assert max(ratios) < 100


def test_floors_of_deeper_layers_replace_the_powers_of_epsilon():
    """With √ε as its floor the second layer costs a factor of 1/ε; its true spread on the ray is of order 1."""
    network, (x0, v, points) = drawn(BOUNDED[3], 0), ray(0)
    hidden = network.activation(network.norms[0](network.linears[0](points)))
    spread = network.linears[1](hidden).var(1, unbiased=False).add(network.config.epsilon).sqrt()
    # Sampled, so no proof: nine tenths leave room for what lies between the samples.
    tight = bound(network, x0, v, floors={2: 0.9 * spread.min().item()})
    assert np.abs(kernel_on(network, x0, points)).max() <= tight
    assert tight < 1e-3 * bound(network, x0, v)
    with pytest.raises(ValueError, match="pass one in `floors`"):
        bound(drawn(MLPConfig(depth=3, width=8, normalisation="layer", epsilon=0.0), 0), x0, v)


@pytest.mark.claim("LN-VALUE")
def test_values_of_real_networks_stay_below_the_value_bound():
    for seed in range(8):
        network, (_, _, points) = drawn(BOUNDED[3], seed), ray(seed)
        assert network(points).abs().max() <= layernorm.value_bound(network)


@pytest.mark.claim("RAY-GROWTH")
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_kernel_of_plain_relu_networks_grows_linearly_with_slope_k_of_x0_and_v(depth, bias):
    for seed in range(4):
        network, (x0, v, points) = drawn(MLPConfig(depth=depth, width=16, bias=bias), seed), ray(seed)
        values = kernel_on(network, x0, points)
        # With biases the slope is the kernel at v far out, where gates and deltas are those of the direction.
        slope = kernel_on(network, x0, 1e6 * v[None])[0] / 1e6
        assert abs(slope) > 1e-3
        # Terms of order 1 against ρ = 1e8, and the 1e6 above.
        assert values[-1] / RADII[-1] == pytest.approx(slope, rel=1e-3)


@pytest.mark.claim("LN-ANYWHERE")
@pytest.mark.parametrize("placed", [(1,), (2,), (3,), (1, 3), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("affine", [False, True])
def test_one_layernorm_anywhere_stops_the_growth(placed, affine):
    config = MLPConfig(depth=4, width=16, normalisation="layer", normalised_layers=placed, affine=affine)
    for seed in range(4):
        network, (x0, _, points) = drawn(config, seed), ray(seed)
        far = kernel_on(network, x0, points)[-8:]
        # From ρ = 1e6 to 1e8 the kernel has settled; growth would be a hundredfold.
        assert far == pytest.approx(far[-1], rel=1e-2, abs=1e-4)


@pytest.mark.claim("LN-ANY-DIRECTION")
def test_a_direction_that_the_centred_layer_does_not_see_grows_linearly_under_layernorm():
    network, (x0, _, _) = drawn(MLPConfig(depth=3, width=12, normalisation="layer"), 0), ray(0)
    v = torch.zeros(5, dtype=torch.float64)
    v[0] = torch.sign(x0[0])
    with torch.no_grad():
        network.linears[0].weight[:, 0] = 0.7
    points = x0 + torch.tensor([[1e4], [1e6]], dtype=torch.float64) * v
    values = kernel_on(network, x0, points)
    assert values[1] / values[0] == pytest.approx(100, rel=0.05)
    with pytest.raises(ValueError, match="does not see this direction"):
        bound(network, x0, v)
    with pytest.raises(ValueError, match="does not see"):
        bound(network, x0, None)


@pytest.mark.claim("RAY-OPPOSITE")
def test_opposite_ray_has_kernel_zero_without_biases_and_two_layers():
    network, (x0, _, _) = drawn(MLPConfig(depth=2, width=16, bias=False), 0), ray(0)
    assert kernel_on(network, x0, torch.tensor([[-0.5], [-3.0], [-1e8]], dtype=torch.float64) * x0).tolist() == [
        0,
        0,
        0,
    ]
    deeper = drawn(MLPConfig(depth=3, width=16, bias=False), 0)
    assert kernel_on(deeper, x0, -x0[None])[0] != 0


@pytest.mark.claim("LN-ANY-DIRECTION")
def test_without_epsilon_the_kernel_diverges_at_a_finite_point_and_the_bound_refuses():
    network = drawn(MLPConfig(depth=2, width=8, normalisation="layer", epsilon=0.0), 1, inputs=1)
    with torch.no_grad():
        network.linears[0].bias.copy_(-network.linears[0].weight[:, 0])  # z vanishes at x = 1
    x0, v = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    values = np.abs(kernel_on(network, x0, torch.tensor([[1 + 1e-3], [1 + 1e-6]], dtype=torch.float64)))
    assert values[1] / values[0] == pytest.approx(1000, rel=0.1)
    with pytest.raises(ValueError, match="diverges there"):
        bound(network, x0, v)


@pytest.mark.claim("LN-TRAINING")
def test_boundedness_for_fixed_parameters_is_not_boundedness_during_training():
    """Doubling the head quadruples the hidden layers' shares, and bound and kernel with them."""
    network, (x0, v, points) = drawn(BOUNDED[4], 2), ray(2)
    before = bound(network, x0, v), np.abs(kernel_on(network, x0, points)).max()
    with torch.no_grad():
        network.linears[-1].weight *= 1e3
    after = bound(network, x0, v), np.abs(kernel_on(network, x0, points)).max()
    assert after[0] / before[0] > 1e5
    assert after[1] / before[1] > 1e5


def test_first_layer_constant_is_attained_on_the_ray():
    rng = np.random.default_rng(0)
    weight, bias, x0, v = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=3), rng.normal(size=3)
    _, largest, floor = layernorm.first_layer(x0, v, weight, bias, 1e-3)
    rho = np.sinh(np.linspace(-12, 12, 400_001))
    points = x0 + rho[:, None] * v
    z = points @ weight.T + bias
    spread = np.sqrt(z.var(1) + 1e-3)
    ratio = np.abs(points @ x0 + 1) / spread
    # The grid's spacing is 6e-5 of the scale of ρ, and both extremes are quadratic.
    assert ratio.max() == pytest.approx(largest, rel=1e-6)
    assert spread.min() == pytest.approx(floor, rel=1e-6)
