"""The growth law of step sizes that decay."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seem.errors import InputError
from seem.growth.base import GrowthLaw, check_within
from seem.growth.sgd import SGDLaw


@dataclass(frozen=True)
class DecayingStepLaw(GrowthLaw):
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
