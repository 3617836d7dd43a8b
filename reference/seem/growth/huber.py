"""The growth law of the Huber loss."""

import math
from dataclasses import dataclass

from seem.growth.base import GrowthLaw


@dataclass(frozen=True)
class HuberLaw(GrowthLaw):
    """Huber loss once every |u| exceeds its knee: the degree of the flow falls from 2L-1 to L-1.

    L = 1 grows linearly, L = 2 exponentially, L ≥ 3 blows up with Q^(-(L-2)/L) linear.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: derived (theory/optimisers.py).

    Example:
        >>> HuberLaw(depth=4).exponent
        0.5
    """

    @property
    def degree(self) -> int:
        """L-1: errors beyond the knee push with their signs alone."""
        return self.depth - 1

    def steps_to_blow_up(self, growth: float) -> float:
        """Steps until the continuous-time law diverges, L/((L-2)·growth).

        Args:
            growth: Growth of ln Q per step at the reading.

        Returns:
            Steps from the reading; infinity for L ≤ 2 and without growth.
        """
        return 1 / (self.exponent * growth) if self.depth > 2 and growth > 0 else math.inf
