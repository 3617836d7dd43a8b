"""Averaged targets under momentum: every step, golden values, and the iteration of a mode."""

import numpy as np
import pytest

from theory import averaged_target_modes as modes
from theory.derivation import assert_step

(DERIVATION,) = modes.DERIVATIONS


@pytest.mark.claim("ADAM-EMA-ZERO")
@pytest.mark.parametrize("step", DERIVATION.steps, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def iterated(beta: float, tau: float, rate: float, bootstrap: float, steps: int = 4000) -> float:
    """Growth per step of one mode of critic, momentum and target, rolled out."""
    state, logs = np.array([1.0, 0.3, -0.2]), 0.0
    for number in range(steps):
        critic, moment, target = state
        moment = beta * moment + (1 - beta) * (rate * critic - bootstrap * target)
        critic -= moment
        state = np.array([critic, moment, (1 - tau) * target + tau * critic])
        size = np.linalg.norm(state)
        state /= size
        logs += np.log(size) if number >= steps // 2 else 0.0
    return float(np.exp(logs / (steps - steps // 2)))


def radius(beta: float, tau: float, rate: float, bootstrap: float) -> float:
    """The largest root of the cubic."""
    a, b, c = 1.0, beta, 1 - tau
    cubic = np.poly([a, b, c]) - (1 - beta) * np.array([0, tau * bootstrap - rate, rate * (1 - tau), 0])
    return np.abs(np.roots(cubic)).max()


@pytest.mark.parametrize(
    ("beta", "tau", "rate", "bootstrap"),
    [(0.9, 0.005, 0.1, 0.12), (0.9, 0.5, 1, -1.6), (0, 0.1, 0.5, 0.7), (0.5, 1, 0.3, 0.5)],
)
def test_the_cubic_is_the_growth_of_the_iteration(beta, tau, rate, bootstrap):
    # A rotating mode's mean over 2,000 steps misses a share of one turn.
    assert iterated(beta, tau, rate, bootstrap) == pytest.approx(radius(beta, tau, rate, bootstrap), rel=1e-3)


def test_golden_values():
    """Computed once by direct iteration in float64."""
    assert radius(0.9, 0.005, 0.1, 0.12) == pytest.approx(1.00094877, abs=5e-9)
    at = {modes.BETA: 0.9, modes.TAU: 0.5, modes.RATE: 1}
    assert float(modes.resonance().subs(at)) == pytest.approx(-1.4444, abs=5e-5)


@pytest.mark.claim("ADAM-EMA-ZERO")
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.99])
@pytest.mark.parametrize("tau", [1.0, 0.1, 0.005])
def test_zero_and_overshoot_of_real_modes(beta, tau):
    for rate in (0.01, 0.5):
        assert radius(beta, tau, rate, 0.99 * rate) < 1 < radius(beta, tau, rate, 1.01 * rate)
    late = float(modes.overshoot().subs(modes.BETA, beta))
    # With x* = 0 the target plays no part.
    assert radius(beta, tau, 0.99 * late, 0) < 1 + 1e-12
    assert radius(beta, tau, 1.01 * late, 0) > 1


@pytest.mark.claim("MOMENTUM-RESONANCE")
@pytest.mark.parametrize(("beta", "tau", "rate"), [(0.9, 0.5, 1.0), (0.5, 0.2, 0.1), (0.99, 0.01, 2.0)])
def test_a_negative_bootstrap_resonates(beta, tau, rate):
    """λ < 0, the copied target and the target without momentum are stable; together they are not."""
    critical = float(modes.resonance().subs({modes.BETA: beta, modes.TAU: tau, modes.RATE: rate}))
    assert critical < 0
    beyond = 1.01 * critical
    assert radius(beta, tau, rate, 0.99 * critical) < 1 < radius(beta, tau, rate, beyond)
    assert radius(beta, 1.0, rate, beyond) < 1
