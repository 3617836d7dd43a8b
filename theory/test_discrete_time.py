"""Discrete time on the ray: every step, its mutants, seem's step counts, and a network past the threshold."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest

from seem.growth import SGDLaw
from theory import discrete_time as discrete
from theory.derivation import assert_step
from theory.self_similar_ray import DEPTH_LESS_ONE, L

STEPS = [step for derivation in discrete.DERIVATIONS for step in derivation.steps]
RECURSION, OVERSHOOT, CATAPULT = discrete.DERIVATIONS
DEPTHS = (2, 3, 5)


@pytest.mark.claim("SIGN-THRESHOLD")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


MUTANTS = {
    "a kernel of degree L": replace(RECURSION["recursion"], right=discrete.RATE * discrete.factor(discrete.RATE) ** L),
    "no weight on the logarithm": replace(RECURSION["lateness"], right=0 * discrete.RATE),
    "the catapult's threshold at 2": replace(CATAPULT["kernel"], right=CATAPULT["kernel"].right + 1),
    "a linear value": replace(CATAPULT["value"], right=CATAPULT["value"].right.subs(discrete.ETA, 0)),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


def steps_between(rate: float, largest: float, depth: int) -> tuple[int, mpmath.mpf]:
    """Steps of the exact recursion until x passes ``largest``, and the x then reached, in 30 digits."""
    with mpmath.workdps(30):
        x, steps = mpmath.mpf(rate), 0
        while x < largest:
            x *= (1 + x / depth) ** (2 * depth - 2)
            steps += 1
        return steps, x


@pytest.mark.claim("SGD-DISCRETE")
@pytest.mark.parametrize("depth", DEPTHS)
def test_count_against_the_exact_recursion(depth):
    """The error of the count is its second-order coefficient, summed: (largest - rate)/p at most."""
    at = {DEPTH_LESS_ONE: depth - 1}
    second = float(discrete.second_order_error().subs(at)) / SGDLaw(depth).exponent
    for rate in (3e-4, 1e-3):
        for largest in (2e-3, 1e-2):
            steps, reached = steps_between(rate, largest, depth)
            count = float(discrete.step_count(1 / rate, 1 / reached).subs(at))
            # The next order is ten times smaller at these rates.
            assert count - steps == pytest.approx(second * float(reached - rate), rel=0.1, abs=1e-9)


@pytest.mark.claim("SGD-DISCRETE")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("rate", [2e-4, 5e-3, 0.3])
def test_steps_to_overflow(depth, rate):
    """The package's count differs from the exact recursion by the whole step at the end only."""
    room = 300.0
    x, grown, steps = mpmath.mpf(rate), mpmath.mpf(0), 0
    while grown < room:
        factor = 1 + x / depth
        grown += depth * mpmath.log(factor)
        x *= factor ** (2 * depth - 2)
        steps += 1
    # SMALL_STEP is reached between two steps, which moves the last, doubly exponential steps by less than one.
    assert SGDLaw(depth).steps_to_overflow(rate, room) == pytest.approx(steps, abs=1 if rate < 1e-3 else 0)


@pytest.mark.parametrize("depth", DEPTHS)
def test_overflow_before_the_step_size_matters(depth):
    at = {DEPTH_LESS_ONE: depth - 1, discrete.RATE: 1e-9, discrete.ROOM: 2.0}
    assert SGDLaw(depth).steps_to_overflow(1e-9, 2.0) == pytest.approx(
        float(RECURSION["overflow-first"].right.subs(at))
    )


@pytest.mark.claim("SIGN-THRESHOLD")
@pytest.mark.parametrize("depth", DEPTHS)
def test_overshoot_threshold_of_the_package(depth):
    law = SGDLaw(depth)
    for rate in (-2.0 * depth, -3.0, -0.1, 0.0):
        assert law.steps_to_overflow(rate, 100.0) == math.inf
    assert 0 < law.steps_to_overflow(-2.0 * depth * 1.01, 100.0) < 1000


def regression(rate: float, depth: int, value: float = 1e-3, steps: int = 2000):
    """One row, one active path of each of two units, target 0, near f = 0 with kernel G = 1: |f| and ‖θ‖²."""
    rng = np.random.default_rng(0)
    layers = [np.eye(2) * 1.0 for _ in range(depth - 1)]
    head, x = np.array([1.0, -1.0 + value]), np.array([1.0, 1.0])
    layers = [layer + 0.01 * rng.normal(size=(2, 2)) for layer in layers]

    def gradients():
        inputs = [x]
        for layer in layers:
            inputs.append(layer @ inputs[-1])
        deltas, delta = [], head
        for layer, below in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            deltas.append(np.outer(delta, below))
            delta = layer.T @ delta
        return head @ inputs[-1], inputs[-1], deltas[::-1]

    _, top, deltas = gradients()
    eta = rate / (top @ top + sum((d**2).sum() for d in deltas))
    sizes, norms = [], []
    for _ in range(steps):
        f, top, deltas = gradients()
        sizes.append(abs(f))
        norms.append(head @ head + sum((layer**2).sum() for layer in layers))
        if abs(f) > 1e6:
            break
        head = head - eta * f * top
        layers = [layer - eta * f * d for layer, d in zip(layers, deltas, strict=True)]
    return np.array(sizes), np.array(norms)


@pytest.mark.parametrize("depth", [2, 3])
def test_catapult_below_the_threshold_and_blow_up_above(depth):
    """η·G between 2 and 2L: f grows first and recovers, ‖θ‖ falls; past 2L both grow at once."""
    sizes, norms = regression(2.5, depth)
    assert sizes.max() > 10 * sizes[0]
    assert sizes[-1] < sizes[0]
    assert norms[-1] < norms[0]
    sizes, norms = regression(2.2 * depth, depth)
    assert sizes[-1] > 1e6
    assert (np.diff(norms) > 0).all()
