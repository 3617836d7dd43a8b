"""LayerNorm bounds the kernel along every ray: |k(x0, x0 + ρv)| ≤ K for all ρ, K the constant of the derivation.

Hypotheses: the first hidden layer is normalised before its non-linearity; |σ(p)| ≤ ℓ|p| and |σ'| ≤ ℓ; the centred
first layer sees the direction, C W_1 v ≠ 0 (which random weights do); and ε > 0, or a positive floor of the first
layer's standard deviation on the ray.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from properties.ray_bounds import (
    ROUNDING,
    assert_kernels_below,
    assert_values_below,
    gram_along,
)
from properties.strategies.networks import EVERY_KIND, PIECEWISE_LINEAR, Case, cases, powers_of_two
from properties.strategies.rays import Ray, on_rays
from seem.features import gradient_factors
from seem.layernorm import LIPSCHITZ, kernel_bound
from seem.networks import ACTIVATIONS, MLPConfig
from seem.ntk import gram_by_jacobians

LAYERNORM = EVERY_KIND | {"normalisations": ("layer",), "normalised": True}


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(p=st.floats(-50.0, 50.0))
def test_activations_satisfy_the_hypothesis(name, p):
    argument = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    value = ACTIVATIONS[name](argument)
    (slope,) = torch.autograd.grad(value, argument)
    lipschitz = LIPSCHITZ.get(name, 1.0)
    # Ten roundings.
    assert abs(value.item()) <= lipschitz * abs(p) * (1 + 10 * ROUNDING)
    assert abs(slope.item()) <= lipschitz * (1 + 10 * ROUNDING)


@pytest.mark.claim("LN-BOUND")
@given(drawn=on_rays(cases(first=True, **LAYERNORM)))
def test_kernel_stays_below_the_constant_on_every_ray(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    assert_kernels_below(network, *ray.draw())


@given(drawn=on_rays(cases(bias=True, epsilons=(0.0,), depth=(2, 2), width=(3, 6), **(LAYERNORM | {"dead": False}))))
def test_kernel_stays_below_the_constant_without_epsilon(drawn):
    """With biases and three units or more the centred first layer misses 0 on every ray: the floor is positive."""
    case, ray = drawn
    network, *_ = case.draw()
    assert_kernels_below(network, *ray.draw())


@pytest.mark.claim("LN-BOUND")
@given(drawn=on_rays(cases(first=True, inputs=(1, 3), width=(4, 6), **(LAYERNORM | {"dead": False}))))
def test_kernel_stays_below_one_constant_for_every_input(drawn):
    """More units than inputs, so that C W_1 has the rank of the inputs: every direction is seen."""
    case, ray = drawn
    network, *_ = case.draw()
    x0, _, points = ray.draw()
    assert_kernels_below(network, x0, None, points)


@pytest.mark.claim("LN-VALUE")
@given(drawn=on_rays(cases(**LAYERNORM)))
def test_values_stay_below_the_value_bound(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    _, _, points = ray.draw()
    assert_values_below(network, points)


@pytest.mark.claim("LN-TRAINING")
@given(case=cases(activations=PIECEWISE_LINEAR, first=True, **LAYERNORM), factor=powers_of_two())
def test_no_constant_outlives_training_of_the_head(case, factor):
    """Boundedness for fixed parameters is not boundedness in training: hidden shares grow with the head's square."""
    network, x, x_next = case.draw()
    factors = gradient_factors(network, torch.cat((x, x_next)))
    with torch.no_grad():
        network.linears[-1].weight *= factor
    head = network.config.depth - 1
    for index, (before, after) in enumerate(
        zip(factors, gradient_factors(network, torch.cat((x, x_next))), strict=True)
    ):
        # Powers of two commute with rounding: equality is bitwise. A share is the square of its left factor.
        power = 1.0 if index == head else factor
        for old, new in zip(before.terms(), after.terms(), strict=True):
            assert torch.equal(new.left, power * old.left)
            assert (old.right is None and new.right is None) or torch.equal(new.right, old.right)


def test_without_epsilon_the_kernel_diverges_where_the_first_layer_is_constant_across_units():
    """The deltas grow as 1/t at a distance of t from that point, here x = 1, and the derivation has no constant."""
    case = Case(MLPConfig(depth=2, width=3, normalisation="layer", epsilon=0.0), inputs=1, rows=1, seed=0)
    network, *_ = case.draw()
    network.linears[0].bias.data.copy_(-network.linears[0].weight[:, 0])
    x0, v, points = Ray((0.0,), (1.0,), (1 + 2.0**-10, 1 + 2.0**-20)).draw()
    near, nearer = np.abs(gram_along(network, x0, points)[0, 1:])
    # Both are B/t up to a share of order 1.
    assert nearer / near == pytest.approx(2.0**10, rel=1e-2)
    with pytest.raises(ValueError, match="diverges there"):
        kernel_bound(network, x0, v)


@pytest.mark.claim("LN-ANY-DIRECTION")
def test_after_the_non_linearity_the_constant_does_not_hold():
    """The non-linearity takes spread away before LayerNorm sees it."""
    shape = MLPConfig(depth=2, width=2, bias=False, normalisation="layer", affine=False, epsilon=1.0)
    network, *_ = Case(shape, inputs=1, rows=1, seed=61).draw()
    after = nn.Sequential(network.linears[0], nn.ReLU(), network.norms[0], network.linears[1])
    x0 = torch.tensor([[16.0]], dtype=torch.float64)
    bound = kernel_bound(network, x0[0], x0[0])
    assert gram_by_jacobians(network, x0, x0).item() <= bound
    assert gram_by_jacobians(after, x0, x0).item() > bound
