"""A monitor that reads a critic while it trains, at a bounded share of the training time.

Every reading tries to certify the leading eigenvalue by `seem.leading`. Where that cannot be done all eigenvalues
are computed, but only as often as their share of the elapsed time allows; other readings come without one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.errors import InputError
from seem.leading import Leading, attempt, from_all_eigenvalues
from seem.ntk import Inputs
from seem.operators import operator_of
from seem.spectrum import alignment, motion

LONGEST_PAUSE = 7
"""Readings at most between two attempts in vain to certify the leading eigenvalue of a critic whose u decays."""


@dataclass(frozen=True)
class Glance:
    """What the monitor saw at one step.

    Attributes:
        step: Critic steps taken before it.
        rows: Number M of transitions.
        step_size: η of the sum loss, 2·lr/M.
        leading: The leading eigenvalue with its certificate, or None where none was certified and computing all
            of them would have cost too much.
        rayleigh: uᵀAu/uᵀu, the growth rate of ‖u‖ at this moment.
        growth: ‖(I + ηA)u‖/‖u‖, the growth of ‖u‖ that the next step should bring.
        alignment: Cosine between -Φᵀu and θ.
        td_norm: ‖u‖.
        seconds: What the reading cost.
    """

    step: int
    rows: int
    step_size: float
    leading: Leading | None
    rayleigh: float
    growth: float
    alignment: float
    td_norm: float
    seconds: float

    @property
    def rate(self) -> float | None:
        """ηλ, the growth per step in the leading mode; None without a certified eigenvalue."""
        return None if self.leading is None else self.step_size * self.leading.value.real


class Monitor:
    """Readings of one critic in training.

    Args:
        discount: γ in [0, 1].
        lr: Learning rate of the mean-squared loss over the critic's minibatch.
        dense_share: Largest share of the elapsed time that computing all eigenvalues may take; 1 computes them
            wherever there is no certificate without them, 0 never.
        clock: Seconds since any fixed moment.

    Raises:
        InputError: On a share outside [0, 1].

    Example:
        A fresh critic is healthy: its leading eigenvalue hides beside a far larger negative part.

        >>> import torch
        >>> from seem.networks import Critic, MLPConfig
        >>> critic = Critic(2, 1, MLPConfig(width=16), generator=torch.Generator().manual_seed(0))
        >>> x, x_next = torch.randn(2, 128, 3, generator=torch.Generator().manual_seed(1))
        >>> monitor = Monitor(discount=0.99, lr=3e-4, dense_share=1.0)
        >>> glance = monitor.read(critic, x, x_next, td_error=torch.ones(128), terminals=torch.zeros(128), step=0)
        >>> glance.leading.method, glance.rate < 1e-3
        ('dense', True)
    """

    def __init__(
        self, *, discount: float, lr: float, dense_share: float = 0.01, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        if not 0 <= dense_share <= 1:
            raise InputError(f"dense share {dense_share} is impossible: pass a number from 0 to 1")
        self.discount, self.lr, self.dense_share, self.clock = discount, lr, dense_share, clock
        self.begun, self.dense_seconds = clock(), 0.0
        self.dense_cost: dict[int, float] = {}
        self.previous: Leading | None = None
        self.pause = self.waiting = 0

    def read(
        self,
        critic: nn.Module,
        x: Inputs,
        x_next: Inputs,
        *,
        td_error: Float[Tensor, " M"],
        terminals: Float[Tensor, " M"],
        step: int,
    ) -> Glance | None:
        """Look at the critic.

        Args:
            critic: A module with one output per row, whose rows do not depend on each other.
            x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
            x_next: X* = (s', π(s')), likewise.
            td_error: u = f(X) - target, shape (M,).
            terminals: d, shape (M,).
            step: Critic steps taken so far.

        Returns:
            What was seen, or None when the critic's kernel has left the floating-point range.

        Raises:
            InputError: When the critic has several outputs, or couples the rows of a batch.
        """
        begun = self.clock()
        operator = operator_of(critic, x, x_next, discount=self.discount, terminals=terminals)
        matrix, error = (values.detach().to("cpu", torch.float64) for values in (operator.matrix(), td_error))
        if not torch.isfinite(torch.stack((matrix.norm(), error.norm()))).all():
            return None
        step_size = 2 * self.lr / len(error)
        rayleigh, growth = motion(matrix, error, step_size)
        glance = Glance(
            step=step,
            rows=len(error),
            step_size=step_size,
            leading=self._leading(matrix, growing=growth > 1),
            rayleigh=rayleigh,
            growth=growth,
            alignment=alignment(critic, x, td_error),
            td_norm=error.norm().item(),
            seconds=0.0,
        )
        return replace(glance, seconds=self.clock() - begun)

    def _leading(self, matrix: Tensor, *, growing: bool) -> Leading | None:
        found = self._attempt(matrix, growing=growing)
        if found is None and self._can_afford_all(matrix):
            found, seconds = self._all(matrix)
            self.dense_cost[len(matrix)] = seconds
            self.dense_seconds += seconds
        self.previous = found or self.previous
        return found

    def _attempt(self, matrix: Tensor, *, growing: bool) -> Leading | None:
        """Without all eigenvalues; after attempts in vain the next readings go without, save where u grows."""
        if self.waiting and not growing:
            self.waiting -= 1
            return None
        start = None if self.previous is None else self.previous.start
        found = attempt(matrix.numpy(), start=start if start is not None and len(start) == len(matrix) else None)
        self.pause = self.waiting = 0 if found else min(2 * self.pause + 1, LONGEST_PAUSE)
        return found

    def _can_afford_all(self, matrix: Tensor) -> bool:
        if self.dense_share in (0, 1):
            return self.dense_share == 1
        rows = len(matrix)
        if rows not in self.dense_cost:
            # Before the first time: from a corner of the matrix, by the cube of its size.
            corner = max(1, rows // 4)
            self.dense_cost[rows] = self._all(matrix[:corner, :corner])[1] * (rows / corner) ** 3
        return self.dense_seconds + self.dense_cost[rows] <= self.dense_share * (self.clock() - self.begun)

    def _all(self, matrix: Tensor) -> tuple[Leading, float]:
        begun = self.clock()
        return from_all_eigenvalues(matrix.numpy()), self.clock() - begun
