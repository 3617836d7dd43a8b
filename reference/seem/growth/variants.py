"""Growth laws of further training rules: momentum, clipping, Huber loss, weight decay, decaying steps, signs."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seem.errors import InputError
from seem.growth.base import FiniteTime, PowerOfTime, check_depth, check_within, transform
from seem.growth.sgd import SGDLaw


@dataclass(frozen=True)
class MomentumLaw(FiniteTime):
    r"""Heavy-ball momentum: the SGD law with η/(1-β), until the mode outruns the memory of 1/(1-β) steps.

    From there to a rate of order 1 inertia carries the parameters, :math:`Q^{-p/2}` is linear and the crash
    comes later than the law of η/(1-β) says.

    Attributes:
        depth: Number L of weight matrices.
        momentum: β in [0, 1).

    Source: derived (theory/optimisers.py).

    Example:
        >>> MomentumLaw(depth=2, momentum=0.5).steps_to_blow_up(0.001)
        500.0
    """

    momentum: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within("momentum", self.momentum, 0.0, 1.0)

    def steps_to_blow_up(self, rate: float) -> float:
        """Steps until the continuous-time law of η/(1-β) diverges, (1-β)L/((2L-2)x).

        Args:
            rate: x = ηλ at the reading, per step, η without momentum.

        Returns:
            Steps from the reading; infinity for L = 1 and for a rate of zero or less.
        """
        return (1 - self.momentum) * SGDLaw(self.depth).steps_to_blow_up(rate)

    def lag(self, rate: float) -> float:
        """Steps by which the crash comes later than `steps_to_blow_up`: (1+β)/(1-β)·(m+1)/(2m)·ln(x_i/x), m = 2L-2.

        Args:
            rate: x = ηλ at the reading, far below `inertial_rate` x_i.

        Returns:
            Steps, 0 or more; the inertial regime itself adds some 1/(1-β) steps that are not counted.
        """
        if self.depth == 1 or not 0 < rate < self.inertial_rate:
            return 0.0
        power = 2 * self.depth - 2
        memory = (1 + self.momentum) / (1 - self.momentum)
        return memory * (power + 1) / (2 * power) * math.log(self.inertial_rate / rate)

    def growth_rate(self, rate: float) -> float:
        """Growth a step of a frozen mode, z - 1 with z² - (1 + β + x)z + β = 0, near x/(1-β) for small x.

        Args:
            rate: x = ηλ, per step, 0 or more.

        Returns:
            The rate.
        """
        beta = self.momentum
        half = (1 - beta - rate) / 2
        # The larger root of y² + 2·half·y - x = 0 with y = z - 1, without cancellation.
        root = math.sqrt(half**2 + rate)
        return rate / (half + root) if half > 0 else root - half

    @property
    def inertial_rate(self) -> float:
        """The x = ηλ at which inertia equals friction, 2L(1-β)²/((1+β)(2L-1)); the law needs x far below it."""
        return 2 * self.depth * (1 - self.momentum) ** 2 / ((1 + self.momentum) * (2 * self.depth - 1))

    @property
    def inertial_exponent(self) -> float:
        """(L-1)/L: the power of 1/Q that falls linearly once inertia carries the parameters."""
        return self.exponent / 2


@dataclass(frozen=True)
class ClippingLaw(PowerOfTime):
    """Gradient-norm clipping: steps of length lr·c, so ‖θ‖ grows linearly and Q as t^L.

    Attributes:
        depth: Number L of weight matrices.
        clip: c, the largest norm of the gradient that the optimiser sees.

    Source: derived (theory/optimisers.py).

    Example:
        >>> ClippingLaw(depth=3, clip=10.0).norm_slope(0.01)
        0.1
    """

    clip: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within("clip", self.clip, 0.0, math.inf)

    def norm_slope(self, lr: float) -> float:
        """Growth of the parameters' norm a step, on the ray: lr·c."""
        return lr * self.clip


@dataclass(frozen=True)
class SignLaw(PowerOfTime):
    """Sign descent and Lion: every active parameter moves by lr, Q ~ t^L; decoupled decay bounds the norm.

    Attributes:
        depth: Number L of weight matrices.
        decay: Decoupled weight decay w (AdamW's and Lion's, lr·w a step); 0 for none.

    Source: derived (theory/adam_growth.py).

    Example:
        >>> SignLaw(depth=2, decay=0.5).largest_norm(100)
        20.0
    """

    decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within("decay", self.decay, 0.0, math.inf)

    def norm_slope(self, lr: float, parameters: int) -> float:
        """Growth of the norm a step without decay, lr·√P; P as in `AdamLaw.norm_slope`."""
        return lr * math.sqrt(parameters)

    def largest_norm(self, parameters: int) -> float:
        """The norm √P/w at which decay stops the growth; infinity without decay."""
        return math.sqrt(parameters) / self.decay if self.decay > 0 else math.inf

    def decay_is_steady(self, lr: float, beta2: float = 0.0) -> bool:
        """Whether the norm rests at `largest_norm` under AdamW: lr·w·(2L-2) < 1 - β₂.

        With a longer memory the steps shrink for 1/(1-β₂) steps after every fall of the gradient, and the
        norm oscillates or collapses instead. Signs have no such memory: pass β₂ = 0.
        """
        return lr * self.decay * (2 * self.depth - 2) < 1 - beta2


@dataclass(frozen=True)
class HuberLaw:
    """Huber loss once every |u| exceeds its knee: the degree of the flow falls from 2L-1 to L-1.

    L = 1 grows linearly, L = 2 exponentially, L ≥ 3 blows up with Q^(-(L-2)/L) linear.

    Attributes:
        depth: Number L of weight matrices.

    Source: derived (theory/optimisers.py).

    Example:
        >>> HuberLaw(depth=4).exponent
        0.5
    """

    depth: int

    def __post_init__(self) -> None:
        check_depth(self.depth)

    @property
    def exponent(self) -> float:
        """(L-2)/L: the power of 1/Q that falls linearly; 0 for L = 2, -1 (Q itself) for L = 1."""
        return (self.depth - 2) / self.depth

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """Q^(-(L-2)/L), or ln Q for L = 2; arguments as in `SGDLaw.linearise`."""
        return transform(q, -self.exponent)

    def steps_to_blow_up(self, growth: float) -> float:
        """Steps until the continuous-time law diverges, L/((L-2)·growth).

        Args:
            growth: Growth of ln Q a step at the reading.

        Returns:
            Steps from the reading; infinity for L ≤ 2 and without growth.
        """
        return 1 / (self.exponent * growth) if self.depth > 2 and growth > 0 else math.inf


@dataclass(frozen=True)
class WeightDecayLaw(FiniteTime):
    r"""Weight decay on the ray, :math:`\dot a = \eta\hat\kappa a^{2L-1} - wa`: a threshold, not a change of order.

    Attributes:
        depth: Number L of weight matrices.
        decay: w, the share of the parameters removed a step: lr times the optimiser's weight decay.

    Source: derived (theory/optimisers.py).

    Example:
        >>> law = WeightDecayLaw(depth=2, decay=0.01)
        >>> law.critical_rate, law.steps_to_blow_up(0.01)
        (0.02, inf)
    """

    decay: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within("decay", self.decay, 0.0, 1.0)

    @property
    def critical_rate(self) -> float:
        """The x = ηλ at the critical norm, Lw: above it the critic blows up, below it decays."""
        return self.depth * self.decay

    def steps_to_blow_up(self, rate: float) -> float:
        """Steps until the law diverges, -ln(1 - Lw/x)/((2L-2)w).

        Args:
            rate: x = ηλ at the reading, per step, of the loss alone.

        Returns:
            Steps from the reading; infinity for L = 1 and up to the critical rate.
        """
        if self.depth == 1 or not rate > self.critical_rate:
            return math.inf
        if self.decay == 0:
            return SGDLaw(self.depth).steps_to_blow_up(rate)
        return -math.log1p(-self.critical_rate / rate) / ((2 * self.depth - 2) * self.decay)


@dataclass(frozen=True)
class DecayingStepLaw(FiniteTime):
    r"""Step size :math:`\eta_t = \eta_0(1 + t/t_0)^{-\alpha}`: the SGD law in the effective time ∫η dt/η₀.

    ``linearise`` is linear in the effective time. For α > 1 that time is bounded by t₀/(α-1), and a slow
    enough mode never crashes.

    Attributes:
        depth: Number L of weight matrices.
        power: α, 0 or more.
        timescale: t₀ in steps, positive.

    Source: derived (theory/optimisers.py).

    Example:
        >>> law = DecayingStepLaw(depth=2, power=2.0, timescale=100.0)
        >>> law.steps_to_blow_up(0.02), law.steps_to_blow_up(0.01)
        (100.0, inf)
    """

    power: float
    timescale: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within("power", self.power, 0.0, math.inf)
        if not 0 < self.timescale < math.inf:
            raise InputError(f"timescale {self.timescale} is impossible: pass a positive, finite number of steps")

    def effective_steps(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Steps of size η₀ that move as far as the first ``steps`` decaying ones, in continuous time."""
        stretch = 1 + np.asarray(steps, dtype=np.float64) / self.timescale
        if self.power == 1:
            return self.timescale * np.log(stretch)
        return self.timescale * (stretch ** (1 - self.power) - 1) / (1 - self.power)

    def steps_to_blow_up(self, rate: float) -> float:
        """Steps until the effective time reaches L/((2L-2)x).

        Args:
            rate: x = η₀λ at step 0.

        Returns:
            Steps from step 0; infinity for L = 1, without growth, and when the effective time never suffices.
        """
        needed = SGDLaw(self.depth).steps_to_blow_up(rate) / self.timescale
        if math.isinf(needed):
            return math.inf
        if self.power == 1:
            return self.timescale * math.expm1(needed)
        bracket = 1 + (1 - self.power) * needed
        return self.timescale * (bracket ** (1 / (1 - self.power)) - 1) if bracket > 0 else math.inf
