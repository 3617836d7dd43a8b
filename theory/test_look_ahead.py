"""The look-ahead: every step, exact counts of the recursion, and drifts whose speed is constant or grows."""

import numpy as np
import pytest
import sympy as sp

from theory import look_ahead
from theory.derivation import assert_step
from theory.self_similar_ray import DEPTH_LESS_ONE

STEPS = [step for derivation in look_ahead.DERIVATIONS for step in derivation.steps]
COUNTS = {(1, 0.01, 20): 302, (2, 0.01, 20): 98, (3, 0.01, 20): 76, (2, 0.05, 5): 18, (4, 0.01, 100): 70}
"""By (L, x, Q_b/Q_0): steps until Q passes the ratio, counted once with the recursion."""


@pytest.mark.claim("LOOKAHEAD-EXACT")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def counted(depth: int, rate: float, ratio: float) -> int:
    value, steps = 1.0, 0
    while value < ratio:
        value *= (1 + rate / depth) ** depth
        rate *= (1 + rate / depth) ** (2 * depth - 2)
        steps += 1
    return steps


def formula(depth: int, rate: float, ratio: float) -> float:
    if depth == 1:
        return np.log(ratio) * (1 / rate + 0.5)
    at = {DEPTH_LESS_ONE: depth - 1, look_ahead.RATE: rate, look_ahead.RATIO: ratio}
    return float(look_ahead.steps_to_bound().subs(at))


@pytest.mark.claim("SGD-BOUND-STEPS")
@pytest.mark.parametrize(("case", "golden"), COUNTS.items(), ids=str)
def test_steps_of_gradient_descent_to_a_bound(case, golden):
    depth, rate, ratio = case
    assert counted(*case) == golden
    # The law's own condition: x at the bound far below 1; the rest is one step, to be counted whole.
    at_bound = rate * ratio ** ((2 * depth - 2) / depth)
    assert abs(formula(*case) - golden) < 1 + at_bound


@pytest.mark.claim("LOOKAHEAD-EXACT")
def test_a_constant_speed_makes_the_line_exact():
    rng = np.random.default_rng(0)
    weights, speed = rng.normal(size=(2, 6))
    path = [weights + k * speed for k in range(200)]
    for window in (1, 10, 40):
        line = path[50] + 100 * (path[50] - path[50 - window]) / window
        assert line == pytest.approx(path[150], rel=1e-12)


@pytest.mark.claim("LOOKAHEAD-SIGNS")
def test_frozen_signs_alone_do_not():
    """Signs stand still and sizes grow by a hundredth a step: the line falls short, by what the lateness says."""
    sizes = 1.01 ** np.arange(400)
    path = np.cumsum(sizes)
    start, window, ahead = 100, 10, 50
    crossing = (path[start + ahead] - path[start]) / ((path[start] - path[start - window]) / window)
    assert crossing > 1.2 * ahead
    # First order in σ(k+W)/2 = .3.
    assert crossing / ahead == pytest.approx(1 + 0.01 * (ahead + window) / 2, rel=0.05)
    mean, before = path[start] - path[start - window], path[start - window] - path[start - 2 * window]
    sigma = np.log(mean * mean / (mean * before)) / window
    accelerated = float(look_ahead.accelerated(crossing, sigma, window))
    assert sigma == pytest.approx(np.log(1.01), rel=1e-9)
    # k + σk²/2 for the way of an exponential: third order.
    assert accelerated == pytest.approx(ahead, rel=0.05)


def test_a_slowing_drift_never_reaches_a_bound_beyond_its_way():
    assert look_ahead.accelerated(sp.Integer(20), sp.Rational(-1, 20), 0).is_real is False
    reached = float(look_ahead.accelerated(8, -0.05, 0))
    assert reached == pytest.approx((np.sqrt(1 - 0.8) - 1) / -0.05)
    assert reached > 8


@pytest.mark.claim("SGD-BOUND-STEPS")
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_drift_on_the_ray_is_bent_by_the_law(depth):
    """Gradient flow of a' = (x/L)a^(2L-1), integrated: the time at which the line's d steps are travelled."""
    rate, reach = 1e-3, 300.0
    at = {DEPTH_LESS_ONE: depth - 1, look_ahead.RATE: rate, look_ahead.REACH: reach}
    size, time, goal = 1.0, 0.0, 1 + reach * rate / depth
    while size < goal:
        middle = size + rate / depth * size ** (2 * depth - 1) / 4
        size += rate / depth * middle ** (2 * depth - 1) / 2
        time += 0.5
    assert float(look_ahead.drift_steps().subs(at)) == pytest.approx(time, abs=0.5)
    assert time < reach
