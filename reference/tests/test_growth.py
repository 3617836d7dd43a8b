"""The growth laws against brute-force recursions and their own limits."""

import math

import numpy as np
import pytest
import torch

from seem.errors import InputError
from seem.growth import AdamLaw, DecayingStepLaw, EMALaw, MomentumLaw, SGDLaw, SignLaw


def iterate(depth: int, rate: float, log_room: float) -> int:
    """The discrete ray, one step at a time, in logarithms."""
    steps, grown, log_rate, sign = 0, 0.0, math.log(abs(rate)), math.copysign(1, rate)
    while grown < log_room:
        ratio = log_rate - math.log(depth)
        log_factor = ratio if ratio > 60 else math.log(abs(1 + sign * math.exp(ratio)))
        grown += depth * log_factor
        log_rate += (2 * depth - 2) * log_factor
        steps += 1
    return steps


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("rate", [2e-4, 1e-3, 0.03, 0.7, 20.0, 1e6])
def test_steps_to_overflow_counts_the_recursion(depth, rate):
    counted = iterate(depth, rate, 700.0)
    # Below SMALL_STEP the closed form replaces whole steps by a sum that is right to a fraction of one.
    assert SGDLaw(depth).steps_to_overflow(rate, 700.0) == pytest.approx(counted, abs=1.0 if rate < 1e-3 else 1e-6)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_continuous_law_is_the_limit_of_the_discrete_one(depth):
    law = SGDLaw(depth)
    errors = [law.steps_to_overflow(rate, 700.0) / law.steps_to_blow_up(rate) - 1 for rate in (1e-3, 1e-4, 1e-5)]
    # The lag grows as ln(1/x) while the count grows as 1/x.
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[2] < 1e-3


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_overshoot_needs_more_than_twice_the_depth(depth):
    law = SGDLaw(depth)
    assert law.steps_to_overflow(-2.0 * depth, 700.0) == math.inf
    assert law.steps_to_overflow(-2.5 * depth, 700.0) == iterate(depth, -2.5 * depth, 700.0)


def test_no_growth_has_no_crash():
    for rate in (0.0, -1e-3, math.nan):
        assert SGDLaw(3).steps_to_overflow(rate, 700.0) == math.inf
        assert SGDLaw(3).steps_to_blow_up(rate) == math.inf


def test_rates_beyond_any_number_overflow_at_once():
    assert SGDLaw(3).steps_to_overflow(1e300, 700.0) == 1


def test_depth_one_is_exponential():
    assert SGDLaw(1).exponent == 0
    assert SGDLaw(1).steps_to_blow_up(0.1) == math.inf
    np.testing.assert_array_equal(SGDLaw(1).linearise([1.0, math.e**2]), [0.0, 2.0])


@pytest.mark.parametrize("law", [SGDLaw, AdamLaw])
def test_depth_zero_is_refused(law):
    with pytest.raises(InputError, match="1 or more"):
        law(0)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_sgd_law_on_a_network_that_is_on_the_ray(depth):
    """A one-unit chain f = w^L·x with target 2f: every weight equal, so it is exactly self-similar."""
    lr, weight = 1e-3, torch.full((depth,), 1.0, dtype=torch.float64)
    chain = weight.clone().requires_grad_()
    # Mean-squared loss over one row: η = 2·lr; k = L·w^(2L-2), A = (2 - 1)·k on this row.
    rate = 2 * lr * depth
    forecast = SGDLaw(depth).steps_to_overflow(rate, math.log(torch.finfo(torch.float64).max))
    step = 0
    while torch.isfinite(chain.prod()):
        value = chain.prod()
        (value - 2 * value.detach()).square().backward()
        with torch.no_grad():
            chain -= lr * chain.grad
            chain.grad = None
        step += 1
    assert abs(step - forecast) <= 1, "the recursion is exact on the ray; overflow may come one product earlier"


def test_linearise_is_linear_on_the_law():
    for depth in (2, 3, 4):
        law, steps = SGDLaw(depth), np.arange(90)
        q = (1 - steps / 100) ** (-1 / law.exponent)
        # Second differences of a straight line vanish up to rounding of numbers below 1.
        assert np.abs(np.diff(law.linearise(q), 2)).max() < 1e-14


def test_adam_ratio_against_torch_adam():
    depth, steps = 2, 400
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimiser = torch.optim.Adam([parameter], lr=1.0, eps=0.0)
    moved = [0.0]
    for t in range(1, steps + 1):
        parameter.grad = torch.full((1,), -(float(t) ** (2 * depth - 1)), dtype=torch.float64)
        optimiser.step()
        moved.append(parameter.item())
    # 1e-9: two float64 recursions of 400 steps.
    np.testing.assert_allclose(np.diff(moved), AdamLaw(depth).step_ratio(steps), rtol=1e-9)


def test_adam_ratio_tends_to_one():
    ratio = AdamLaw(3).step_ratio(100_000)
    assert ratio[500] > 2
    # k/((1 - β₂)t) = 5/100 at the end.
    assert 1 < ratio[-1] < 1.06


def test_a_kernel_in_single_precision_gives_a_transition_in_double():
    gram, bootstrap = np.array([[1 / 3]], dtype=np.float32), np.array([[0.7]], dtype=np.float32)
    expected = EMALaw(1, 0.3).transition([[float(gram[0, 0])]], [[float(bootstrap[0, 0])]])
    assert np.array_equal(EMALaw(1, 0.3).transition(gram, bootstrap), expected)


def test_the_growth_under_momentum_keeps_its_digits_at_large_rates():
    # y² + (1 - β - x)y - x = 0 with y = x + β + O(1/x).
    assert MomentumLaw(2, 0.5).growth_rate(1e12) == pytest.approx(1e12 + 0.5, rel=1e-15)


@pytest.mark.parametrize(("beta2", "steady"), [(0.6, True), (0.75, False), (0.8, False)])
def test_decay_is_steady_below_the_memory_of_the_second_moment(beta2, steady):
    # lr·w·(2L-2) = 1/4 for L = 2.
    assert SignLaw(2, decay=0.5).decay_is_steady(0.25, beta2) is steady


def test_an_effective_time_that_just_does_not_suffice_never_crashes():
    # α = 2: the effective time tends to t₀ = 128, and L = 2 needs 1/x = 128.
    assert DecayingStepLaw(2, power=2.0, timescale=128.0).steps_to_blow_up(1 / 128) == math.inf
