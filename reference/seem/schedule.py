"""When a watch reads, and when it copies the parameters before: every so many steps, or at a share of the time."""

from collections.abc import Callable

from seem.checks import check_integer, check_number
from seem.drift import FEWEST_STEPS, WINDOW
from seem.errors import InputError

SHARE = 0.03
"""Share of the time that a watch takes when it is told nothing else."""


class Schedule:
    """Readings every so many steps, or as often as their share of the time allows.

    Args:
        every: Steps from one reading to the next, or None.
        share: Largest share of the elapsed time that whole readings may take, in (0, 1], or None.
        clock: Seconds since any fixed moment.

    Raises:
        InputError: On both, or an impossible number.
    """

    def __init__(self, every: int | None, share: float | int | None, clock: Callable[[], float]) -> None:
        if every is not None and share is not None:
            raise InputError("every and share are both given: pass one, the steps or the share of the time")
        self.every = None if every is None else check_integer("every", every, 1)
        self.share = check_number("share", SHARE if share is None else share, above=0, most=1)
        self.clock, self.begun, self.seconds, self.dearest = clock, clock(), 0.0, 0.0
        self.window = WINDOW if every is None else max(FEWEST_STEPS, min(WINDOW, every // 2))
        self.last: int | None = None
        self.next: int | None = None

    def due(self, step: int) -> bool:
        """Whether a reading is due: at the first step, then where a multiple of ``every`` was reached.

        With a share a reading is planned once one as dear as the dearest so far fits, two windows ahead.

        Raises:
            InputError: When steps run backwards.
        """
        if self.last is None:
            return True
        self.check(step)
        if self.every is None and self.next is None and self._affordable():
            self.next = step + 2 * self.window
        return self.next is not None and step >= self.next

    def wants_copy(self, step: int, copied: int) -> bool:
        """Whether the parameters should be copied now.

        Args:
            step: Steps taken so far.
            copied: The step of the last copy.
        """
        if self.next is None:
            return False
        first = self.next - 2 * self.window
        return step >= first and (copied < first or step - copied >= self.window)

    def check(self, step: int) -> None:
        """Refuse steps that run backwards.

        Raises:
            InputError: On such a step.
        """
        if self.last is not None and step < self.last:
            raise InputError(
                f"step {step} comes before step {self.last}, which was read: make a new watch for a new training"
            )

    def done(self, step: int, seconds: float) -> None:
        """Count a reading.

        Args:
            step: Where it was taken.
            seconds: What it cost.
        """
        self.last = step
        self.next = None if self.every is None else (step // self.every + 1) * self.every
        self.seconds, self.dearest = self.seconds + seconds, max(self.dearest, seconds)

    def _affordable(self) -> bool:
        return self.seconds + self.dearest <= self.share * (self.clock() - self.begun)
