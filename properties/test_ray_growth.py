"""Without per-row statistics the kernel grows linearly along a ray: k(x0, x0 + ρv) = Ω(ρ).

Hypotheses: an activation that is homogeneous of degree 1 (ReLU for the explicit slope), no biases, and overlap: a
unit of the first layer that is active at x0 and at v, ⟨x0, v⟩ ≥ 0, and weights above the first layer that are not
negative (for L = 2 their signs do not matter). "Any direction" is false: see the opposite ray.
"""

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.ray_bounds import gram_along, gram_rounding
from properties.strategies.networks import PIECEWISE_LINEAR, Case, cases, powers_of_two
from properties.strategies.rays import Ray, on_rays
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks

PLAIN = {"normalised": False, "weight_scales": st.just(1.0) | powers_of_two(-3, 3), "dead": None}
FAR = 2.0**40
"""A length beyond the last kink, at which 12 bits of the starting point are left."""


@torch.no_grad()
def make_overlap(network: MLP, x0: torch.Tensor, v: torch.Tensor) -> None:
    """Turn the first unit along the bisector of x0 and v; for L > 2 take the sizes of all weights above it."""
    network.linears[0].weight[0] = x0 / x0.norm() + v / v.norm()
    if network.config.depth > 2:
        for linear in network.linears[1:]:
            linear.weight.abs_()


def overlapping_slope(network: MLP, x0: torch.Tensor, v: torch.Tensor) -> tuple[float, float]:
    """Head shares of x0 with itself and with v through the units of the first layer that are active at both."""
    ends = torch.stack((x0, v)) @ network.linears[0].weight.T
    hidden = ends * (ends > 0).all(0)
    for linear in network.linears[1:-1]:
        hidden = hidden @ linear.weight.T
    return (hidden[0] @ hidden[0]).item(), (hidden[0] @ hidden[1]).item()


@pytest.mark.claim("RAY-GROWTH")
@given(drawn=on_rays(cases(activations=("relu",), bias=False, depth=(2, 4), **PLAIN), acute=True, forward=True))
def test_overlap_makes_the_kernel_grow_linearly(drawn):
    """On the ray an overlapping unit is h(x0) + ρ h(v), and all other terms of the kernel are 0 or more."""
    case, ray = drawn
    network, *_ = case.draw()
    x0, v, points = ray.draw()
    make_overlap(network, x0, v)
    start, slope = overlapping_slope(network.requires_grad_(False), x0, v)
    gram = gram_along(network.requires_grad_(True), x0, points)
    assert slope > 0
    least = start + np.array(ray.lengths) * slope
    slack = gram_rounding(network, x0[None], points).numpy()[0]
    assert (gram[0, 1:] >= least - slack).all(), f"k = {gram[0, 1:]} below {least}"


@given(case=cases(activations=PIECEWISE_LINEAR, bias=False, **PLAIN), factor=powers_of_two(0, 40))
def test_kernel_has_degree_one_in_its_input(case, factor):
    network, x, x_next = case.draw()
    _, before = gram_blocks(network, x, x_next)
    _, after = gram_blocks(network, x, factor * x_next)
    # Powers of two commute with rounding: equality is bitwise.
    assert torch.equal(after, factor * before)


@pytest.mark.claim("RAY-GROWTH")
@given(drawn=on_rays(cases(activations=PIECEWISE_LINEAR, bias=False, **PLAIN), count=(1, 1)))
def test_slope_far_out_is_the_kernel_at_the_direction(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    x0, v, _ = ray.draw()
    points = torch.stack((v, x0 + FAR * v, x0 + 2 * FAR * v))
    gram = gram_along(network, x0, points)
    slope = (gram[0, 3] - gram[0, 2]) / FAR
    event(f"the slope is {'zero' if gram[0, 1] == 0 else 'positive' if gram[0, 1] > 0 else 'negative'}")
    near, *far = gram_rounding(network, x0[None], points)[0].tolist()
    assert abs(slope - gram[0, 1]) <= near + sum(far) / FAR


@pytest.mark.claim("RAY-OPPOSITE")
@given(case=cases(activations=("relu",), bias=False, depth=(2, 2), **PLAIN), factor=powers_of_two(-40, 40))
def test_kernel_is_zero_on_the_opposite_ray_of_two_layers(case, factor):
    """The counterexample of "any direction": no unit is active at x0 and at -c x0."""
    network, x, _ = case.draw()
    for x0 in x:
        assert gram_along(network, x0, -factor * x0[None])[0, 1] == 0


@given(case=cases(activations=PIECEWISE_LINEAR, bias=True, depth=(2, 4), **PLAIN))
def test_biases_keep_the_growth_affine_far_out(case):
    """Beyond the last kink the kernel is affine in ρ, with biases too."""
    network, x, x_next = case.draw()
    points = x[0] + torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None] * FAR * x_next[0]
    gram = gram_along(network, x[0], points)
    bend = gram[0, 1] - 2 * gram[0, 2] + gram[0, 3]
    assert abs(bend) <= 4 * gram_rounding(network, x[:1], points).max()


def tiny(weights: list[list[list[float]]], activation: str = "relu") -> MLP:
    """A network without biases whose weights are given, W_1 to W_L."""
    config = MLPConfig(depth=len(weights), width=len(weights[0]), activation=activation, bias=False)
    case = Case(config, inputs=len(weights[0][0]), rows=1, seed=0)
    network, *_ = case.draw()
    for linear, weight in zip(network.linears, weights, strict=True):
        linear.weight.data.copy_(torch.tensor(weight, dtype=torch.float64))
    return network


LENGTHS = (0.0, 1.0, 1e3, 1e12)


def kernels(network: MLP, ray: Ray) -> list[float]:
    x0, _, points = ray.draw()
    return gram_along(network, x0, points)[0, 1:].tolist()


@pytest.mark.claim("RAY-ANY-DIRECTION")
def test_an_active_unit_in_common_is_not_enough_at_an_obtuse_angle():
    """The unit gives h h' = 1 + ρ and its weights ⟨x0, x⟩ = 1 - ρ: the kernel is 2 on the whole ray."""
    assert kernels(tiny([[[1.0, 1.0]], [[1.0]]]), Ray((1.0, 0.0), (-1.0, 2.0), LENGTHS)) == [2.0] * 4


@pytest.mark.claim("RAY-ANY-DIRECTION")
def test_negative_weights_above_the_first_layer_can_cancel_the_slope():
    network = tiny([[[1.0], [1.0]], [[1.0, -1.0], [0.0, 0.0]], [[1.0, 0.0]]])
    assert kernels(network, Ray((1.0,), (1.0,), LENGTHS)) == [0.0] * 4


def test_a_saturating_activation_does_not_grow():
    network = tiny([[[1.0], [2.0]], [[1.0, 1.0]]], activation="tanh")
    values = kernels(network, Ray((1.0,), (1.0,), LENGTHS))
    # Both units at 1, gradients below at 0.
    assert values[3] == values[2] == pytest.approx(np.tanh([1, 2]).sum(), rel=1e-12)


@pytest.mark.claim("RAY-OPPOSITE-DEEP")
def test_three_layers_can_grow_on_the_opposite_ray():
    """W_1 = (1, -1)ᵀ and W_2 = (1, 1) make h_2 = |x|: the head's share is ρ."""
    network = tiny([[[1.0], [-1.0]], [[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0]]])
    assert kernels(network, Ray((1.0,), (-1.0,), (2.0, 1e3, 1e12))) == [1.0, 999.0, 1e12 - 1]
