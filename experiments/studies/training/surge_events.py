"""The event study behind verify_surge: when each signal rises, and how well it tells what is about to diverge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from studies.shared.declaration import read_declaration
from studies.shared.runs import RISEN, KeptRun, before_divergence, column

from seem.statistics import Interval, bootstrap_interval, precision_at, roc_auc

Series = NDArray[np.float64]
_THRESHOLDS = read_declaration("surge").thresholds
HORIZON: int = _THRESHOLDS["horizon"]
"""Steps ahead that a signal is asked about."""
TREND: int = _THRESHOLDS["trend"]
"""Readings over which a trend is taken."""
RESAMPLES: int = _THRESHOLDS["resamples"]
MAJORITY: float = _THRESHOLDS["majority"]
"""Share of the alarms that a divergence has to follow."""


def _trend(run: KeptRun) -> Series:
    """Growth of ln ‖u‖ over the last readings; fewer at the start."""
    logs = np.log(np.maximum(column(run, "td_norm"), 1e-300))
    before = np.maximum(np.arange(len(logs)) - TREND, 0)
    return logs - logs[before]


SIGNALS: dict[str, Callable[[KeptRun], Series]] = {
    "SEEM": lambda run: column(run, "leading"),
    "normalised SEEM": lambda run: column(run, "normalised"),
    "Rayleigh quotient": lambda run: column(run, "rayleigh"),
    "numerical abscissa": lambda run: column(run, "numerical_abscissa"),
    "spectral gap": lambda run: column(run, "leading") - column(run, "second"),
    "condition number": lambda run: -column(run, "reciprocal_condition"),
    "kernel norm": lambda run: column(run, "kernel_norm"),
    "|Q|": lambda run: column(run, "mean_abs_q"),
    "TD loss": lambda run: column(run, "td_norm"),
    "TD loss trend": _trend,
    "gradient norm": lambda run: column(run, "gradient_norm"),
    "weight norm": lambda run: column(run, "parameter_norm"),
    "action saturation": lambda run: column(run, "action_saturation"),
}
THEORY = ("SEEM", "normalised SEEM", "Rayleigh quotient", "numerical abscissa", "spectral gap", "condition number")
BASELINES = tuple(name for name in SIGNALS if name not in THEORY)


@dataclass(frozen=True)
class Rise:
    """When a diverging run's signals rose.

    Attributes:
        seem: First reading from which normalised SEEM stays above a tenth until the divergence; None when it never
            does.
        q: First reading at which mean |Q| exceeds a tenth of what any policy can have; the divergence without one.
        divergence: First step at which it exceeds all of that.
    """

    seem: int | None
    q: int
    divergence: int


def rise(run: KeptRun) -> Rise | None:
    """The rise of a diverging run's signals; None for another run, or without a reading before its divergence."""
    divergence, steps = run["divergence_step"], np.array(run["read_at"][: before_divergence(run)])
    if divergence is None or not len(steps):
        return None
    low = np.flatnonzero(column(run, "normalised")[: len(steps)] <= RISEN)
    since = int(low[-1]) + 1 if len(low) else 0
    risen = steps[column(run, "mean_abs_q")[: len(steps)] > RISEN * run["bound"]]
    return Rise(
        int(steps[since]) if since < len(steps) else None, int(risen[0]) if len(risen) else divergence, divergence
    )


def labelled(run: KeptRun) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which readings can be judged, and which of these precede a divergence within the horizon.

    A reading after the divergence is none; one closer than the horizon to a censored end has no answer.
    """
    steps = np.array(run["read_at"])
    if run["divergence_step"] is None:
        known = steps + HORIZON <= run["steps"]
        return known, np.zeros(int(known.sum()), dtype=bool)
    known = steps < run["divergence_step"]
    return known, run["divergence_step"] - steps[known] <= HORIZON


def pooled(runs: Sequence[KeptRun], signal: str) -> tuple[Series, NDArray[np.bool_]]:
    """Scores and labels of all readings of several runs that can be judged."""
    scores, labels = [], []
    for run in runs:
        known, will = labelled(run)
        scores.append(SIGNALS[signal](run)[known])
        labels.append(will)
    return np.concatenate(scores), np.concatenate(labels)


def auc_table(runs: Sequence[KeptRun], seed: int = 0) -> dict[str, Interval | None]:
    """ROC-AUC of every signal for "diverges within the horizon".

    Args:
        runs: Kept runs, two or more, of one cell or of several.
        seed: Of the bootstrap, which draws whole runs: readings of one run are not independent.

    Returns:
        By signal, with a 95 % interval; None where all readings have the same answer.
    """
    return {signal: _auc([pooled([run], signal) for run in runs], seed) for signal in SIGNALS}


def _auc(parts: list[tuple[Series, NDArray[np.bool_]]], seed: int) -> Interval | None:
    def area(indices: Series) -> float:
        chosen = [parts[int(index)] for index in indices]
        value = roc_auc(np.concatenate([p[0] for p in chosen]), np.concatenate([p[1] for p in chosen]))
        return 0.5 if value is None else value  # a resample of one kind of runs ranks nothing

    def areas(indices: Series, axis: int) -> Series:
        return np.apply_along_axis(area, axis, indices)

    every = np.arange(len(parts), dtype=np.float64)
    labels = np.concatenate([part[1] for part in parts])
    if labels.all() or not labels.any():
        return None
    return bootstrap_interval(every, np.random.default_rng(seed), statistic=areas, resamples=RESAMPLES)


def precision_and_recall(runs: Sequence[KeptRun], threshold: float) -> tuple[float | None, float | None]:
    """Of normalised SEEM above a threshold as an alarm: how often a divergence follows, how many it catches.

    Args:
        runs: Kept runs.
        threshold: What normalised SEEM has to exceed.
    """
    scores, labels = pooled(runs, "normalised SEEM")
    alarms = (scores > threshold).astype(np.float64)
    return precision_at(alarms, labels, 1.0), float(alarms[labels].mean()) if labels.any() else None
