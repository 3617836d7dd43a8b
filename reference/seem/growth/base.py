"""What all growth laws share: the protocol, the transforms that make a law a straight line, input checks."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seem.errors import InputError


class GrowthLaw(Protocol):
    """A law of growth under one training rule.

    A law that ends at a finite step has ``steps_to_blow_up(rate)``; one that grows for ever has
    ``growth_rate(...)`` or ``norm_slope(...)``.

    Attributes:
        depth: Number L of weight matrices.
    """

    depth: int

    @property
    def exponent(self) -> float:
        """The exponent that names the law, positive: p of Q^(-p), or L of Q ~ t^L; 0 for an exponential."""
        ...

    def linearise(self, q: ArrayLike) -> NDArray[np.float64]:
        """The transform of Q that is linear in the training step as long as the law holds."""
        ...


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
class PowerOfTime:
    r"""Training rules whose steps have a size that the gradient does not set: ‖θ‖ ~ t and :math:`Q = \Theta(t^L)`.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.
    """

    depth: int

    def __post_init__(self) -> None:
        check_depth(self.depth)

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
        return transform(q, 1 / self.depth)


@dataclass(frozen=True)
class FiniteTime:
    r"""Training rules that blow up as gradient descent does: :math:`Q^{-p}` falls linearly, p = (2L-2)/L.

    Attributes:
        depth: Number L of weight matrices.

    Raises:
        InputError: On a depth below 1.
    """

    depth: int

    def __post_init__(self) -> None:
        check_depth(self.depth)

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
        return transform(q, -self.exponent)
