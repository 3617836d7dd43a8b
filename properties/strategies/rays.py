"""Strategies for rays x0 + ρv in the inputs of a network, with lengths ρ from nothing to 1e12 on both sides."""

from dataclasses import dataclass
from functools import cache

import torch
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.networks import Case

LONGEST = 1e12
"""Largest length: float64 still tells x0 from its neighbours at 1e-4."""
TINY = 5e-324
"""Smallest length above 0, a subnormal number."""


@dataclass(frozen=True)
class Ray:
    """Points x0 + ρv; its repr is the recipe.

    Attributes:
        start: x0.
        direction: v, as long as x0.
        lengths: Values of ρ, of both signs.
    """

    start: tuple[float, ...]
    direction: tuple[float, ...]
    lengths: tuple[float, ...]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x0, shape (inputs,), v, shape (inputs,), and the points, shape (lengths, inputs), all float64."""
        x0, v = (torch.tensor(part, dtype=torch.float64) for part in (self.start, self.direction))
        return x0, v, x0 + torch.tensor(self.lengths, dtype=torch.float64)[:, None] * v


def lengths(*, forward: bool = False, longest: float = LONGEST) -> st.SearchStrategy[float]:
    """Values of ρ: 0, tiny, small whole numbers and all magnitudes up to the longest.

    Args:
        forward: Whether only 0 and positive numbers are drawn.
        longest: Largest size.

    Returns:
        A strategy that shrinks to 0.

    Raises:
        InvalidArgument: When the longest is not above 1.
    """
    if not 1 < longest < float("inf"):
        raise InvalidArgument(f"longest={longest} is impossible: pass a finite number above 1")
    special = st.sampled_from((0.0, 1.0, 2.0, TINY, longest))
    sizes = special | st.floats(-12.0, 1.0).map(lambda power: longest**power)
    return sizes if forward else st.builds(lambda size, sign: sign * size, sizes, st.sampled_from((1.0, -1.0)))


@cache  # to check a strategy takes as long as to draw from it
def rays(
    inputs: int,
    *,
    acute: bool = False,
    forward: bool = False,
    longest: float = LONGEST,
    count: tuple[int, int] = (1, 5),
) -> st.SearchStrategy[Ray]:
    """Rays of a network with a given number of inputs.

    Args:
        inputs: Number of input components.
        acute: Whether x0 and v are both other than 0 and ⟨x0, v⟩ ≥ 0.
        forward: Whether only lengths of 0 and more are drawn.
        longest: Largest size of a length.
        count: Smallest and largest number of points.

    Returns:
        A strategy that shrinks to one point at the origin, or for acute rays at a unit vector.

    Raises:
        InvalidArgument: When an argument is impossible.
    """
    if inputs < 1:
        raise InvalidArgument(f"inputs={inputs} is impossible: pass 1 or more")
    if not 1 <= count[0] <= count[1]:
        raise InvalidArgument(f"count={count} is impossible: pass 1 <= smallest <= largest")
    return _rays(inputs, acute, lengths(forward=forward, longest=longest), count)


@st.composite
def _rays(draw: st.DrawFn, inputs: int, acute: bool, steps: st.SearchStrategy[float], count: tuple[int, int]) -> Ray:
    # Multiples of 1/16: products and sums of a few of them do not round.
    component = st.integers(-64, 64).map(lambda whole: whole / 16)
    vectors = st.tuples(*[component] * inputs)
    start = draw(vectors, label="start")
    direction = draw(vectors, label="direction")
    kind = draw(st.sampled_from(("free", "along", "opposite", "square", "still", "from the origin")), label="kind")
    origin = (0.0,) * inputs
    special = {
        "along": start,
        "opposite": tuple(-entry for entry in start),
        "square": (-start[1], start[0], *origin[2:]) if inputs > 1 else origin,
        "still": origin,
    }
    start, direction = origin if kind == "from the origin" else start, special.get(kind, direction)
    if acute:
        start, direction = (vector if any(vector) else (1.0, *origin[1:]) for vector in (start, direction))
        if sum(a * b for a, b in zip(start, direction, strict=True)) < 0:
            direction = tuple(-entry for entry in direction)
    # The origin's own distance from the network's kinks and floors is another scale than the ray's.
    size = 2.0 ** draw(st.integers(-8, 8), label="log2 size of start")
    drawn = draw(st.lists(steps, min_size=count[0], max_size=count[1]), label="lengths")
    return Ray(tuple(size * entry for entry in start), direction, tuple(drawn))


def on_rays(cases: st.SearchStrategy[Case], **ray) -> st.SearchStrategy[tuple[Case, Ray]]:
    """Networks with rays in their inputs.

    Args:
        cases: The networks.
        ray: Arguments of `rays`, the number of inputs apart.
    """
    return cases.flatmap(lambda case: st.tuples(st.just(case), rays(case.inputs, **ray)))
