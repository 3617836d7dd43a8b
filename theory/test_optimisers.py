"""Momentum, clipping, Huber, weight decay and schedules: every step, mutants, seem's laws, scalar recursions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from seem.errors import InputError
from seem.growth import ClippingLaw, DecayingStepLaw, HuberLaw, MomentumLaw, SGDLaw, SignLaw, WeightDecayLaw
from theory import adam_growth, decay_laws, optimisers
from theory.derivation import assert_step
from theory.self_similar_ray import DEPTH_LESS_ONE
from theory.sgd_growth import EXPONENT, RATE

STEPS = [step for derivation in optimisers.DERIVATIONS + decay_laws.DERIVATIONS for step in derivation.steps]
MODES, RAY, CLIPPING, HUBER = optimisers.DERIVATIONS
DECAY, SCHEDULE = decay_laws.DERIVATIONS
DEPTHS = (2, 3, 5)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


MUTANTS = {
    "momentum does nothing": replace(MODES["slow-mode"], right=sp.Integer(1)),
    "inertia keeps the order": replace(RAY["inertial-exponent"], right=sp.Integer(2)),
    "no lag of momentum": replace(RAY["lag"], right=RAY["lag"].right.subs(optimisers.FRICTION, 1)),
    "Huber keeps the order": replace(HUBER["deep-exponent"], left=HUBER["deep-exponent"].left ** 2),
    "decay moves the threshold twice": replace(DECAY["critical"], left=2 * DECAY["critical"].left),
    "any schedule crashes": replace(SCHEDULE["limit-2"], left=2 * decay_laws.TIMESCALE, shown=None),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


@pytest.mark.claim("MOMENTUM")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_momentum_law(depth, beta):
    law, rate = MomentumLaw(depth, beta), 1e-4
    at = {DEPTH_LESS_ONE: depth - 1, optimisers.FRICTION: sp.Rational(1) - sp.Rational(str(beta)), RATE: rate}
    assert law.exponent == pytest.approx(float(EXPONENT.subs(at)))
    assert law.inertial_exponent == law.exponent / 2
    assert law.steps_to_blow_up(rate) == pytest.approx(float(optimisers.momentum_crash().subs(at)), rel=1e-12)
    assert law.growth_rate(rate) == pytest.approx(float(optimisers.mode_growth().subs(at)), rel=1e-9)
    assert law.inertial_rate == pytest.approx(float(optimisers.inertial_rate().subs(at)), rel=1e-12)
    expected = float((optimisers.lag_weight() * sp.log(optimisers.inertial_rate() / RATE)).subs(at))
    assert law.lag(rate) == pytest.approx(expected, rel=1e-12)


def test_momentum_law_without_momentum_is_the_sgd_law():
    assert MomentumLaw(3, 0.0).steps_to_blow_up(0.01) == SGDLaw(3).steps_to_blow_up(0.01)
    assert MomentumLaw(3, 0.0).growth_rate(0.01) == pytest.approx(0.01, rel=1e-12)
    assert MomentumLaw(1, 0.9).growth_rate(5.0) == pytest.approx(max(np.roots([1, -6.9, 0.9])) - 1)


def momentum_run(depth: int, beta: float, rate: float) -> np.ndarray:
    """Scale of the parameters under heavy-ball descent on the ray, up to 1e30."""
    before = scale = 1.0
    path = [scale]
    while scale < 1e30:
        before, scale = scale, scale + beta * (scale - before) + rate / depth * scale ** (2 * depth - 1)
        path.append(scale)
    return np.array(path)


@pytest.mark.claim("MOMENTUM")
@pytest.mark.parametrize("depth", [2, 3])
def test_momentum_recursion_crashes_when_the_law_says(depth):
    law, rate = MomentumLaw(depth, 0.9), 1e-5
    steps = len(momentum_run(depth, 0.9, rate)) - 1
    # The start from rest and the inertial end are some 1/(1-β) steps each.
    assert steps == pytest.approx(law.steps_to_blow_up(rate) + law.lag(rate), abs=30)
    assert steps > law.steps_to_blow_up(rate) + 30, "the lag is needed"


@pytest.mark.claim("MOMENTUM-ORDER")
@pytest.mark.parametrize("depth", [2, 3])
def test_momentum_recursion_turns_inertial(depth):
    law = MomentumLaw(depth, 0.999)
    scale = momentum_run(depth, 0.999, 1e-6)
    x = 1e-6 * scale[:-1] ** (2 * depth - 2)
    window = (x > 100 * law.inertial_rate) & (x < 1e-2)
    growth = np.diff(scale)[window] / scale[:-1][window]
    slope = np.polyfit(depth * np.log(scale[:-1][window]), np.log(growth), 1)[0]
    # Friction is still a few per cent of inertia in the window.
    assert slope == pytest.approx(law.inertial_exponent, rel=0.1)


@pytest.mark.claim("HUBER")
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_huber_law(depth):
    law = HuberLaw(depth)
    assert law.exponent == pytest.approx((depth - 2) / depth)
    scale, path = 1.0, []
    for _ in range(2000):
        path.append(scale)
        scale += 1e-4 * scale ** (depth - 1)
    line = law.linearise(np.array(path) ** depth)
    assert np.polyfit(np.arange(2000), line, 1, full=True)[1][0] < 1e-3 * np.ptp(line) ** 2
    if depth > 2:
        # The reading r = L·1e-4 is growth of ln Q per step; the derived crash is L/((L-2)r).
        assert law.steps_to_blow_up(depth * 1e-4) == pytest.approx(1 / ((depth - 2) * 1e-4))
    else:
        assert law.steps_to_blow_up(1.0) == math.inf


@pytest.mark.claim("WEIGHT-DECAY")
@pytest.mark.parametrize("depth", DEPTHS)
def test_weight_decay_law(depth):
    law = WeightDecayLaw(depth, 0.004)
    at = {DEPTH_LESS_ONE: depth - 1, decay_laws.DECAY: sp.Rational(1, 250)}
    assert law.critical_rate == pytest.approx(float(decay_laws.critical_rate().subs(at)))
    rate = 1.3 * law.critical_rate
    assert law.steps_to_blow_up(rate) == pytest.approx(float(decay_laws.decay_crash().subs(at).subs(RATE, rate)))
    assert law.steps_to_blow_up(law.critical_rate) == math.inf
    assert WeightDecayLaw(depth, 0.0).steps_to_blow_up(0.1) == SGDLaw(depth).steps_to_blow_up(0.1)


@pytest.mark.claim("SCHEDULE")
@pytest.mark.parametrize("slowing", [0.0, 0.5, 1.0, 2.0])
def test_schedule_law(slowing):
    law = DecayingStepLaw(3, slowing, 50.0)
    at = {
        decay_laws.TIMESCALE: 50,
        decay_laws.TIME: 30,
        decay_laws.NEEDED: 40,
        decay_laws.SLOWING: sp.Rational(str(slowing)),
    }
    rate = 1 / (SGDLaw(3).exponent * 40)
    if slowing == 1:
        assert float(law.effective_steps([30.0])[0]) == pytest.approx(50 * math.log(1.6))
    else:
        assert float(law.effective_steps([30.0])[0]) == pytest.approx(float(decay_laws.effective().subs(at)))
        assert law.steps_to_blow_up(rate) == pytest.approx(float(decay_laws.needed_steps().subs(at)))
    reached = law.effective_steps([law.steps_to_blow_up(rate)])
    assert float(reached[0]) == pytest.approx(40)


@pytest.mark.claim("SCHEDULE")
def test_schedule_without_budget_never_crashes():
    law = DecayingStepLaw(2, 2.0, 50.0)
    assert law.steps_to_blow_up(1 / 49.9) < math.inf
    assert law.steps_to_blow_up(1 / 50.1) == math.inf
    assert DecayingStepLaw(1, 0.5, 50.0).steps_to_blow_up(0.1) == math.inf


@pytest.mark.claim("LION")
def test_norm_slopes():
    assert ClippingLaw(3, 5.0).norm_slope(0.1) == pytest.approx(0.5)
    assert SignLaw(2).norm_slope(0.1, 4) == pytest.approx(0.2)
    assert SignLaw(2).largest_norm(4) == math.inf
    derived = adam_growth.DERIVATIONS[-1]["saturation"].left
    (size,) = derived.free_symbols - {adam_growth.DECAY}
    assert SignLaw(2, 0.25).largest_norm(9) == pytest.approx(float(derived.subs({size: 3, adam_growth.DECAY: 0.25})))


@pytest.mark.claim("ADAMW")
@pytest.mark.parametrize("depth", [2, 3])
def test_adamw_rests_or_collapses_as_its_steadiness_says(depth):
    """AdamW's scalar model from its rest point, moved by one per cent."""
    for beta2, rests in ((0.9, True), (0.9995, False)):
        law, lr = SignLaw(depth, 1.0), 2e-3
        assert law.decay_is_steady(lr, beta2) == rests
        scale, second, sizes = 0.99, 1.0, []
        for _ in range(20_000):
            gradient = max(scale, 0.0) ** (2 * depth - 1)
            second = beta2 * second + (1 - beta2) * gradient**2
            scale += lr * (gradient / math.sqrt(second) - scale)
            sizes.append(scale)
        assert (abs(sizes[-1] - 1) < 1e-3) == rests


BAD = [
    (MomentumLaw, (2, 1.0)),
    (MomentumLaw, (0, 0.5)),
    (ClippingLaw, (2, -1.0)),
    (HuberLaw, (0,)),
    (WeightDecayLaw, (2, math.nan)),
    (DecayingStepLaw, (2, -1.0, 10.0)),
    (DecayingStepLaw, (2, 1.0, 0.0)),
    (SignLaw, (2, math.inf)),
]


@pytest.mark.parametrize(("law", "arguments"), BAD, ids=str)
def test_bad_input(law, arguments):
    with pytest.raises(InputError, match="impossible"):
        law(*arguments)
