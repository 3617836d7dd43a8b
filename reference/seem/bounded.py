"""The leading eigenvalue at a bounded share of the elapsed time.

Every reading tries to certify it by `seem.enclosure`. Where that cannot be done all eigenvalues are computed, but only
as often as their share of the time allows; other readings come with bounds of it.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seem.checks import check_number
from seem.enclosure import Enclosure, enclose
from seem.leading import Leading, from_all_eigenvalues

LONGEST_PAUSE = 7
"""Readings at most between two attempts in vain to certify the leading eigenvalue of a critic whose u decays."""


class BoundedSolver:
    """A solver for `seem.read` that keeps its cost within a share of the time since it was made.

    Args:
        dense_share: Largest share of the elapsed time that computing all eigenvalues may take; 1 computes them
            wherever there is no certificate without them, 0 never.
        clock: Seconds since any fixed moment.

    Raises:
        InputError: On a share outside [0, 1].

    Example:
        A matrix whose leading eigenvalue hides beside a far larger negative part is told by all eigenvalues alone.

        >>> matrix = np.diag([1.0, *np.linspace(-100, -1, 99)])
        >>> BoundedSolver(dense_share=1.0)(matrix, False).leading.method
        'dense'
        >>> bounds = BoundedSolver(dense_share=0.0)(matrix, False)
        >>> bounds.leading is None, bounds.excited
        (True, True)
    """

    def __init__(self, *, dense_share: float | int = 0.01, clock: Callable[[], float] = time.perf_counter) -> None:
        self.dense_share, self.clock = check_number("dense_share", dense_share, least=0, most=1), clock
        self.begun, self.dense_seconds = clock(), 0.0
        self.dense_cost: dict[int, float] = {}
        self.previous: Leading | None = None
        self.pause = self.waiting = 0

    def __call__(self, matrix: NDArray[np.float64], growing: bool) -> Enclosure | None:
        """Bound the leading eigenvalue, or certify it.

        Args:
            matrix: A, square and finite, shape (M, M), float64.
            growing: Whether ‖u‖ is growing.

        Returns:
            The bounds; None where they were left out after attempts in vain.
        """
        bounds = self._attempt(matrix, growing=growing)
        if (bounds is None or bounds.leading is None) and self._can_afford_all(matrix):
            found, seconds = self._all(matrix)
            self.dense_cost[len(matrix)] = seconds
            self.dense_seconds += seconds
            bounds = Enclosure(found.value.real, found.value.real, found)
        self.previous = (None if bounds is None else bounds.leading) or self.previous
        return bounds

    def _attempt(self, matrix: NDArray[np.float64], *, growing: bool) -> Enclosure | None:
        """Without all eigenvalues; after attempts in vain the next readings go without, save where u grows."""
        if self.waiting and not growing:
            self.waiting -= 1
            return None
        start = None if self.previous is None else self.previous.start
        bounds = enclose(matrix, start=start if start is not None and len(start) == len(matrix) else None)
        told = bounds.leading is not None or bounds.excited is not None
        self.pause = self.waiting = 0 if told else min(2 * self.pause + 1, LONGEST_PAUSE)
        return bounds

    def _can_afford_all(self, matrix: NDArray[np.float64]) -> bool:
        if self.dense_share in (0, 1):
            return self.dense_share == 1
        rows = len(matrix)
        if rows not in self.dense_cost:
            # Before the first time: from a corner of the matrix, by the cube of its size.
            corner = max(1, rows // 4)
            self.dense_cost[rows] = self._all(matrix[:corner, :corner])[1] * (rows / corner) ** 3
        return self.dense_seconds + self.dense_cost[rows] <= self.dense_share * (self.clock() - self.begun)

    def _all(self, matrix: NDArray[np.float64]) -> tuple[Leading, float]:
        begun = self.clock()
        return from_all_eigenvalues(matrix), self.clock() - begun
