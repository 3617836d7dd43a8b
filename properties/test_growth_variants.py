"""Momentum, signs, Huber loss, weight decay and decaying steps against recursions and quadratures of the flow.

Hypotheses: the self-similar ray; the laws that end in finite time are of continuous time.
"""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import event, given, target
from hypothesis import strategies as st

from seem.growth import AdamLaw, DecayingStepLaw, HuberLaw, MomentumLaw, SGDLaw, SignLaw, WeightDecayLaw

depths = st.integers(1, 6)
several = st.integers(2, 6)
rates = st.floats(1e-6, 10.0)
momenta = st.floats(0.0, 0.99)
NODES, WEIGHTS = (half / 2 for half in np.polynomial.legendre.leggauss(40))
NODES = NODES + 0.5
"""Gauss-Legendre rule on [0, 1]: 40 nodes are exact to 1e-12 for poles further than a tenth outside."""


def flow_time(depth: int, rate: float, *, decay: float = 0.0, power: int | None = None) -> float:
    """Time to infinity of a ← a + ȧ with ȧ/a = (x/L)(a/a₀)^m - w, by quadrature in v = (a₀/a)^m.

    From dv/dt = -m v (x/(Lv) - w) = -m (x/L - wv): no closed form is used.
    """
    power = 2 * depth - 2 if power is None else power
    return float(WEIGHTS @ (1 / (power * (rate / depth - decay * NODES))))


@given(depth=several, rate=rates)
def test_blow_up_is_the_time_of_the_flow(depth, rate):
    # 1e-12: rounding of 40 weights.
    assert SGDLaw(depth).steps_to_blow_up(rate) == pytest.approx(flow_time(depth, rate), rel=1e-12)
    if depth > 2:
        huber = flow_time(depth, rate, power=depth - 2)
        assert HuberLaw(depth).steps_to_blow_up(rate) == pytest.approx(huber, rel=1e-12)


@pytest.mark.claim("WEIGHT-DECAY")
@given(depth=several, rate=rates, share=st.just(0.0) | st.floats(1e-12, 0.9))
def test_weight_decay_delays_as_its_flow_does(depth, rate, share):
    """Up to nine tenths of the critical rate Lw; with decay a step is later than without."""
    decay = share * min(rate / depth, 0.9)
    law = WeightDecayLaw(depth, decay)
    steps = law.steps_to_blow_up(rate)
    assert steps == pytest.approx(flow_time(depth, rate, decay=decay), rel=1e-11)
    assert steps >= SGDLaw(depth).steps_to_blow_up(rate) * (1 - 1e-15)  # rounding
    target(share)


@pytest.mark.claim("WEIGHT-DECAY")
@given(depth=several, decay=st.floats(1e-6, 0.1), excess=st.floats(1e-9, 10.0))
def test_the_critical_rate_parts_growth_from_decay(depth, decay, excess):
    """One step multiplies the parameters by 1 - w + x/L: it grows above x = Lw and shrinks below."""
    law = WeightDecayLaw(depth, decay)
    for rate, grows in ((depth * decay * (1 + excess), True), (depth * decay / (1 + excess), False)):
        assert (Fraction(rate) / depth > Fraction(decay)) == grows
        assert (rate > law.critical_rate) == grows
        assert math.isfinite(law.steps_to_blow_up(rate)) == grows


@given(depth=several, decay=st.floats(0.0, 0.5))
def test_no_crash_up_to_the_critical_rate(depth, decay):
    law = WeightDecayLaw(depth, decay)
    for rate in (law.critical_rate, law.critical_rate / 2, 0.0, -1.0, math.nan):
        assert law.steps_to_blow_up(rate) == math.inf
    assert WeightDecayLaw(1, decay).steps_to_blow_up(10.0) == math.inf


@given(depth=several, rate=rates)
def test_laws_without_their_variation_are_gradient_descent(depth, rate):
    plain = SGDLaw(depth).steps_to_blow_up(rate)
    assert MomentumLaw(depth, 0.0).steps_to_blow_up(rate) == plain
    assert WeightDecayLaw(depth, 0.0).steps_to_blow_up(rate) == plain
    # t₀(1 + T/t₀) - t₀ and back: rounding of t₀ itself.
    assert DecayingStepLaw(depth, 0.0, 8.0).steps_to_blow_up(rate) == pytest.approx(plain, rel=1e-14, abs=1e-13)
    assert MomentumLaw(depth, 0.0).growth_rate(rate) == pytest.approx(rate, rel=1e-15)


@given(rate=st.floats(1e-200, 10.0), beta=momenta)
def test_a_frozen_mode_grows_as_heavy_ball_does(rate, beta):
    """θ_{t+1} = θ_t + β(θ_t - θ_{t-1}) + xθ_t at θ_t = z^t, z = 1 + y: y² + (1-β-x)y - x has one root above 0."""
    growth, friction, x = MomentumLaw(1, beta).growth_rate(rate), 1 - Fraction(beta), Fraction(rate)
    # In exact rational arithmetic: the root lies within 2^-44 of the float; 1 - β ≥ .01 loses seven bits of 53.
    low, high = (Fraction(growth) * (1 + Fraction(side, 2**44)) for side in (-1, 1))
    assert low**2 + (friction - x) * low - x < 0 < high**2 + (friction - x) * high - x
    event(f"mode faster than the memory: {rate > 1 - beta}")


@given(rate=rates, beta=momenta, faster=st.floats(1.001, 10.0))
def test_a_frozen_mode_grows_faster_with_rate_and_slower_than_the_larger_step(rate, beta, faster):
    law = MomentumLaw(1, beta)
    assert law.growth_rate(rate * faster) > law.growth_rate(rate)
    # Second order: -βx²/(1-β)³; never above x/(1-β), with which the mode joins for small x.
    slow = rate / (1 - beta)
    assert slow * (1 - beta * rate / (1 - beta) ** 2) * (1 - 1e-14) <= law.growth_rate(rate) <= slow * (1 + 1e-14)


@given(depth=several, beta=momenta, rate=rates)
def test_momentum_shortens_the_time_by_its_memory(depth, beta, rate):
    # 1 - β is rounded to 15 digits, at 1 - β ≥ .01.
    expected = (1 - beta) * SGDLaw(depth).steps_to_blow_up(rate)
    assert MomentumLaw(depth, beta).steps_to_blow_up(rate) == pytest.approx(expected, rel=1e-12)


@given(depth=several, beta=momenta)
def test_inertia_equals_friction_at_the_inertial_rate(depth, beta):
    """(1-β)ȧ against (1+β)/2·ä along the slow flow ȧ = ya/(1-β), y = x/L ∝ a^(2L-2)."""
    law = MomentumLaw(depth, beta)
    y = law.inertial_rate / depth
    speed = y / (1 - beta)
    acceleration = (2 * depth - 1) * speed**2
    assert (1 + beta) / 2 * acceleration == pytest.approx((1 - beta) * speed, rel=1e-13)
    # Beyond it, and on the edge, no lag is counted.
    assert law.lag(law.inertial_rate) == law.lag(2 * law.inertial_rate) == law.lag(0.0) == law.lag(-1.0) == 0
    assert MomentumLaw(1, beta).lag(1e-9) == 0
    assert law.lag(math.nextafter(law.inertial_rate, 0.0)) == pytest.approx(0.0, abs=1e-10)


@given(depth=several, beta=momenta, start=st.floats(1e-3, 1e3))
def test_inertia_carries_the_parameters_along_its_own_line(depth, beta, start):
    """ä ∝ a^(2L-1) is solved by a = s^(-1/(L-1)): there Q^(-p/2) is the time left."""
    law, left = MomentumLaw(depth, beta), np.linspace(1.0, 0.05, 20)
    scale = start * left ** (-1 / (depth - 1))
    np.testing.assert_allclose(scale ** (-depth * law.inertial_exponent) * start ** (depth - 1), left, rtol=1e-13)


@given(depth=several, power=st.just(1.0) | st.floats(0.0, 0.99) | st.floats(1.01, 4.0), share=st.floats(0.01, 10.0))
def test_effective_time_is_the_integral_of_the_schedule(depth, power, share):
    law = DecayingStepLaw(depth, power, 40.0)
    steps = 40.0 * share
    integral = steps * float(WEIGHTS @ (1 + share * NODES) ** -power)
    # 1e-11: the rule itself, at a pole of a tenth; 1e-13 is rounding of the difference of powers by 1 - α ≥ .01.
    assert float(law.effective_steps(steps)) == pytest.approx(integral, rel=1e-11)
    # Steps of size (1 + t/t₀)^-α sum to more than the integral, by less than the first of them.
    whole = math.ceil(steps)
    total = sum((1 + t / 40.0) ** -power for t in range(whole))
    assert 0 <= total - float(law.effective_steps(whole)) + 1e-9 <= 1 + 2e-9


@pytest.mark.claim("SCHEDULE")
@given(
    depth=several,
    power=st.just(1.0) | st.floats(0.0, 0.9) | st.floats(1.1, 4.0),
    timescale=st.floats(1.0, 1e3),
    share=st.floats(0.01, 10.0),
)
def test_the_crash_comes_when_the_effective_time_suffices(depth, power, timescale, share):
    law, needed = DecayingStepLaw(depth, power, timescale), share * timescale
    rate = 1 / (SGDLaw(depth).exponent * needed)
    steps = law.steps_to_blow_up(rate)
    budget = timescale / (power - 1) if power > 1 else math.inf
    if math.isinf(steps):
        # Within rounding of the budget either answer is right.
        assert needed >= budget * (1 - 1e-12)
    else:
        assert needed <= budget * (1 + 1e-12)
        # The inverse of a time close to its budget loses digits by their ratio.
        slack = 1e-11 / (1 - min(needed / budget, 1 - 1e-9))
        assert float(law.effective_steps(steps)) == pytest.approx(needed, rel=slack)
        assert steps >= SGDLaw(depth).steps_to_blow_up(rate) * (1 - 1e-12)
    event(f"crashes: {math.isfinite(steps)}, α {'=' if power == 1 else '<' if power < 1 else '>'} 1")


@given(depth=several, timescale=st.floats(1.0, 1e3), share=st.floats(0.01, 5.0), side=st.sampled_from((-1e-6, 1e-6)))
def test_the_harmonic_schedule_joins_its_neighbours(depth, timescale, share, side):
    harmonic, neighbour = (DecayingStepLaw(depth, power, timescale) for power in (1.0, 1.0 + side))
    rate = 1 / (SGDLaw(depth).exponent * share * timescale)
    # ln t = share or less: the difference is of relative order share² times the side; rounding by 1/|1-α|.
    close = 20 * (1 + share) ** 2 * 1e-6
    assert neighbour.steps_to_blow_up(rate) == pytest.approx(harmonic.steps_to_blow_up(rate), rel=close)
    steps = share * timescale
    assert float(neighbour.effective_steps(steps)) == pytest.approx(float(harmonic.effective_steps(steps)), rel=close)


@given(depth=several, power=st.floats(0.0, 3.0), timescale=st.floats(0.1, 1e3))
def test_no_growth_has_no_crash(depth, power, timescale):
    for rate in (0.0, -1.0, math.nan):
        assert MomentumLaw(depth, 0.5).steps_to_blow_up(rate) == math.inf
        assert HuberLaw(depth).steps_to_blow_up(rate) == math.inf
        assert DecayingStepLaw(depth, power, timescale).steps_to_blow_up(rate) == math.inf
    assert DecayingStepLaw(1, power, timescale).steps_to_blow_up(1.0) == math.inf
    assert HuberLaw(1).steps_to_blow_up(1.0) == HuberLaw(2).steps_to_blow_up(1.0) == math.inf


@pytest.mark.claim("LION")
@given(depth=depths, lr=st.floats(1e-6, 1.0), parameters=st.integers(1, 10**6))
def test_signs_move_the_norm_by_the_root_of_their_number(depth, lr, parameters):
    moved = mpmath.sqrt(parameters * mpmath.mpf(lr) ** 2)
    # Two roundings.
    assert SignLaw(depth).norm_slope(lr, parameters) == pytest.approx(float(moved), rel=4 * 2**-52)
    assert AdamLaw(depth).norm_slope(lr, parameters) == SignLaw(depth).norm_slope(lr, parameters)


@pytest.mark.claim("LION-DECAY")
@given(decay=st.floats(1e-3, 10.0), parameters=st.integers(1, 100), lr=st.floats(1e-3, 0.1))
def test_decay_holds_signs_at_the_largest_norm(decay, parameters, lr):
    """Decoupled decay θ ← θ - lr·w·θ + lr·s: the norm of P equal weights rests at √P/w."""
    norm = SignLaw(2, decay).largest_norm(parameters)
    weights = np.full(parameters, norm / math.sqrt(parameters))
    moved = (1 - lr * decay) * weights + lr
    assert np.linalg.norm(moved) == pytest.approx(norm, rel=1e-14)
    assert SignLaw(2).largest_norm(parameters) == math.inf


@pytest.mark.claim("ADAMW")
@given(depth=several, product=st.floats(1e-4, 0.05), memory=st.floats(0.25, 4.0))
def test_adamw_is_steady_where_its_linearised_steps_contract(depth, product, memory):
    """Around the rest point: a ← a(1 + lr·w(a^k/√v - 1)), v ← β₂v + (1-β₂)a^(2k), k = 2L-1, a = 1.

    1 - β₂ is drawn as a multiple of its threshold lr·w·(2L-2).
    """
    beta2 = max(0.0, 1 - memory * product * (2 * depth - 2))
    power = 2 * depth - 1
    ratio = product * np.array([(power - 1) - (1 - beta2) * power, -beta2])
    steps = np.array([[1 + ratio[0], ratio[1]], [(1 - beta2) * power, beta2]])
    contracts = np.abs(np.linalg.eigvals(steps)).max() < 1
    lr = product / 0.5
    steady = SignLaw(depth, 0.5).decay_is_steady(lr, beta2)
    share = product * (2 * depth - 2)
    # The law is of continuous time: whole steps move its 1 - β₂ to (1 - β₂)/β₂, between which both may be right.
    between = 1 - beta2 <= share * (1 + 1e-9) and share * beta2 <= (1 - beta2) * (1 + 1e-9)
    assert between or steady == contracts, f"lr·w·(2L-2) = {share:g}, 1 - β₂ = {1 - beta2:g}"
    assert SignLaw(depth, 0.5).decay_is_steady(lr) == (share < 1)
