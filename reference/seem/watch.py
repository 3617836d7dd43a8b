"""A watch over somebody's training: readings on the way, and an alarm before mean |Q| leaves what can be earned."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seem.alarms import OVERFLOWS, Alarm, AlarmError, AlarmWarning, Kind, describe, kind_of_alarm, remedies
from seem.batches import tensors, thinned
from seem.bounded import BoundedSolver
from seem.calibration import Calibration
from seem.checks import check_integer, check_number
from seem.drift import FEWEST_STEPS, Drift, Trail, drift_of_optimizer, parameters_of
from seem.dynamics import Training
from seem.earned import Earned, diverged
from seem.errors import InputError
from seem.isolation import untouched
from seem.joint import Backup
from seem.leaving import Leaving, leaving
from seem.lookahead import look_ahead
from seem.paths import user_path
from seem.reading import read
from seem.reading_result import Reading
from seem.schedule import Schedule
from seem.trees import Outputs, leaves
from seem.watch_entry import Entry, entry_of
from seem.watch_history import HistoryFile

OnAlarm = str | Callable[[Alarm], Any]
WAYS = ("warn", "stop", "raise")
AHEAD = 10
"""Horizons that are looked ahead: a forecast is shown long before it is an alarm."""


class Watch:
    """Readings of critics during a training, of which no bit changes, and three alarms.

    *Not finite*: values, kernel or TD errors have overflowed. *Past what can be earned*: mean |Q| is above the bound.
    *About to leave*: the critics excite themselves, by the gate of the optimiser that trains, and the look-ahead along
    their drift passes the bound within the horizon; the time that is stated takes the growth of the steps into account.
    SEEM above zero alone is never an alarm. How often these alarms are false or late has not been measured yet.

    Args:
        training: How the critics are trained; with the live optimiser the gate is the optimiser's own.
        every: Critic steps from one reading to the next.
        share: Instead of it, the largest share of the time that readings may take; .03 where neither is given.
        rows: Rows of a batch that are read at most, evenly spaced.
        bound: What mean |Q| must not pass; without it max |r|/(1-γ) of all rewards seen.
        horizon: Steps within which leaving it is an alarm.
        on_alarm: "warn", "stop" (`Watch.stop` is true from then on), "raise" (`seem.alarms.AlarmError`), or a function
            of the `seem.alarms.Alarm`; told when a kind of alarm begins, not again while it lasts.
        file: Where a history is kept, a line of JSON a reading, or None.
        calibration: A record of earlier forecasts, for an interval of the stated time.
        dense_share: Largest share of the time that computing all eigenvalues may take.
        clock: Seconds since any fixed moment.

    Raises:
        InputError: On something impossible, or when nothing bounds |Q|.

    Example:
        >>> critic = torch.nn.Linear(3, 1)
        >>> optimiser = torch.optim.Adam(critic.parameters())
        >>> watch = Watch(training=Training(discount=0.9, optimizer=optimiser), every=100, on_alarm="stop")
        >>> rows = {"observations": torch.ones(4, 2), "actions": torch.ones(4, 1), "rewards": torch.ones(4)}
        >>> rows |= {"next_observations": torch.zeros(4, 2), "next_actions": torch.zeros(4, 1)}
        >>> for step in range(150):
        ...     if watch.due(step):
        ...         entry = watch.read(critic, rows, step)
        >>> len(watch.history), round(entry["bound"], 6), watch.stop
        (2, 10.0, False)
    """

    def __init__(
        self,
        *,
        training: Training,
        every: int | None = None,
        share: float | int | None = None,
        rows: int = 128,
        bound: float | int | None = None,
        horizon: float | int = 100,
        on_alarm: OnAlarm = "warn",
        file: str | Path | None = None,
        calibration: Calibration | None = None,
        dense_share: float | int = 0.01,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not callable(on_alarm) and on_alarm not in WAYS:
            raise InputError(f'on_alarm {on_alarm!r} is unknown: pass "warn", "stop", "raise" or a function')
        self.rows = check_integer("rows", rows, 1)
        self.horizon = check_number("horizon", horizon, least=1)
        self.earned = Earned(bound, training.discount)
        self.training, self.on_alarm, self.calibration = training, on_alarm, calibration
        self.schedule, self.solver = Schedule(every, share, clock), BoundedSolver(dense_share=dense_share, clock=clock)
        self.clock, self.file = clock, HistoryFile(None if file is None else user_path(file))
        self.history: list[Entry] = []
        self.alarm: Alarm | None = None
        self._stop = False
        self._lasting: Kind | None = None
        self._trail: Trail | None = None
        self._copied = -FEWEST_STEPS
        self._said: set[str] = set()
        self._to_say: list[str] = []

    @property
    def stop(self) -> bool:
        """Whether an alarm has asked to stop."""
        return self._stop

    def due(self, step: int) -> bool:
        """Whether to read at this step; some steps before a reading the parameters are copied.

        Args:
            step: Critic steps taken so far.

        Raises:
            InputError: When steps run backwards.
        """
        if self.schedule.due(step):
            return True
        if self._trail is not None and self.schedule.wants_copy(step, self._copied):
            self._copy(step)
        return False

    def read(
        self,
        critics: Any,
        batch: Any,
        step: int,
        *,
        policy: Any = None,
        next_actions: Any = None,
        target_critics: Any = None,
        backup: Backup = "min",
        outputs: Outputs = None,
        bound: float | int | None = None,
    ) -> Entry:
        """Look at the critics, in float64 and without touching them or any random generator.

        Args:
            critics: See `seem.read`, as for all that follow.
            batch: Transitions of any number; at most ``rows`` of them are read.
            step: Critic steps taken so far.
            policy: Gives π(s').
            next_actions: π(s') outright.
            target_critics: Whose values the targets are made of.
            backup: How several critics make one target.
            outputs: Picks the critics' values.
            bound: For this reading, where what can be earned changes, as with rewards whose scale moves.

        Returns:
            Numbers for a logger; what is not known is left out (`seem.watch_entry`).

        Raises:
            InputError: At the first reading when something is impossible or missing. Later that is said in a warning.
                A critic that has diverged is none of it: it gives an alarm.
            AlarmError: With ``on_alarm="raise"``.
        """
        begun = self.clock()
        self.schedule.check(check_integer("step", step, 0))
        options = {"policy": policy, "target_critics": target_critics, "backup": backup, "outputs": outputs}
        with untouched():
            entry, alarm = self._noted(critics, batch, next_actions, step, bound, options)
            new = alarm is not None and alarm.kind != self._lasting
            self._lasting = None if alarm is None else alarm.kind
            self.alarm = alarm or self.alarm
            entry["seconds"] = self.clock() - begun
            self.schedule.done(step, entry["seconds"])
            self.history.append(entry)
            if (failure := self.file.append(entry, alarm if new else None)) is not None:
                self._say(f"the watch keeps no history any more, and training goes on: {failure}")
        for text in self._to_say:
            warnings.warn(text, stacklevel=2)
        self._to_say.clear()
        if new and alarm is not None:
            self._tell(alarm)
        return entry

    def _noted(
        self,
        critics: Any,
        batch: Any,
        next_actions: Any,
        step: int,
        bound: float | int | None,
        options: dict[str, Any],
    ) -> tuple[Entry, Alarm | None]:
        """An entry and its alarm, whatever has become of the critics."""
        reading = said = limit = None
        kind: Kind | None = None
        rows: Any = batch
        try:
            rows = batch if critics is None else self._thinned(batch, next_actions)
            limit = self.earned.bound(batch, bound)
            if limit is None:
                self._say("all rewards so far are 0, so that what can be earned is unknown: pass bound to the watch")
            reading, said = self._look(critics, rows, step, limit, options)
            kind = kind_of_alarm(reading, said, bound=limit, horizon=self.horizon)
        except (InputError, *OVERFLOWS) as error:
            if diverged(critics, options["policy"], options["target_critics"], rows):
                kind = "not finite"
            elif isinstance(error, InputError) and not self.history:
                raise
            else:
                self._say(f"the watch could not read at step {step} and training goes on: {error}")
        alarm = None if kind is None else self._alarm(kind, step, reading, said, limit, critics)
        return entry_of(step, reading, said, limit, kind), alarm

    def _look(
        self, critics: Any, rows: Any, step: int, limit: float | None, options: dict[str, Any]
    ) -> tuple[Reading, Leaving | None]:
        """A reading, and when mean |Q| leaves its bound; the optimiser's dear gate only where that is near."""
        options = options | {"training": self.training, "step": step}
        reading = read(critics, rows, **options, solver=self.solver)
        drift = None if critics is None or limit is None or reading.overflowed else self._drift(critics, step)
        if drift is None or limit is None or reading.mean_abs_q is None or reading.mean_abs_q > limit:
            return reading, None
        line = {"drift": drift, "bound": limit, "horizon": AHEAD * self.horizon, "outputs": options["outputs"]}
        ahead = look_ahead(critics, rows, step=step, **line)
        if ahead.crossing <= self.horizon and self._gate_is_the_optimisers():
            reading = self._with_optimiser(critics, rows, reading, options)
        settings = {"ahead": ahead, "training": self.training, "calibration": self.calibration}
        return reading, leaving([reading], step=step, **settings)

    def _gate_is_the_optimisers(self) -> bool:
        return self.training.optimizer is not None and self.training.why_not_plain() is not None

    def _with_optimiser(self, critics: Any, rows: Any, plain: Reading, options: dict[str, Any]) -> Reading:
        """The same reading with the optimiser's step linearised, where it can be."""
        try:
            return read(critics, rows, **options, solver=lambda matrix, growing: plain.bounds, with_optimiser=True)
        except (InputError, *OVERFLOWS) as error:
            self._say(f"the gate is the sign of SEEM, as the optimiser's step cannot be linearised: {error}")
            return plain

    def _thinned(self, batch: Any, next_actions: Any) -> dict[str, Any]:
        made = thinned(batch, self.rows, next_actions)
        for name in ("discount", "row_weights"):
            values = getattr(self.training, name)
            count = 1 if values is None else torch.as_tensor(values).numel()
            parts = leaves(tensors(made.get("observations", made.get("x")), "observations"))
            if count > 1 and parts and len(parts[0]) != count:
                raise InputError(
                    f"training has {count} numbers of {name}, but {len(parts[0])} rows are read: pass a batch of as "
                    f"many rows, at most rows={self.rows}"
                )
        return made

    def _drift(self, critics: Any, step: int) -> Drift | None:
        """From copies some steps apart, else from the optimiser's memory, else None."""
        if self._trail is None or {*map(id, self._trail.parameters.values())} != {
            *map(id, parameters_of(critics).values())
        }:
            self._trail, self._copied = Trail(critics), step - FEWEST_STEPS
        if step - self._copied >= FEWEST_STEPS:
            self._copy(step)
        if self._copied == step and len(self._trail.notes) > 1:
            return self._trail.drift()
        try:
            return None if self.training.optimizer is None else drift_of_optimizer(self.training.optimizer, critics)
        except InputError:  # no memory, or no step yet
            return None

    def _copy(self, step: int) -> None:
        assert self._trail is not None
        self._trail.note(step)
        self._copied = step

    def _alarm(
        self, kind: Kind, step: int, reading: Reading | None, said: Leaving | None, limit: float | None, critics: Any
    ) -> Alarm:
        text = describe(kind, step, reading, said, limit)
        told = () if kind == self._lasting else remedies(reading, self.training, critics)
        if told:
            text += ". What to do: " + "; or ".join(told) + "."
        at = None if said is None or not said.leaves_at < float("inf") else said.leaves_at
        return Alarm(kind, step, text, at, told)

    def _tell(self, alarm: Alarm) -> None:
        if callable(self.on_alarm):
            self.on_alarm(alarm)
        elif self.on_alarm == "raise":
            raise AlarmError(alarm)
        elif self.on_alarm == "stop":
            self._stop = True
        else:
            warnings.warn(alarm.text, AlarmWarning, stacklevel=3)

    def _say(self, text: str) -> None:
        """Warn once, at the end of the reading."""
        cause = text.split(":", 1)[-1]
        if cause not in self._said:
            self._said.add(cause)
            self._to_say.append(text)
