"""The growth law of Adam: frozen signs, and the steps that a β₂ near 1 makes larger."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from seem.growth.base import FixedStepsLaw


@dataclass(frozen=True)
class AdamLaw(FixedStepsLaw):
    r"""Adam once the gradient's signs are frozen: :math:`\|\theta_t\| = \eta\sqrt{P}\,t + o(t)`, Q = Θ(t^L).

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: paper, Adam theorem (recalled; abstract printed); that P counts only the parameters whose
    gradient keeps its sign is derived.

    Example:
        >>> AdamLaw(depth=3).exponent
        3.0
        >>> AdamLaw(depth=3).norm_slope(1e-3, 10_000)
        0.1
    """

    def norm_slope(self, lr: float, parameters: int) -> float:
        """Growth of the parameters' norm per step once t ≫ 1/(1 - β₂), lr·√P.

        Args:
            lr: Adam's learning rate.
            parameters: Number P of parameters whose gradient keeps its sign. One without gradient, or whose sign
                keeps flipping, does not count.

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

    def scale_path(self, steps: int, beta1: float = 0.9, beta2: float = 0.999) -> NDArray[np.float64]:
        r"""Distance of the parameters from their start in units of lr·√P, with the gradient that it implies.

        `step_ratio` takes the gradient as t^(2L-1); here it is the (2L-1)-th power of the distance itself, so a
        falling ratio feeds back. Q follows the L-th power of the path.

        Args:
            steps: Number of steps.
            beta1: Adam's β₁.
            beta2: Adam's β₂.

        Returns:
            Distances after 1 to ``steps`` steps, shape (steps,).

        Source: derived (theory/adam_growth.py).
        """
        path, first, second = np.empty(steps), 0.0, 0.0
        distance, power = 1.0, 2 * self.depth - 1
        for step in range(1, steps + 1):
            path[step - 1] = distance
            # In units of the last step, so that no power overflows.
            gradient = (distance / steps) ** power
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient**2
            distance += first / (1 - beta1**step) / math.sqrt(second / (1 - beta2**step))
        return path
