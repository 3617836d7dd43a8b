"""EMA targets: every step, its mutants, seem's law, and linear and scalar recursions run to their rates."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from seem.errors import InputError
from seem.growth import EMALaw
from theory import ema_targets as ema
from theory.derivation import assert_step
from theory.self_similar_ray import DEPTH_LESS_ONE, ETA

STEPS = [step for derivation in ema.DERIVATIONS for step in derivation.steps]
MODES, CROSSING, RAY = ema.DERIVATIONS


@pytest.mark.claim("EMA-REAL")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


MUTANTS = {
    "a bootstrap without lag": replace(MODES["mode"], right=ema.mode_matrix(sp.Integer(0)) * sp.Matrix([1, 1])),
    "complex crossings stay": replace(CROSSING["earlier"], right=0 * ema.TAU),
    "the rate contains η": replace(RAY["q-growth"], right=RAY["q-growth"].right * ETA),
    "a ratio without the root": replace(RAY["caught-up"], left=ema.flow(ema.RATIO**2 * ema.TARGET, ema.TARGET)),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


@pytest.mark.claim("EMA-EXPONENTIAL")
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_package_growth_rate(depth):
    at = {DEPTH_LESS_ONE: depth - 1, ema.TAU: sp.Rational(1, 50)}
    for ratio in (0.7, 1.0, 1.485):
        assert EMALaw(depth, 0.02).growth_rate(ratio) == pytest.approx(
            float(ema.growth_rate(ratio).subs(at)), abs=1e-15
        )


def test_package_mode_rate():
    for tau, gram, bootstrap in ((0.01, 0.3, 0.5), (0.5, 0.01, 0.02), (1.0, 0.2, 0.1)):
        exact = ema.mode_rate(sp.Float(gram, 40), sp.Float(bootstrap, 40)).subs(ema.TAU, sp.Float(tau, 40))
        rate = EMALaw(1, tau).mode_rate(bootstrap, gram)
        assert rate == pytest.approx(float(exact), rel=1e-12)
        assert math.copysign(1, rate) == math.copysign(1, bootstrap - gram)
        assert rate < max(bootstrap - gram, 0) or rate < 0


@pytest.mark.parametrize("tau", [0.0, -0.1, 1.5, math.nan])
def test_bad_target_rate(tau):
    with pytest.raises(InputError, match="up to 1"):
        EMALaw(2, tau)


def linear_run(features, bootstrap, eta, tau, steps):
    """‖u‖ of linear semi-gradient TD with an EMA target."""
    rng = np.random.default_rng(0)
    online = rng.normal(size=features.shape[1])
    target, sizes = rng.normal(size=features.shape[1]), []
    for _ in range(steps):
        error = features @ online - bootstrap @ target
        sizes.append(np.linalg.norm(error))
        online = online - eta * features.T @ error
        target = target + tau * (online - target)
    return np.array(sizes)


@pytest.mark.parametrize("tau", [1.0, 0.3, 0.02])
def test_transition_is_the_linear_iteration(tau):
    """The spectral radius of the package's transition is the growth of a run with P > M."""
    rng = np.random.default_rng(1)
    features, bootstrap, eta = rng.normal(size=(3, 5)), 1.6 * rng.normal(size=(3, 5)), 0.02
    transition = EMALaw(1, tau).transition(eta * features @ features.T, eta * bootstrap @ features.T)
    predicted = np.log(np.abs(np.linalg.eigvals(transition)).max())
    sizes = linear_run(features, bootstrap, eta, tau, 4000)
    measured = np.log(sizes[-1] / sizes[2000]) / 1999
    # A complex pair's size swings within its turn; 2000 steps average that to 1e-3.
    assert measured == pytest.approx(predicted, abs=2e-3)


@pytest.mark.claim("EMA-COMPLEX")
def test_a_complex_pair_needs_the_target_to_lag():
    """SEEM -0.5: stable when copied, unstable at τ = ηg, stable again at τ → 0."""
    angle, size, eta = 1.4, 2.97, 0.02
    bootstrap = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    radius = {}
    for tau in (1.0, eta, 1e-5):
        values = np.linalg.eigvals(EMALaw(1, tau).transition(eta * np.eye(2), eta * bootstrap))
        radius[tau] = np.abs(values).max()
    assert np.linalg.eigvals(bootstrap - np.eye(2)).real.max() == pytest.approx(size * math.cos(angle) - 1)
    assert size * math.cos(angle) - 1 < -0.4
    assert radius[1.0] < 1
    assert radius[eta] > 1
    assert radius[1e-5] < 1


@pytest.mark.claim("EMA-REAL")
def test_a_real_mode_keeps_its_threshold():
    for tau in (1.0, 0.1, 1e-3):
        for bootstrap, grows in ((1.01, True), (0.99, False)):
            values = np.linalg.eigvals(EMALaw(1, tau).transition([[0.02]], [[0.02 * bootstrap]]))
            assert (np.abs(values).max() > 1 + 1e-12) == grows


@pytest.mark.claim("EMA-EXPONENTIAL")
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("eta", [2e-4, 1.6e-3])
def test_scalar_ray_goes_from_blow_up_to_exponential(depth, eta):
    """The discrete scalar model: the SGD law first, then a rate that does not contain η."""
    tau, ratio = 0.01, 1.5
    critic = target = 1.0
    rates, stiff = [], []
    for _ in range(20_000):
        pull = eta * critic ** (depth - 1) * (ratio * target**depth - critic**depth)
        rates.append(depth * math.log1p(pull / critic))
        stiff.append(eta * depth * critic ** (2 * depth - 2))
        critic += pull
        target += tau * (critic - target)
        if stiff[-1] > 1.5:
            break
    law = EMALaw(depth, tau)
    # Corrections are of order τ/(ηλ_max(G)): a few per cent here.
    assert rates[-1] == pytest.approx(law.growth_rate(ratio), rel=0.03)
    assert rates[0] == pytest.approx(depth * eta * (ratio - 1), rel=1e-3), "the SGD law at the start"
