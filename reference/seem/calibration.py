r"""How far forecasts of the step at which mean \|Q\| leaves its bound were off, kept so that an interval can be made.

From runs that left the bound come the ratios *remaining steps, real over forecast*, by kind of training. An interval
for a new run takes their quantiles with each of K runs weighing 1/(K+1), shared by its forecasts, and the rest of the
weight beyond any number: conformal for runs drawn alike, with at least its level in the mean, and without an end where
K is too small for one. Runs that had a forecast and did not leave within their budget say how often a surge falls back.

Source: standard (split conformal prediction; a run's forecasts share its weight, as in hierarchical conformal
prediction, Lee, Barber and Willett 2023, recalled).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seem.checks import check_number
from seem.dynamics import Training
from seem.errors import InputError
from seem.files import canonical_json, read_bytes
from seem.locks import write_alone
from seem.step_rules import listed

FORMAT = 1
SHIPPED = Path(__file__).with_name("calibration.json")
"""The record that comes with the package, of `seem.calibrating.shipped_trainings`: one data set and one agent, so that
its intervals are a first guess elsewhere; make one of trainings like your own."""
LEAST_SHARE = 0.1
"""Forecasts count from this share of the bound on: before, Q is mostly what the rewards made it."""


@dataclass(frozen=True)
class Kind:
    """The record of one kind of training.

    Attributes:
        ratios: For every run that left the bound, real over forecast remaining steps of each of its forecasts.
        fell_back: Runs that had a forecast and stayed below the bound for their whole budget.
    """

    ratios: tuple[tuple[float, ...], ...] = ()
    fell_back: int = 0

    @property
    def runs(self) -> int:
        """Runs that had a forecast."""
        return len(self.ratios) + self.fell_back

    def multiples(self, level: float) -> tuple[float, float]:
        """What the remaining steps of a forecast are multiplied by, for the ends of an interval.

        Args:
            level: Share of runs that it is to hold, in (0, 1).

        Returns:
            Both factors; 0 and infinity where there are too few runs for an end.
        """
        check_number("level", level, above=0, below=1)
        pairs = sorted((ratio, 1 / len(run)) for run in self.ratios for ratio in run)
        values = np.array([ratio for ratio, _ in pairs])
        weights = np.cumsum([weight for _, weight in pairs]) / (len(self.ratios) + 1)
        tail = (1 - level) / 2
        # 1e-12: cumulated shares such as 19/20 round.
        above = np.nonzero(weights >= 1 - tail - 1e-12)[0]
        rest = 1 / (len(self.ratios) + 1)
        before = np.concatenate(([0.0], weights[:-1])) + rest if len(values) else np.zeros(0)
        below = np.nonzero(before <= tail + 1e-12)[0]
        return float(values[below[-1]]) if len(below) else 0.0, float(values[above[0]]) if len(above) else math.inf


@dataclass(frozen=True)
class Calibration:
    """Records by kind of training, and where they come from.

    Attributes:
        kinds: By the name that `kind_of` gives.
        source: The runs, in words: data, seeds, arms.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    source: str = ""

    def with_run(self, kind: str, forecasts: Iterable[tuple[int, float]], left_at: int | None) -> "Calibration":
        """This record and one more run.

        Args:
            kind: What `kind_of` says of it.
            forecasts: The step of every forecast that counts, and the step that it named.
            left_at: The first step at which mean |Q| was past the bound; None when it never was.

        Returns:
            A new record; a run without a finite forecast before it left changes nothing.
        """
        made = [(step, named) for step, named in forecasts if math.isfinite(named)]
        old = self.kinds.get(kind, Kind())
        if left_at is None:
            new = Kind(old.ratios, old.fell_back + 1) if made else old
        else:
            pairs = [(left_at - step, named - step) for step, named in made if step < left_at and named > step]
            ratios = tuple(real / said for real, said in pairs)
            new = Kind((*old.ratios, ratios), old.fell_back) if ratios else old
        return Calibration({**self.kinds, kind: new} if new.runs else self.kinds, self.source)

    def write(self, path: Path) -> None:
        """Write a small JSON file.

        Raises:
            InputError: When it cannot be written.
        """
        kinds = {
            name: {"fell_back": kind.fell_back, "ratios": [[float(f"{r:.4g}") for r in run] for run in kind.ratios]}
            for name, kind in self.kinds.items()
        }
        write_alone(path, canonical_json({"format": FORMAT, "source": self.source, "kinds": kinds}) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Read what `write` wrote.

        Raises:
            InputError: When the file cannot be read or is no such record.
        """
        try:
            found = json.loads(read_bytes(path))
            kinds = {str(name): _kind(value) for name, value in found["kinds"].items()}
            made, number = cls(kinds, str(found["source"])), found["format"]
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no record of calibration ({error}): pass one of Calibration.write") from error
        if number != FORMAT:
            raise InputError(f"{path} is no record of calibration of this version (format {number}): make it again")
        return made


def _kind(value: Any) -> Kind:
    ratios = tuple(tuple(float(ratio) for ratio in run) for run in value["ratios"])
    fell_back = int(value["fell_back"])
    if fell_back < 0 or not all(run and all(ratio > 0 and math.isfinite(ratio) for ratio in run) for run in ratios):
        raise ValueError("a ratio is not positive")
    return Kind(ratios, fell_back)


def calibrate(
    lines: Sequence[Any], sizes: Sequence[float], *, bound: float | int
) -> tuple[list[tuple[int, float]], int | None]:
    """What one recorded run gives a calibration: its forecasts that count, and when it left the bound.

    Args:
        lines: Its `seem.leaving.Leaving`, in order.
        sizes: Mean |Q| before every step, from step 0 on, as the first column of a run's trace.
        bound: What mean |Q| must not pass.

    Returns:
        What `Calibration.with_run` takes: forecasts made below the bound and at `LEAST_SHARE` of it or more, and the
        first step whose |Q| is past the bound or not finite.
    """
    values = np.asarray(sizes, dtype=np.float64)
    past = np.nonzero(~(values <= bound))[0]
    left_at = int(past[0]) if len(past) else None
    counted = [(line.step, line.leaves_at) for line in lines if line.mean_abs_q >= LEAST_SHARE * bound]
    return [(step, named) for step, named in counted if left_at is None or step < left_at], left_at


def kind_of(training: Training) -> str:
    """The kind of training that a record is of: its optimiser and the rule of its targets.

    Args:
        training: How the critics are trained.

    Example:
        >>> kind_of(Training(discount=0.99, lr=1e-3))
        'SGD, copied targets'
    """
    names = sorted({type(one).__name__ for one in listed(training.optimizer)}) if training.optimizer else ["SGD"]
    momentum = any(group.get("momentum") for group in training.groups())
    targets = "frozen" if training.target_rate == 0 else "copied" if training.target_rate == 1 else "averaged"
    return f"{' and '.join(names)}{' with momentum' if momentum else ''}, {targets} targets"
