"""A monitor that reads a critic while it trains, at a bounded share of the training time.

Every reading tries to certify the leading eigenvalue by `seem.leading`. Where that cannot be done all eigenvalues
are computed, but only as often as their share of the elapsed time allows; other readings come with bounds of it. When
the next reading fits into the share as a whole, `Monitor.due` says.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from seem.dynamics import Numbers, check_discount, check_learning_rate
from seem.enclosure import Enclosure, enclose
from seem.errors import InputError
from seem.heading import heading
from seem.isolation import untouched
from seem.leading import Leading, from_all_eigenvalues
from seem.ntk import read_kernel
from seem.rates import motion
from seem.raw_form import check_error, check_one_critic, check_rows_of
from seem.spectrum import seem_matrix
from seem.trees import Tree

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
        bounds: What the leading eigenvalue's real part lies between; both are it where it was certified. None where
            bounding it was left out too, after attempts in vain.
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
    bounds: Enclosure | None
    rayleigh: float
    growth: float
    alignment: float
    td_norm: float
    seconds: float

    @property
    def rate(self) -> float | None:
        """ηλ, the growth per step in the leading mode; None without a certified eigenvalue."""
        return None if self.leading is None else self.step_size * self.leading.value.real

    @property
    def excited(self) -> bool | None:
        """Whether a mode excites itself; None where undetermined, which a gate should take for yes."""
        return None if self.bounds is None else self.bounds.excited


class Monitor:
    """Readings of one critic in training.

    Args:
        discount: γ in [0, 1], one number or one per row.
        lr: Learning rate of the mean-squared loss over the critic's minibatch.
        share: Largest share of the elapsed time that whole readings may take, by `due`.
        dense_share: Largest share of the elapsed time that computing all eigenvalues may take; 1 computes them
            wherever there is no certificate without them, 0 never.
        clock: Seconds since any fixed moment.

    Raises:
        InputError: On a share outside [0, 1], or an impossible γ or learning rate.

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
        self,
        *,
        discount: Numbers,
        lr: float,
        share: float = 0.05,
        dense_share: float = 0.01,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        for name, value in (("share", share), ("dense share", dense_share)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} {value} is impossible: pass a number from 0 to 1")
        check_discount(discount)
        check_learning_rate(lr)
        self.discount, self.lr, self.share, self.dense_share, self.clock = discount, lr, share, dense_share, clock
        self.begun, self.dense_seconds, self.seconds, self.dearest = clock(), 0.0, 0.0, 0.0
        self.dense_cost: dict[int, float] = {}
        self.previous: Leading | None = None
        self.pause = self.waiting = 0

    def due(self) -> bool:
        """Whether a reading as dear as the dearest so far still fits into the share; true before the first."""
        return self.seconds == 0 or self.seconds + self.dearest <= self.share * (self.clock() - self.begun)

    def read(
        self, critic: nn.Module, x: Tree, x_next: Tree, *, td_error: Tensor, terminals: Tensor, step: int
    ) -> Glance | None:
        """Look at the critic, in float64 and without touching it.

        Args:
            critic: A module with one output per row, whose rows do not depend on each other.
            x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
            x_next: X* = (s', π(s')), likewise.
            td_error: u = f(X) - target, shape (M,) or (M, 1).
            terminals: d, likewise.
            step: Critic steps taken so far.

        Returns:
            What was seen, or None when the critic's kernel has left the floating-point range.

        Raises:
            InputError: When the critic cannot be read, or the rows are impossible.
        """
        with untouched():
            begun = self.clock()
            error, discounts, ends = check_rows_of(x, x_next, td_error, terminals, self.discount)
            kernel = read_kernel(critic, x, x_next, dtype=torch.float64)
            check_one_critic(kernel)
            check_error(error, kernel)
            gram, gram_next = (block[0, 0].to("cpu") for block in (kernel.blocks.gram, kernel.blocks.gram_next))
            matrix = seem_matrix(gram.double(), gram_next.double(), discounts, ends)
            if not torch.isfinite(torch.stack((matrix.norm(), error.norm()))).all():
                return None
            step_size = 2 * self.lr / len(error)
            rayleigh, growth = motion(matrix, error, step_size)
            leading, bounds = self._leading(matrix, growing=growth > 1)
            glance = Glance(
                step=step,
                rows=len(error),
                step_size=step_size,
                leading=leading,
                bounds=bounds,
                rayleigh=rayleigh,
                growth=growth,
                alignment=heading(kernel, error[None])[0][0],
                td_norm=error.norm().item(),
                seconds=0.0,
            )
            spent = self.clock() - begun
            self.seconds, self.dearest = self.seconds + spent, max(self.dearest, spent)
            return replace(glance, seconds=spent)

    def _leading(self, matrix: Tensor, *, growing: bool) -> tuple[Leading | None, Enclosure | None]:
        bounds = self._attempt(matrix, growing=growing)
        found = None if bounds is None else bounds.leading
        if found is None and self._can_afford_all(matrix):
            found, seconds = self._all(matrix)
            self.dense_cost[len(matrix)] = seconds
            self.dense_seconds += seconds
            bounds = Enclosure(found.value.real, found.value.real, found)
        self.previous = found or self.previous
        return found, bounds

    def _attempt(self, matrix: Tensor, *, growing: bool) -> Enclosure | None:
        """Without all eigenvalues; after attempts in vain the next readings go without, save where u grows."""
        if self.waiting and not growing:
            self.waiting -= 1
            return None
        start = None if self.previous is None else self.previous.start
        bounds = enclose(matrix.numpy(), start=start if start is not None and len(start) == len(matrix) else None)
        told = bounds.leading is not None or bounds.excited is not None
        self.pause = self.waiting = 0 if told else min(2 * self.pause + 1, LONGEST_PAUSE)
        return bounds

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
