"""Offline transitions: frozen tensors that travel from a data set to an agent."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.errors import InputError

STATE_EPSILON = 1e-3
"""Added to the standard deviation of every state component (TD3+BC and the authors' code)."""


@dataclass(frozen=True)
class Transitions:
    """M transitions (s, a, r, s', d), one row each, all of one floating dtype and on one device.

    Attributes:
        observations: States s, shape (M, observation_dim).
        actions: Actions a, shape (M, action_dim), inside the box [-1, 1].
        rewards: Rewards r, shape (M,).
        next_observations: Successor states s', shape (M, observation_dim).
        terminals: d, shape (M,): 1 on true terminals, 0 elsewhere and on time-outs.

    Raises:
        InputError: When the shapes do not fit together or a value is not finite.
    """

    observations: Float[Tensor, "M observation"]
    actions: Float[Tensor, "M action"]
    rewards: Float[Tensor, " M"]
    next_observations: Float[Tensor, "M observation"]
    terminals: Float[Tensor, " M"]

    def __post_init__(self) -> None:
        for field in fields(self):
            shape, dimensions = getattr(self, field.name).shape, 1 if field.name in ("rewards", "terminals") else 2
            if len(shape) != dimensions:
                raise InputError(
                    f"{field.name} have shape {tuple(shape)}: pass a tensor with {dimensions} axes, rows first"
                )
        rows = len(self.observations)
        for field in fields(self):
            values = getattr(self, field.name)
            if len(values) != rows:
                raise InputError(
                    f"transitions need as many {field.name} as observations ({rows}), "
                    f"but there are {len(values)}: pass arrays of one length"
                )
        if self.next_observations.shape != self.observations.shape:
            raise InputError(
                f"next_observations have shape {tuple(self.next_observations.shape)} and observations "
                f"{tuple(self.observations.shape)}: pass arrays of one shape"
            )
        for field in fields(self):
            broken = (~torch.isfinite(getattr(self, field.name))).nonzero()
            if len(broken):
                raise InputError(
                    f"{field.name} are not finite in row {broken[0, 0].item()}: remove or repair that transition"
                )

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def observation_dim(self) -> int:
        """Number of state components."""
        return self.observations.shape[1]

    @property
    def action_dim(self) -> int:
        """Number of action components."""
        return self.actions.shape[1]

    def select(self, indices: Int[Tensor, " rows"]) -> "Transitions":
        """The transitions at ``indices``, in that order.

        Args:
            indices: Row numbers, shape (rows,), integer dtype.

        Returns:
            A new object with ``rows`` transitions.
        """
        # Rows of checked values need no second check, which would wait for the device at every minibatch.
        chosen = object.__new__(Transitions)
        for field in fields(self):
            object.__setattr__(chosen, field.name, getattr(self, field.name)[indices])
        return chosen

    def draw(self, rows: int, generator: torch.Generator) -> "Transitions":
        """A minibatch: ``rows`` transitions drawn uniformly and with replacement.

        Args:
            rows: How many.
            generator: A CPU generator; the draw is the same on every device.

        Returns:
            A new object with ``rows`` transitions.
        """
        drawn = torch.randint(len(self), (rows,), generator=generator)
        return self.select(drawn.to(self.rewards.device))

    def subset(self, rows: int, generator: torch.Generator) -> "Transitions":
        """Draw ``rows`` different transitions, uniformly and without replacement.

        Args:
            rows: How many; at most ``len(self)``.
            generator: A CPU generator; the draw is the same on every device.

        Returns:
            A new object with ``rows`` transitions.

        Raises:
            InputError: When more rows are asked for than there are.
        """
        if not 1 <= rows <= len(self):
            raise InputError(f"cannot draw {rows} rows from {len(self)} transitions: ask for 1 to {len(self)}")
        order = torch.randperm(len(self), generator=generator)[:rows]
        return self.select(order.to(self.observations.device))

    def normalised(self) -> "Transitions":
        """Shift and scale every state component to mean 0 and deviation about 1.

        Both s and s' are mapped by (s - mean) / (std + 1e-3), with mean and (population) std over s.

        Returns:
            A new object; actions, rewards and terminals are unchanged.

        Raises:
            InputError: When the squares of the states overflow their dtype.

        Source: authors' code and TD3+BC (printed).
        """
        mean = self.observations.mean(0)
        scale = self.observations.std(0, correction=0) + STATE_EPSILON
        if not torch.isfinite(scale).all():
            raise InputError("observations are too large to be normalised: scale them to a size below 1e15 first")
        return replace(
            self,
            observations=(self.observations - mean) / scale,
            next_observations=(self.next_observations - mean) / scale,
        )

    def to(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Transitions":
        """Move to a device and a floating dtype.

        Args:
            device: Where to; None keeps the device.
            dtype: Which floating dtype; None keeps it.

        Returns:
            A new object.

        Raises:
            InputError: When a value is outside the dtype's range.
        """
        return Transitions(*(getattr(self, field.name).to(device=device, dtype=dtype) for field in fields(self)))
