"""The growth law of weight decay."""

import math
from dataclasses import dataclass

from seem.growth.base import GrowthLaw, check_within
from seem.growth.sgd import SGDLaw


@dataclass(frozen=True)
class WeightDecayLaw(GrowthLaw):
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
