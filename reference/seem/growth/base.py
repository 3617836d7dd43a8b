"""What all growth laws share: a degree, the transform that makes it a straight line, input checks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seem.errors import InputError


def transform(q: ArrayLike, power: float) -> NDArray[np.float64]:
    """Q^power, or ln Q for the power 0.

    Args:
        q: Positive sizes of Q, any shape.
        power: The power.

    Returns:
        The transformed sizes, float64, of the same shape.
    """
    q = np.asarray(q, dtype=np.float64)
    return np.log(q) if power == 0 else q**power


def check_depth(depth: int) -> None:
    """Refuse a depth that no network has.

    Raises:
        InputError: On a depth below 1.
    """
    if depth < 1:
        raise InputError(f"depth {depth} is impossible: a network has at least one weight matrix, so pass 1 or more")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high); infinity as ``high`` means no upper bound.

    Raises:
        InputError: When the value is outside or nan.
    """
    if not low <= value < high:
        below = "" if math.isinf(high) else f" and below {high:g}"
        raise InputError(f"{name} {value} is impossible: pass a finite number of at least {low:g}{below}")


@dataclass(frozen=True)
class GrowthLaw:
    r"""A law of growth under one training rule; gradient descent's order, unless a law says otherwise.

    On the ray the parameters' scale a follows :math:`\dot a \propto a^m` and Q is :math:`a^L`, so that
    :math:`Q^{(1-m)/L}` is linear in the step, and ln Q where m = 1. A law that ends at a finite step has
    ``steps_to_blow_up(rate)``; one that grows for ever has ``growth_rate(...)`` or ``norm_slope(...)``.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.

    Source: derived (theory/sgd_growth.py; other degrees in theory/optimisers.py).
    """

    depth: int

    def __post_init__(self) -> None:
        check_depth(self.depth)

    @property
    def degree(self) -> int:
        """The m with which the flow goes, 2L-1 for the gradient of squared errors."""
        return 2 * self.depth - 1

    @property
    def exponent(self) -> float:
        """The p = (m-1)/L: growth goes with Q^p, and Q^(-p) falls linearly to a blow-up; 0 for an exponential."""
        return (self.degree - 1) / self.depth

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """The transform of Q that is linear in the step as long as the law holds, Q^((1-m)/L), or ln Q for m = 1.

        Args:
            q: Positive sizes of Q, any shape.

        Returns:
            The transformed sizes, float64, of the same shape.
        """
        return transform(q, (1 - self.degree) / self.depth)


@dataclass(frozen=True)
class FixedStepsLaw(GrowthLaw):
    r"""Training rules whose steps have a size that the gradient does not set: ‖θ‖ ~ t and :math:`Q = \Theta(t^L)`.

    Attributes:
        depth: Number L of weight matrices.
    """

    @property
    def degree(self) -> int:
        """0: the gradient does not enter."""
        return 0

    @property
    def exponent(self) -> float:
        """L: Q grows as the L-th power of the step."""
        return float(self.depth)
