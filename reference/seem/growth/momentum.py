"""The growth law of heavy-ball momentum."""

import math
from dataclasses import dataclass

from seem.growth.base import GrowthLaw, check_within
from seem.growth.sgd import SGDLaw


@dataclass(frozen=True)
class MomentumLaw(GrowthLaw):
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
