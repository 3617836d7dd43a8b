"""Strategies for the numbers that the theory scales with: factors on parameters, step sizes, discounts."""

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

DISCOUNTS = (0.0, 0.99, 1.0)
"""Both ends and the value in use: each begins or ends a case of the theory."""


def scales(smallest: int = -8, largest: int = 8) -> st.SearchStrategy[float]:
    """Positive factors, most of which round; they shrink to 1.

    Args:
        smallest: Exponent of the smallest power of two.
        largest: Exponent of the largest.

    Raises:
        InvalidArgument: When the exponents are out of order or leave float64's normal range.
    """
    if not -1022 <= smallest <= largest <= 1023:
        raise InvalidArgument(f"exponents {smallest} to {largest} are impossible: pass -1022 <= smallest <= largest")
    return st.floats(smallest, largest).map(lambda exponent: 2.0**exponent)


def step_sizes(smallest: float = 2.0**-10, largest: float = 2.0) -> st.SearchStrategy[float]:
    """Step sizes in units of 2/λ, λ the largest eigenvalue of G(X, X): above 1 gradient descent overshoots.

    Args:
        smallest: Smallest multiple of 2/λ, above 0.
        largest: Largest multiple.

    Returns:
        A strategy of multiples; the step size itself is ``multiple * 2 / λ``.

    Raises:
        InvalidArgument: When the bounds are out of order or not positive.
    """
    if not 0 < smallest <= largest < float("inf"):
        raise InvalidArgument(f"step sizes {smallest} to {largest} are impossible: pass 0 < smallest <= largest")
    return st.floats(smallest, largest)


def discounts(smallest: float = 0.0, largest: float = 1.0) -> st.SearchStrategy[float]:
    """Discounts γ; 0, .99 and 1 are drawn often where the bounds allow them.

    Args:
        smallest: Smallest γ.
        largest: Largest γ.

    Raises:
        InvalidArgument: When the bounds are out of order or outside [0, 1].
    """
    if not 0 <= smallest <= largest <= 1:
        raise InvalidArgument(f"discounts {smallest} to {largest} are impossible: pass 0 <= smallest <= largest <= 1")
    special = [discount for discount in DISCOUNTS if smallest <= discount <= largest]
    between = st.floats(smallest, largest)
    return st.sampled_from(special) | between if special else between
