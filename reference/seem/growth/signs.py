"""The growth law of sign descent and Lion, with decoupled weight decay."""

import math
from dataclasses import dataclass

from seem.growth.base import FixedStepsLaw, check_within


@dataclass(frozen=True)
class SignLaw(FixedStepsLaw):
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
        """Growth of the norm per step without decay, lr·√P; P as in `AdamLaw.norm_slope`."""
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
