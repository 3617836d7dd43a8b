r"""Growth laws: how Q grows under a training rule, and when it leaves the floating-point range.

On a self-similar ray (bias-free network of depth L, reward 0, X* fixed, :math:`-\Phi^\top u = \kappa\theta`)
the parameters keep their direction and only their scale moves, so a law is one scalar recursion.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from seem.errors import InputError

SMALL_STEP = 1e-3
"""Below this ηλ the discrete recursion is summed in closed form; the neglected terms are of order ηλ."""

LARGE_LOG_RATE = 40.0
"""Above this ln|ηλ| the 1 in 1 + ηλ/L is below float64's rounding."""


class GrowthLaw(Protocol):
    """A law of growth under one training rule.

    Attributes:
        depth: Number L of weight matrices.
    """

    depth: int

    @property
    def exponent(self) -> float:
        """The exponent that the law's linearising transform raises Q to."""
        ...

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """The transform of Q that is linear in the training step as long as the law holds."""
        ...


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise InputError(f"depth {depth} is impossible: a network has at least one weight matrix, so pass 1 or more")


@dataclass(frozen=True)
class SGDLaw:
    r"""Gradient descent: :math:`\|u_t\| \propto (1 - p\,\eta\lambda_s (t - s))^{-1/p}`, :math:`p = (2L-2)/L`.

    For L = 1 the limit p → 0 is the exponential :math:`e^{\eta\lambda(t-s)}`.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: paper, SGD theorem (recalled); the constant C′ = (2L-2)/L and the discrete recursion are
    derived (theory/sgd_growth.py).

    Example:
        >>> SGDLaw(depth=3).exponent
        1.3333333333333333
        >>> SGDLaw(depth=2).steps_to_blow_up(0.01)
        100.0
    """

    depth: int

    def __post_init__(self) -> None:
        _check_depth(self.depth)

    @property
    def exponent(self) -> float:
        """The p = (2L-2)/L: Q^(-p) falls linearly and reaches zero at the blow-up; 0 for L = 1."""
        return (2 * self.depth - 2) / self.depth

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """Q^(-p), or ln Q for L = 1.

        Args:
            q: Positive sizes of Q, any shape.

        Returns:
            The transformed sizes, float64, of the same shape.
        """
        q = np.asarray(q, dtype=np.float64)
        return np.log(q) if self.depth == 1 else q**-self.exponent

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

        Source: derived (theory/sgd_growth.py). For L = 2 the overshoot threshold 4 is the edge of the
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
            grown += self.depth * log_factor
            log_rate += power * log_factor
            steps += 1
        return steps


@dataclass(frozen=True)
class AdamLaw:
    r"""Adam once the gradient's signs are frozen: :math:`\|\theta_t\| = \eta\sqrt{P}\,t + o(t)`, Q = Θ(t^L).

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: paper, Adam theorem (recalled; abstract printed); that P counts the parameters with a
    non-zero gradient only is derived.

    Example:
        >>> AdamLaw(depth=3).exponent
        3.0
        >>> AdamLaw(depth=3).norm_slope(1e-3, 10_000)
        0.1
    """

    depth: int

    def __post_init__(self) -> None:
        _check_depth(self.depth)

    @property
    def exponent(self) -> float:
        """L: Q grows as the L-th power of the step."""
        return float(self.depth)

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """Q^(1/L), linear in the step.

        Args:
            q: Positive sizes of Q, any shape.

        Returns:
            The transformed sizes, float64, of the same shape.
        """
        return np.asarray(q, dtype=np.float64) ** (1 / self.depth)

    def norm_slope(self, lr: float, parameters: int) -> float:
        """Growth of the parameters' norm a step once t ≫ 1/(1 - β₂), lr·√P.

        Args:
            lr: Adam's learning rate.
            parameters: Number P of parameters with a non-zero gradient.

        Returns:
            Norm gained a step.
        """
        return lr * math.sqrt(parameters)

    def step_ratio(self, steps: int, beta1: float = 0.9, beta2: float = 0.999) -> NDArray[np.float64]:
        r"""Size of Adam's steps in units of lr while the gradient grows as t^(2L-1): :math:`\hat m_t/\sqrt{\hat v_t}`.

        It tends to 1 as k/((1 - β₂)t) with k = 2L-1; while t is still small against 1/(1 - β₂) the second
        moment averages over the whole past and the ratio is near √(2k+1), so the norm outruns lr·√P·t.

        Args:
            steps: Number of steps.
            beta1: Adam's β₁.
            beta2: Adam's β₂.

        Returns:
            Ratios at steps 1 to ``steps``, shape (steps,).

        Source: derived (theory/adam_growth.py).
        """
        times = np.arange(1, steps + 1, dtype=np.float64)
        gradients = (times / steps) ** (2 * self.depth - 1)
        first = signal.lfilter([1 - beta1], [1, -beta1], gradients) / (1 - beta1**times)
        second = signal.lfilter([1 - beta2], [1, -beta2], gradients**2) / (1 - beta2**times)
        return first / np.sqrt(second)
