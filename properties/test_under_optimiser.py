"""The linearised step of any optimiser: its reduction to the rows, its radius, and the sign that decides.

Hypotheses: the critic is linear in its parameters; D, the policy and the minimum of the targets stay.
"""

import math

import numpy as np
from hypothesis import assume, event, given
from hypothesis import strategies as st

from properties.margins import target_share
from properties.strategies.optimiser_steps import StepCase, steps
from seem.calibration import Kind
from seem.lookahead import accelerated
from seem.modes import growth_at

STEPS = 15
ROUNDING = 1e-10
"""Fifteen steps of sums of a dozen products, each rounded at 1e-16, of modes that grow less than threefold a step."""


@given(case=steps())
def test_the_roll_out_by_rows_is_that_of_all_parameters(case: StepCase):
    drawn = case.draw()
    real = drawn.path(STEPS)
    gap = np.abs(drawn.reduced().path(STEPS) - real).max() / max(np.abs(real).max(), 1e-300)
    target_share(gap / ROUNDING, "gap / bound")
    assert gap <= ROUNDING, f"the roll-outs differ by {gap:.3g} of the largest u"


@given(case=steps(linear=True), exponent=st.integers(-20, 20))
def test_the_roll_out_is_homogeneous(case: StepCase, exponent: int):
    """Without clipping and knee; by a power of two to the last bit."""
    drawn, times = case.draw(), 2.0**exponent
    assert np.array_equal(times * drawn.reduced().path(STEPS), drawn.reduced(times).path(STEPS))


@given(case=steps(linear=True, interval=1))
def test_the_radius_is_that_of_the_whole_map_wherever_something_grows(case: StepCase):
    drawn = case.draw()
    step, whole = drawn.reduced(), np.abs(np.linalg.eigvals(drawn.full_matrix())).max()
    assume(step.mode is not None)
    event("grows" if step.growing else "does not")
    # 1e-6: the eigenvalue 1 of the whole map is defective up to the square root of rounding.
    if step.growing:
        assert math.isclose(step.radius, max(whole, step.radius if step.radius < 1 + 1e-6 else 0), rel_tol=1e-6)
    else:
        assert whole <= 1 + 1e-6
    assert math.isclose(growth_at(step.rows, 1.0), step.mode.growth, rel_tol=1e-9)


@given(case=steps(linear=True, decay=False))
def test_a_radius_below_one_means_decay(case: StepCase):
    """In the row space: with as many parameters as rows or more, and a kernel that is not nearly singular."""
    drawn = case.draw()
    step = drawn.reduced()
    assume(case.parameters >= case.rows)
    assume(step.mode is not None and step.mode.growth < 0.999)
    period = step.rows.period(1.0)
    periods = math.ceil(40 / -math.log(step.mode.growth) / case.interval)
    # ρ^n = e^-40 times what a non-normal map may add in between.
    assert np.linalg.norm(np.linalg.matrix_power(period, periods)) < 1e-6 * max(np.linalg.norm(period), 1)


@given(case=steps(linear=True, decay=False, rate=1.0, interval=1))
def test_with_copied_targets_the_preconditioned_sign_decides(case: StepCase):
    """Re λ > 0 grows at every learning rate; where all are negative a small enough one is stable, up to the edge."""
    step = case.draw().reduced()
    assume(step.excited is not None and step.mode is not None)
    event("excited" if step.excited else "not excited")
    intervals = step.stable_factors
    assert (intervals == ()) == step.excited
    if step.excited:
        assume(step.rate_per_step > 1e-6)  # what grows by less a step is rounding
        assert step.growing
        return
    low, high = intervals[0]
    assert low == 0
    if math.isfinite(high):
        assert growth_at(step.rows, high * (1 - 1e-6)) <= 1 + 1e-9
        assert growth_at(step.rows, high * (1 + 1e-3)) > 1


@given(sigma=st.floats(-0.02, 0.05), crossing=st.floats(1, 500), window=st.integers(0, 20))
def test_the_accelerated_time_travels_the_way_of_the_plain_one(sigma, crossing, window):
    k = accelerated(crossing, sigma, window)
    way = crossing * max(1 - sigma * window / 2, 0)
    if math.isfinite(k):
        # 1e-6: 1 + 2σs may cancel.
        assert math.isclose(k + sigma * k**2 / 2, way, rel_tol=1e-6)
    else:
        assert 1 + 2 * sigma * way < 0


@given(
    ratios=st.lists(st.lists(st.floats(0.01, 100), min_size=1, max_size=4).map(tuple), max_size=40).map(tuple),
    levels=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted),
)
def test_wider_levels_have_wider_intervals_that_hold_their_share(ratios, levels):
    kind = Kind(ratios)
    (low, high), (lower, higher) = (kind.multiples(level) for level in levels)
    assert lower <= low
    assert high <= higher
    for level, (first, last) in zip(levels, ((low, high), (lower, higher)), strict=True):
        held = sum(np.mean([first <= ratio <= last for ratio in run]) for run in ratios)
        assert held >= level * (len(ratios) + 1) - 1 - 1e-9, "of the runs and the new one"
        few = 1 / (len(ratios) + 1) > (1 - level) / 2 + 1e-9
        assert not few or (first, last) == (0, math.inf), "a share that so few runs cannot show"
