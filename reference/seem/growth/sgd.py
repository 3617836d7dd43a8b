"""The growth law of gradient descent, in continuous time and step by step."""

import math
from dataclasses import dataclass

from seem.growth.base import GrowthLaw

SMALL_STEP = 1e-3
"""Below this ηλ the discrete recursion is summed in closed form; the neglected terms are of order ηλ."""

LARGE_LOG_RATE = 40.0
"""Above this ln|ηλ| the 1 in 1 + ηλ/L is below float64's rounding."""


@dataclass(frozen=True)
class SGDLaw(GrowthLaw):
    r"""Gradient descent: :math:`\|u_t\| \propto (1 - p\,\eta\lambda_s (t - s))^{-1/p}`, :math:`p = (2L-2)/L`.

    For L = 1 the limit p → 0 is the exponential :math:`e^{\eta\lambda(t-s)}`.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: paper, SGD theorem (recalled); the constant C′ = (2L-2)/L and the discrete recursion are
    derived (theory/sgd_growth.py, theory/discrete_time.py).

    Example:
        >>> SGDLaw(depth=3).exponent
        1.3333333333333333
        >>> SGDLaw(depth=2).steps_to_blow_up(0.01)
        100.0
    """

    def steps_to_blow_up(self, rate: float) -> float:
        """Steps until the continuous-time law diverges, L/((2L-2)ηλ).

        Args:
            rate: x = ηλ at the reading, per step.

        Returns:
            Steps from the reading; infinity for L = 1 and for a rate of zero or less.
        """
        if self.depth == 1 or not rate > 0:
            return math.inf
        return 1 / (self.exponent * rate)

    def steps_to_overflow(self, rate: float, log_room: float) -> float:
        r"""Steps until the discrete law grows Q by :math:`e^{\text{log\_room}}`.

        On the ray a step multiplies the parameters by 1 + x/L with x = ηλ, hence Q by (1 + x/L)^L and x
        itself by (1 + x/L)^(2L-2). The recursion is iterated; while 0 < x < `SMALL_STEP` its sum is taken
        in closed form: with m = 2L-2, going from 1/x = y to z takes (y - z)L/m + (m+1)/(2m)·ln(y/z) steps.

        A negative rate is a decaying mode that the finite step overshoots: |1 + x/L| passes 1 only for
        x < -2L, and between -2L and -2 the mode grows but the parameters shrink, so Q recovers.

        Args:
            rate: x = ηλ at the reading, per step, of either sign.
            log_room: Natural logarithm of the growth of Q until overflow, ln(max/|Q|).

        Returns:
            Steps from the reading, a whole number when small; infinity for a rate in [-2L, 0].

        Source: derived (theory/discrete_time.py). For L = 2 the overshoot threshold 4 is the edge of the
        catapult phase of Lewkowycz et al. 2020 (2003.02218).

        Example:
            >>> SGDLaw(depth=1).steps_to_overflow(1.0, 10 * math.log(2))
            10.0
        """
        if -2 * self.depth <= rate <= 0 or math.isnan(rate):
            return math.inf
        steps, grown = 0.0, 0.0
        power = 2 * self.depth - 2
        if 0 < rate < SMALL_STEP and self.depth > 1:
            reached = math.log(SMALL_STEP / rate)
            if reached / self.exponent >= log_room:
                # Overflow comes before the step size matters: the continuous law holds to the end.
                return -math.expm1(-self.exponent * log_room) * self.steps_to_blow_up(rate)
            steps = (1 / rate - 1 / SMALL_STEP) / self.exponent + (power + 1) / (2 * power) * reached
            grown, rate = reached / self.exponent, SMALL_STEP
        if self.depth == 1:
            return float(math.ceil(round(log_room / math.log(abs(1 + rate)), 9)))
        sign, log_rate = math.copysign(1.0, rate), math.log(abs(rate))
        while grown < log_room:
            # In logarithms, since the rate itself may pass the largest float before Q does.
            large = log_rate > LARGE_LOG_RATE
            ratio = log_rate - math.log(self.depth)
            log_factor = ratio if large else math.log(abs(1 + sign * math.exp(ratio)))
            if log_factor <= 0:
                return math.inf  # the overshoot threshold itself, to rounding
            grown += self.depth * log_factor
            log_rate += power * log_factor
            steps += 1
        return steps
