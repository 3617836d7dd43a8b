"""The growth law of gradient-norm clipping."""

import math
from dataclasses import dataclass

from seem.growth.base import FixedStepsLaw, check_within


@dataclass(frozen=True)
class ClippingLaw(FixedStepsLaw):
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
        """Growth of the parameters' norm per step, on the ray: lr·c."""
        return lr * self.clip
