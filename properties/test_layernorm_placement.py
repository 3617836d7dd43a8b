"""One LayerNorm in any hidden layer of a perceptron, with or without affine, stops the kernel's growth along a ray.

A perceptron's layers lie on every path from input to head; `test_layernorm_graphs` has networks of several paths.

Hypotheses: LayerNorm stands before the non-linearity; ε > 0; and the first normalised layer sees the direction: what
moves its input is not the same for all its units. So neither a LayerNorm in every layer nor its affine is needed.
"""

import numpy as np
import pytest
import torch
from hypothesis import assume, event, given
from hypothesis import strategies as st

from properties.ray_bounds import common_direction, gram_along, gram_rounding
from properties.strategies.networks import EVERY_KIND, Case, cases
from properties.strategies.rays import on_rays
from seem.features import gradient_factors
from seem.networks import MLP, MLPConfig

LAYERNORM = EVERY_KIND | {"normalisations": ("layer",), "normalised": True}
NEAR = 2.0 ** np.array([-np.inf, 0, 10, 20, 30])
FAR = 2.0**40
SEEN = 1e-4
"""Share of a movement that centring leaves; below it the kernel settles at a length beyond `NEAR`."""


def sight(network: MLP, x: torch.Tensor, x_far: torch.Tensor) -> float:
    """Share of the movement of the first normalised layer's input, from x to x_far, that is not common to its units."""
    hidden = torch.stack((x, x_far))
    for layer, linear in enumerate(network.linears[:-1], start=1):
        pre_activations = linear(hidden)
        if network.config.is_normalised(layer):
            moved = pre_activations[1] - pre_activations[0]
            return ((moved - moved.mean()).norm() / moved.norm().clamp_min(1e-300)).item()
        hidden = network.activation(pre_activations)
    raise AssertionError


@pytest.mark.claim("LN-ANYWHERE")
@given(drawn=on_rays(cases(**LAYERNORM), count=(1, 1)))
def test_one_layernorm_anywhere_stops_the_growth(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    x0, v, _ = ray.draw()
    points = x0 + torch.from_numpy(np.append(NEAR, FAR))[:, None] * v
    seen = sight(network, x0, points[-1])
    assume(seen == 0 or seen > SEEN)
    event(f"{'several layers' if len(case.config.normalised_layers) > 1 else 'one layer'}, affine {case.config.affine}")
    sizes = np.abs(gram_along(network, x0, points)[0, 1:])
    largest = sizes[:-1].max()
    event(f"|k| {'grows' if sizes[-1] > largest else 'is largest at a shorter length'}")
    # Linear growth would be a thousandfold; 2 leaves room for shares that cancel at shorter lengths.
    assert sizes[-1] <= 2 * largest, f"|k| = {sizes}"


@pytest.mark.claim("LN-ANY-DIRECTION")
@given(
    drawn=on_rays(
        cases(
            activations=("relu", "leaky_relu", "tanh"),
            first=True,
            depth=(2, 3),
            epsilons=(1e-2, 1.0),
            **(LAYERNORM | {"dead": False}),
        ),
        longest=1e6,
        count=(1, 1),
    ),
    common=st.sampled_from((0.5, -1.0, 3.0)),
)
def test_growth_is_linear_in_a_direction_that_layernorm_does_not_see(drawn, common):
    """If W_1 v is the same for all units only ⟨x0, x⟩ moves: k(x0, x0 + ρv) = k(x0, x0) + ρ ⟨x0, v⟩ ‖δ_1(x0)‖²."""
    case, ray = drawn
    network, *_ = case.draw()
    x0, _, _ = ray.draw()
    v = common_direction(network, common)
    (rho,) = ray.lengths
    gram = gram_along(network, x0, (x0 + rho * v)[None])
    delta = gradient_factors(network, x0[None])[0].deltas
    expected = gram[0, 0] + rho * x0[0].item() * delta.square().sum().item()
    slack = gram_rounding(network, x0[None], torch.stack((x0, x0 + rho * v))).sum().item()
    assert abs(gram[0, 1] - expected) <= slack, f"k = {gram[0, 1]}, expected {expected}"


def test_growth_is_linear_if_the_only_layernorm_does_not_see_what_moves_its_input():
    """W_2 σ(W_1 v) = (4, 4, 4), the example of the derivation: the first layer itself moves its units apart."""
    shape = MLPConfig(
        depth=3, width=3, bias=False, normalisation="layer", normalised_layers=(2,), affine=False, epsilon=1.0
    )
    network, *_ = Case(shape, inputs=2, rows=1, seed=0).draw()
    weights = ([[1, 2], [2, -1], [-1, 3]], [[1, 0, 0], [0, 1, 1], [0, 0, 4]], [[1, 2, -1]])
    for linear, weight in zip(network.linears, weights, strict=True):
        linear.weight.data.copy_(torch.tensor(weight, dtype=torch.float64))
    x0, v = torch.tensor([[1.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
    lengths = torch.tensor([[2.0**10], [2.0**20]], dtype=torch.float64)
    shorter, longer = gram_along(network, x0, x0 + lengths * v)[0, 1:]
    assert sight(network, x0, x0 + v) == 0
    # What does not grow is about 20 times the slope.
    assert longer / shorter == pytest.approx(2.0**10, rel=0.03)
    with torch.no_grad():
        network.linears[1].weight[0, 0] = 2
    shorter, longer = gram_along(network, x0, x0 + lengths * v)[0, 1:]
    assert longer == pytest.approx(shorter, rel=0.03)
