"""Strategies for batches of transitions; a batch is a recipe, and its repr reproduces it."""

from dataclasses import dataclass
from typing import Literal

import torch
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from seem.transitions import Transitions

EXTREME_EXPONENT = 498
"""2^±498 is about 1e±150: a product of two such numbers still is a normal float64."""


@dataclass(frozen=True)
class Batch:
    """Transitions of float64; their numbers are standard normal up to the scales.

    Attributes:
        observation_dim: Number of state components.
        action_dim: Number of action components.
        terminals: For each row whether it ends an episode.
        saturated: For each row whether its action is a corner of the box, all components ±1.
        repeats: Row i is a copy of row i - repeats[i], terminal included; 0 is a row of its own.
        seed: Of the generator of all numbers.
        state_scale: Factor on s and s'.
        reward_scale: Factor on r.
    """

    observation_dim: int
    action_dim: int
    terminals: tuple[bool, ...]
    saturated: tuple[bool, ...]
    repeats: tuple[int, ...]
    seed: int
    state_scale: float = 1.0
    reward_scale: float = 1.0

    @property
    def rows(self) -> int:
        """Number M of transitions."""
        return len(self.terminals)

    def draw(self) -> Transitions:
        """The transitions, float64, from the batch's own generator."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(self.rows, *shape, generator=generator, dtype=torch.float64)

        actions = torch.tanh(normal(self.action_dim))
        distinct = Transitions(
            observations=self.state_scale * normal(self.observation_dim),
            actions=torch.where(torch.tensor(self.saturated)[:, None], actions.sign(), actions),
            rewards=self.reward_scale * normal(),
            next_observations=self.state_scale * normal(self.observation_dim),
            terminals=torch.tensor(self.terminals, dtype=torch.float64),
        )
        return distinct.select(torch.arange(self.rows) - torch.tensor(self.repeats))


def batches(
    *,
    rows: tuple[int, int] = (1, 5),
    observation_dim: int | None = None,
    action_dim: int | None = None,
    terminals: Literal["none", "all"] | None = None,
    extreme: bool = False,
) -> st.SearchStrategy[Batch]:
    """Batches of transitions, with repeated rows and saturated actions among them.

    Args:
        rows: Smallest and largest number of rows.
        observation_dim: Number of state components; None draws 1 to 3.
        action_dim: Number of action components; None draws 1 or 2.
        terminals: "none" or "all" of the rows; None draws it for each row.
        extreme: Whether states and rewards may be as small as 1e-150 and as large as 1e150.

    Returns:
        A strategy that shrinks to few plain rows of one component, of size one.

    Raises:
        InvalidArgument: When an argument is impossible.
    """
    smallest, largest = rows
    if not 1 <= smallest <= largest:
        raise InvalidArgument(f"rows={rows} is impossible: pass (smallest, largest) with 1 <= smallest <= largest")
    for name, dimension in (("observation_dim", observation_dim), ("action_dim", action_dim)):
        if dimension is not None and dimension < 1:
            raise InvalidArgument(f"{name}={dimension} is impossible: pass 1 or more, or None to draw it")
    if terminals not in (None, "none", "all"):
        raise InvalidArgument(f"terminals={terminals!r} is unknown: pass None, 'none' or 'all'")
    return _batches(
        st.integers(smallest, largest),
        st.integers(1, 3) if observation_dim is None else st.just(observation_dim),
        st.integers(1, 2) if action_dim is None else st.just(action_dim),
        st.booleans() if terminals is None else st.just(terminals == "all"),
        st.sampled_from((0, EXTREME_EXPONENT, -EXTREME_EXPONENT)) | st.integers(-EXTREME_EXPONENT, EXTREME_EXPONENT)
        if extreme
        else st.just(0),
    )


@st.composite
def _batches(draw: st.DrawFn, rows, observation_dims, action_dims, terminals, exponents) -> Batch:
    count = draw(rows, label="rows")

    def by_row(elements: st.SearchStrategy, label: str) -> tuple:
        return draw(st.tuples(*[elements] * count), label=label)

    repeats: list[int] = []
    flags = list(by_row(terminals, "terminals"))
    for row in range(count):
        # A copy of a copy would need resolving: only rows of their own are copied.
        own = [row - other for other in range(row) if not repeats[other]]
        repeats.append(draw(st.sampled_from([0, *own]), label="repeats"))
        flags[row] = flags[row - repeats[row]]
    return Batch(
        observation_dim=draw(observation_dims, label="observation_dim"),
        action_dim=draw(action_dims, label="action_dim"),
        terminals=tuple(flags),
        saturated=by_row(st.booleans(), "saturated"),
        repeats=tuple(repeats),
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
        state_scale=2.0 ** draw(exponents, label="log2 state_scale"),
        reward_scale=2.0 ** draw(exponents, label="log2 reward_scale"),
    )
