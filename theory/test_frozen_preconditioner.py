"""Freezing v̂: every step, golden values, and Adam's own recursion with the moment moving."""

import numpy as np
import pytest
import sympy as sp

from theory import frozen_preconditioner as frozen
from theory.derivation import assert_step

STEPS = [step for derivation in frozen.DERIVATIONS for step in derivation.steps]


@pytest.mark.claim("ADAM-FREEZE")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def cost(rate: float, gain: float, mean: float, horizon: float) -> float:
    values = {frozen.RATE: rate, frozen.GAIN: gain, frozen.MEAN: mean, frozen.HORIZON: horizon}
    return float(frozen.excess().subs(values))


def true_growth(rate: float, gain: float, mean: float, steps: int) -> float:
    """ln‖u‖ after some steps of growth x/√v̂ with v̂ ← v̂ + w(ρ²e^{2y} - v̂), from v̂ = 1."""
    grown, moment = 0.0, 1.0
    for _ in range(steps):
        grown += rate / np.sqrt(moment)
        moment += gain * (mean**2 * np.exp(2 * grown) - moment)
    return grown


def weight(rate: float, gain: float, mean: float, steps: int) -> float:
    """U after some steps of u ← u(1 + x/√v̂), v̂ ← v̂ + w(ρ²u² - v̂), both from 1: a linear critic of one weight."""
    value, moment = 1.0, 1.0
    for _ in range(steps):
        value *= 1 + rate / np.sqrt(moment)
        moment += gain * (mean**2 * value**2 - moment)
    return value


def test_golden_value_of_a_linear_critic():
    """X = ln 1.02, w = .001, 20 steps, ρ = 1: .00063, computed once with the recursion."""
    real = 20 * np.log(1.02) - np.log(weight(0.02, 1e-3, 1.0, 20))
    assert real == pytest.approx(0.00063, abs=5e-6)
    # The estimate is an integral over 20 steps: a fortieth too large.
    assert cost(np.log(1.02), 1e-3, 1.0, 20) == pytest.approx(real, rel=0.03)


@pytest.mark.claim("ADAM-FREEZE")
@pytest.mark.parametrize("mean", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("horizon", [20, 60])
def test_cost_of_freezing_against_the_recursion(mean, horizon):
    rate, gain = 0.01, 1e-4
    real = horizon * rate - true_growth(rate, gain, mean, horizon)
    # A step of 1 in an integral over 20 or more, and second order in w: a tenth.
    assert real == pytest.approx(cost(rate, gain, mean, horizon), rel=0.1, abs=2e-6)


@pytest.mark.claim("ADAM-FREEZE-MEMORY")
def test_early_in_training_the_cost_is_not_that_of_the_memory():
    """β₂ = .999 at t = 20: w is 1/21, fifty times 1-β₂, and so is the cost."""
    gain = float(frozen.gain(sp.Integer(20), sp.Rational(999, 1000)))
    assert gain == pytest.approx(1 / 21, rel=0.02)
    assert cost(0.02, gain, 1.5, 20) > 40 * cost(0.02, 1e-3, 1.5, 20)


@pytest.mark.claim("ADAM-FREEZE")
def test_hand_over():
    """Steps of 1 + .02/√v̂, w = 1e-5, ρ² = .01, 600 of them: simulated 2,551, closed 2,543 or 2,531, frozen 1.4e5.

    The rate x is ln 1.02. The golden 2,543 takes x = .02 in q, which to first order is the same.
    """
    gain, mean = 1e-5, 0.1
    at = {frozen.RATE: np.log(1.02), frozen.GAIN: gain, frozen.MEAN: mean}
    closed = {}
    for name, q in (("golden", gain * mean**2 / 0.08), ("exact", frozen.HAND_OVER.subs(at))):
        steps = sp.lambdify(frozen.GROWN, frozen.steps_to(q=q).subs(at))
        low, high = 0.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if steps(middle) < 600 else (low, middle)
        closed[name] = np.exp(low)
    real = weight(0.02, gain, mean, 600)
    assert real == pytest.approx(2551, abs=0.5)
    assert closed["golden"] == pytest.approx(2543, abs=0.5)
    assert closed["exact"] == pytest.approx(real, rel=0.01)
    assert pytest.approx(1.4e5, rel=0.05) == 1.02**600


def powers(depth: int, memory: float, start: float) -> list[float]:
    """Local exponents of Q = a^L by t, a ← a + lr·g/√v̂, g = a^(2L-1), at growing times since take-off."""
    size, total, logs = start, 1.0, []
    times = (2_000, 4_000, 8_000, 16_000)
    for number in range(1, times[-1] + 1):
        slope = size ** (2 * depth - 1)
        total = total + memory * slope**2
        size += 1e-3 * slope / np.sqrt(total)
        if number in times:
            logs.append(depth * np.log(size))
    return list(np.diff(logs) / np.log(2))


@pytest.mark.claim("ADAM-LATE-TAKE-OFF")
@pytest.mark.parametrize("depth", [2, 3])
def test_a_late_take_off_grows_as_the_half_power_first(depth):
    """The moment is the sum w∫g², nothing forgotten yet: t^(L/2), where Adam's law says t^L."""
    exponents = powers(depth, memory=1e-4, start=1.0)
    assert exponents[-1] == pytest.approx(depth / 2, rel=0.05)
    assert max(exponents) < 0.75 * depth


@pytest.mark.claim("ADAM-LATE-TAKE-OFF")
def test_an_early_take_off_has_the_full_power_at_once():
    size, squares, depth, logs = 1.0, 0.0, 3, []
    for number in range(1, 16_001):
        slope = size ** (2 * depth - 1)
        squares += slope**2
        size += 1e-2 * slope / np.sqrt(squares / number)
        if number in (8_000, 16_000):
            logs.append(depth * np.log(size))
    assert (logs[1] - logs[0]) / np.log(2) == pytest.approx(depth, rel=0.02)


def test_ratio_of_a_growing_gradient():
    """Golden values of (β₁, β₂) = (.9, .999): R(.01) = 4.184, largest 7.270."""
    ratio = sp.lambdify(frozen.MU, frozen.steady_ratio().subs({frozen.BETA_1: 0.9, frozen.BETA_2: 0.999}))
    assert ratio(0.01) == pytest.approx(4.184, abs=5e-4)
    assert max(ratio(mu) for mu in np.geomspace(1e-4, 5, 4001)) == pytest.approx(7.270, abs=5e-4)
    first = second = 0.0
    for number in range(3000):
        slope = np.exp(0.01 * (number - 3000))
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
    assert first / np.sqrt(second) == pytest.approx(ratio(0.01), rel=1e-9)
