"""Adam's steps on a growing gradient against its two averages written out as loops.

Hypotheses: frozen signs, and a gradient that grows as the (2L-1)-th power of the step, or of the path itself.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seem.growth import AdamLaw

depths = st.integers(1, 6)
betas = st.floats(0.0, 0.9999)


class Moments:
    """Adam's bias-corrected averages of a gradient and of its square."""

    def __init__(self, beta1: float, beta2: float) -> None:
        self.betas, self.averages, self.steps = (beta1, beta2), [0.0, 0.0], 0

    def ratio(self, gradient: float) -> float:
        """Size of the next step in units of lr."""
        self.steps += 1
        for i, value in enumerate((gradient, gradient**2)):
            self.averages[i] = self.betas[i] * self.averages[i] + (1 - self.betas[i]) * value
        mean, square = (self.averages[i] / (1 - self.betas[i] ** self.steps) for i in range(2))
        return mean / math.sqrt(square)


@pytest.mark.claim("ADAM-NORM-RATIO")
@given(depth=depths, steps=st.integers(1, 60), beta1=betas, beta2=betas)
def test_step_ratio_is_that_of_the_averages(depth, steps, beta1, beta2):
    moments = Moments(beta1, beta2)
    expected = [moments.ratio(float(step) ** (2 * depth - 1)) for step in range(1, steps + 1)]
    # 1 - β loses four digits of 16 at β = .9999, the averages one more over 60 steps.
    np.testing.assert_allclose(AdamLaw(depth).step_ratio(steps, beta1, beta2), expected, rtol=1e-11)


@given(depth=depths, steps=st.integers(0, 60), beta1=betas, beta2=betas)
def test_scale_path_is_that_of_the_averages(depth, steps, beta1, beta2):
    moments, distance, expected = Moments(beta1, beta2), 1.0, []
    for _ in range(steps):
        expected.append(distance)
        distance += moments.ratio(distance ** (2 * depth - 1))
    path = AdamLaw(depth).scale_path(steps, beta1, beta2)
    assert path.shape == (steps,)
    # As above; the path feeds an error back by the power 2L-1 at most.
    np.testing.assert_allclose(path, expected, rtol=1e-9)


@given(depth=depths, steps=st.integers(1, 60))
def test_the_averages_are_those_of_torch_unless_told(depth, steps):
    law = AdamLaw(depth)
    assert np.array_equal(law.step_ratio(steps), law.step_ratio(steps, 0.9, 0.999))
    assert np.array_equal(law.scale_path(steps), law.scale_path(steps, 0.9, 0.999))


@given(depth=depths, steps=st.integers(1, 60), beta1=betas, beta2=betas)
def test_the_first_step_is_one_and_no_step_leaves_its_bounds(depth, steps, beta1, beta2):
    ratios = AdamLaw(depth).step_ratio(steps, beta1, beta2)
    assert ratios[0] == pytest.approx(1, rel=1e-11)
    # Both averages start at the same gradient and it rises: the mean is at most the last gradient, and the mean of
    # squares at least the last square times its weight (1 - β₂)/(1 - β₂^t).
    weights = (1 - beta2) / (1 - beta2 ** np.arange(1, steps + 1))
    assert (ratios <= np.sqrt(1 / weights) * (1 + 1e-11)).all()
    if beta1 == beta2:
        # Jensen: under the same weights the mean's square is at most the mean of squares.
        assert (ratios <= 1 + 1e-11).all()


@given(depth=depths, steps=st.integers(1, 60))
def test_signs_without_memory_make_steps_of_one(depth, steps):
    # g/√g² rounds twice.
    np.testing.assert_allclose(AdamLaw(depth).step_ratio(steps, 0.0, 0.0), 1.0, rtol=4 * 2**-52)
    np.testing.assert_allclose(AdamLaw(depth).scale_path(steps, 0.0, 0.0), np.arange(1, steps + 1), rtol=1e-13)


@pytest.mark.claim("ADAM-NORM-LATE")
@given(depth=depths, beta1=st.floats(0.0, 0.9), beta2=st.floats(0.0, 0.9))
def test_late_steps_tend_to_one_as_the_lags_say(depth, beta1, beta2):
    """1 + k(β₂/(1-β₂) - β₁/(1-β₁))/t, k = 2L-1 (theory, Adam's finite β₂)."""
    steps, power = 3000, 2 * depth - 1
    last = AdamLaw(depth).step_ratio(steps, beta1, beta2)[-1]
    expected = power * (beta2 / (1 - beta2) - beta1 / (1 - beta1)) / steps
    # The next order is of (k/((1-β)t))², at most .04² here, with a coefficient below 8.
    slack = 8 * (power / ((1 - max(beta1, beta2)) * steps)) ** 2
    assert abs(last - 1 - expected) <= slack + 1e-12


@pytest.mark.claim("ADAM-NORM-EARLY")
@given(depth=depths, steps=st.integers(100, 300))
def test_early_steps_are_larger_by_the_root_of_the_order(depth, steps):
    """While β₂^t ≈ 1 the second moment is the plain mean of t^(2k): steps of √(2k+1) = √(4L-1)."""
    last = AdamLaw(depth).step_ratio(steps, 0.0, 1 - 1e-9)[-1]
    # The sum over t^(2k) is its integral up to (2k+1)/(2t); the bias correction keeps seven of 16 digits.
    assert last == pytest.approx(math.sqrt(4 * depth - 1), rel=(4 * depth - 1) / steps)


def test_no_power_of_the_step_overflows():
    # 10,000 steps at L = 11: t^(2(2L-1)) would reach 1e168, and its square overflow.
    for ratios in (AdamLaw(11).step_ratio(10_000), np.diff(AdamLaw(11).scale_path(10_000))):
        assert ratios[0] == pytest.approx(1, rel=1e-9)
        assert np.isfinite(ratios).all()
