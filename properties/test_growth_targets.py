"""EMA targets: mode rates in exact rational arithmetic, one step of the parameters, and the caught-up recursion.

Hypotheses: a linearised critic for the modes; for the growth rate the ray once the critic has caught up, a = ρb.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, target
from hypothesis import strategies as st

from properties.strategies.networks import powers_of_two
from seem.growth import EMALaw

depths = st.integers(1, 6)
target_rates = st.floats(1e-6, 1.0)
grams = st.floats(1e-6, 2.0)
shares = st.floats(0.01, 100.0)


@given(depth=depths, tau=target_rates, ratio=st.floats(0.01, 10.0))
def test_growth_rate_is_that_of_the_target_step(depth, tau, ratio):
    """The target moves to b + τ(ρb - b), and Q with its L-th power."""
    moved = 1 + tau * (ratio - 1)
    rate = EMALaw(depth, tau).growth_rate(ratio**depth)
    # The root and the logarithm's argument round to 2^-52 of 1.
    assert rate == pytest.approx(math.log(moved**depth), abs=depth * 8 * 2**-52 * max(ratio, 1 / moved), rel=1e-13)
    # ln(1 + y) ≤ y: a whole step grows less than continuous time says, and they join for small τ.
    assert rate <= depth * tau * (ratio - 1) + 1e-14 * depth * ratio
    assert rate >= depth * tau * (ratio - 1) / moved - 1e-14 * depth * ratio / moved


@given(depth=depths, ratio=st.floats(0.01, 100.0))
def test_a_copied_target_multiplies_q_by_the_ratio(depth, ratio):
    assert EMALaw(depth, 1.0).growth_rate(ratio) == pytest.approx(math.log(ratio), rel=1e-12, abs=1e-14 * depth)


@given(depth=depths, tau=target_rates, more=st.floats(0.01, 1.0))
def test_growth_has_the_sign_of_the_ratio_less_one_and_rises_with_both_rates(depth, tau, more):
    law = EMALaw(depth, tau)
    assert law.growth_rate(1.0) == 0
    assert law.growth_rate(1 / (1 + more)) < 0 < law.growth_rate(1 + more) < law.growth_rate(1 + 2 * more)
    assert EMALaw(depth, tau / 2).growth_rate(1 + more) < law.growth_rate(1 + more)
    assert EMALaw(depth, 0.5).growth_rate(0.0) == pytest.approx(depth * math.log(0.5))


@given(tau=target_rates, gram=grams, share=shares)
def test_mode_rate_is_the_larger_root(tau, gram, share):
    """(μ + ηg)(μ + τ) = ητg* in exact rational arithmetic: the sign changes around the float."""
    bootstrap = share * gram
    rate = EMALaw(1, tau).mode_rate(bootstrap, gram)

    def excess(mu: Fraction) -> Fraction:
        return (mu + Fraction(gram)) * (mu + Fraction(tau)) - Fraction(tau) * Fraction(bootstrap)

    # g* - g rounds by 2^-52·g*, which the root takes over at τ/(2·half); relative to μ where it does not cancel.
    slack = Fraction(abs(rate)) / 2**44 + Fraction(tau * max(gram, bootstrap) / (tau + gram)) / 2**48
    assert excess(Fraction(rate) - slack) < 0 < excess(Fraction(rate) + slack)
    # The sum of the roots is -(τ + ηg): the larger one lies above its half.
    assert 2 * rate > -(tau + gram)


@pytest.mark.claim("EMA-REAL")
@given(tau=target_rates, gram=grams, share=shares)
def test_a_slow_target_slows_a_mode_and_keeps_its_sign(tau, gram, share):
    bootstrap = share * gram
    rate, copied = EMALaw(1, tau).mode_rate(bootstrap, gram), bootstrap - gram
    assert math.copysign(1, rate) == math.copysign(1, copied) or rate == copied == 0
    # The largest growth is τ(g*/g - 1), that of a caught-up critic; a growing mode is slower than either.
    assert rate < copied or copied <= 0
    assert rate <= tau * (share - 1) * (1 + 1e-12) or copied <= 0
    assert rate > -min(tau, gram)
    target(rate / max(copied, 1e-9))


@given(tau=target_rates, gram=grams, share=shares, factor=powers_of_two(-8, 0))
# Found among ten thousand: libm's x², unlike x·x, is not always rounded correctly.
@example(tau=0.49590384952363903, gram=1e-06, share=37.5, factor=0.5)
def test_mode_rates_have_one_unit_of_time(tau, gram, share, factor):
    slower = EMALaw(1, tau * factor).mode_rate(share * gram * factor, gram * factor)
    assert slower == EMALaw(1, tau).mode_rate(share * gram, gram) * factor


@given(tau=target_rates, factor=st.floats(2.0, 100.0))
def test_without_bootstrap_a_mode_decays_at_the_slower_of_both_rates(tau, factor):
    law = EMALaw(1, tau)
    # A double root, where rounding decides its digits, is left out by the factor.
    for gram in (tau * factor, tau / factor):
        assert law.mode_rate(0.0, gram) == pytest.approx(-min(tau, gram), rel=1e-13)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3), tau=target_rates)
def test_transition_is_one_step_of_the_parameters(seed, rows, tau):
    """A critic step θ ← θ - ηΦᵀu, then the target's, seen in u = Φθ - Φ*θ⁻ and w = Φ*(θ - θ⁻)."""
    rng, eta = np.random.default_rng(seed), 0.1
    features, following = rng.normal(size=(2, rows, 4))
    critic, slow = rng.normal(size=(2, 4))

    def observed() -> np.ndarray:
        return np.concatenate((features @ critic - following @ slow, following @ (critic - slow)))

    transition = EMALaw(1, tau).transition(eta * features @ features.T, eta * following @ features.T)
    expected = transition @ observed()
    critic = critic - eta * features.T @ (features @ critic - following @ slow)
    slow = slow + tau * (critic - slow)
    # A few dozen products of size one.
    np.testing.assert_allclose(observed(), expected, atol=1e-12, rtol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3))
def test_a_copied_target_has_no_lag(seed, rows):
    gram, bootstrap = np.random.default_rng(seed).normal(size=(2, rows, rows))
    transition = EMALaw(1, 1.0).transition(gram.tolist(), bootstrap.tolist())
    assert np.array_equal(transition[:rows, :rows], np.eye(rows) - gram + bootstrap)
    assert not transition[rows:].any()
    assert transition.dtype == np.float64


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3), tau=target_rates)
def test_single_precision_kernels_are_stepped_in_double(seed, rows, tau):
    blocks = np.random.default_rng(seed).normal(size=(2, rows, rows)).astype(np.float32)
    law = EMALaw(1, tau)
    assert np.array_equal(law.transition(*blocks), law.transition(*blocks.tolist()))


@given(tau=st.floats(0.05, 1.0), gram=st.floats(0.05, 1.0), share=st.floats(0.1, 10.0), exponent=st.integers(10, 20))
def test_small_whole_steps_join_continuous_time(tau, gram, share, exponent):
    """All rates times h: the transition's spectral radius is 1 + hμ + O(h²)."""
    step = 2.0**-exponent
    bootstrap = share * gram
    transition = EMALaw(1, tau * step).transition([[gram * step]], [[bootstrap * step]])
    growth = np.abs(np.linalg.eigvals(transition)).max() - 1
    # h²τηg* at most, over the distance of the roots; 1e-15 is rounding of the radius, with room for a double root.
    distance = math.sqrt((tau - gram) ** 2 + 4 * tau * bootstrap)
    slack = 4 * step * (1 + bootstrap) ** 2 / distance + 1e-13 / step
    assert growth / step == pytest.approx(EMALaw(1, tau).mode_rate(bootstrap, gram), abs=slack)
