"""Which signal tells best that mean |Q| leaves its bound within a hundred steps: look-ahead, gate, and their rivals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from studies.optimiser.runs import FAR, THRESHOLDS
from studies.shared.ranking import Alarms, Ranking, Scored, Series, alarms, over_runs, ranking, scored
from studies.shared.runs import ZERO, KeptRun, column, groups
from studies.shared.verdicts import LEAST_PAIRS, Outcome, Verdict, in_words, side

from seem.statistics import Interval

Signal = Callable[[KeptRun], Series]
HORIZON = FAR
RECALL: float = THRESHOLDS["recall"]
AREA: float = THRESHOLDS["area"]
PRECISION: float = THRESHOLDS["precision"]
RESAMPLES: int = THRESHOLDS["resamples"]
FITTED = 3
"""Readings that a line through |Q| is fitted to."""


def steps_to_bound(run: KeptRun, scale: Callable[[Series, int], Series]) -> Series:
    """Steps until the line through the last three readings of scaled |Q| passes the scaled bound.

    Args:
        run: A kept run.
        scale: From |Q| and L to what grows as a line.

    Returns:
        One number a reading: 0 past the bound; infinity where the line falls, and at the first two readings.
    """
    values = scale(np.maximum(column(run, "mean_abs_q"), 1e-300), run["depth"])
    bound = float(scale(np.array([run["bound"]]), run["depth"])[0])
    steps = np.array(run["read_at"], dtype=np.float64)
    found = np.full(len(values), np.inf)
    for place in range(FITTED - 1, len(values)):
        times, own = (part[place - FITTED + 1 : place + 1] for part in (steps - steps[place], values))
        apart = times - times.mean()
        slope = (apart @ own) / (apart @ apart)
        now = own.mean() - slope * times.mean()
        if np.isnan(slope):
            found[place] = np.nan
        elif now >= bound:
            found[place] = 0.0
        elif slope > 0:
            found[place] = (bound - now) / slope
    return found


def gated(signal: Signal, gate: Signal) -> Signal:
    """A signal that is silent where a gate is 0; where the gate is no number, neither is the signal."""

    def through(run: KeptRun) -> Series:
        opened = gate(run)
        return np.where(np.isnan(opened), np.nan, np.where(opened > 0, signal(run), -np.inf))

    return through


def excited(run: KeptRun) -> Series:
    """At which readings a mode excites itself under the optimiser, as 1 or 0."""
    return column(run, "gate")


def seem_positive(run: KeptRun) -> Series:
    """At which readings SEEM is above zero, by more than rounding, as 1 or 0."""
    normalised = column(run, "normalised")
    return np.where(np.isnan(normalised), np.nan, normalised > ZERO)


def look_ahead(run: KeptRun) -> Series:
    """The plain crossing, sooner is larger."""
    return -column(run, "crossing")


def _power(run: KeptRun) -> Series:
    return -steps_to_bound(run, lambda q, depth: q ** (1 / depth))


def _td_loss(run: KeptRun) -> Series:
    sizes = np.array(run["td_norm"], dtype=np.float64)
    return sizes[np.array(run["read_at"], dtype=np.int64) // run["reading_interval"]]


BEST = "the gated look-ahead"
SIGNALS: dict[str, Signal] = {
    BEST: gated(look_ahead, excited),
    "the look-ahead alone": look_ahead,
    "the look-ahead where SEEM > 0": gated(look_ahead, seem_positive),
    "|Q| as t^L": _power,
    "|Q| as t^L, gated": gated(_power, excited),
    "|Q| as a line": lambda run: -steps_to_bound(run, lambda q, _: q),
    "|Q| as an exponential": lambda run: -steps_to_bound(run, lambda q, _: np.log(q)),
    "SEEM": lambda run: column(run, "leading"),
    "numerical abscissa": lambda run: column(run, "numerical_abscissa"),
    "kernel norm": lambda run: column(run, "kernel_norm"),
    "TD loss": _td_loss,
    "|Q| over its bound": lambda run: column(run, "mean_abs_q") / run["bound"],
}
RIVALS = tuple(name for name in SIGNALS if name != BEST)
FAMILIES: Mapping[str, tuple[str, ...]] = {"Adam": ("Adam", "AdamW"), "gradient descent": ("SGD", "momentum")}
"""Optimisers that are judged together."""
AGAINST: Mapping[str, tuple[str, ...]] = {"Adam": RIVALS, "gradient descent": ("TD loss",)}


@dataclass(frozen=True)
class Told:
    """How a signal ranks the readings of some runs.

    Attributes:
        ranking: For the ROC-AUC.
        alarms: For the precision.
    """

    ranking: Ranking
    alarms: Alarms

    def statistics(self) -> dict[str, Callable[[Series], Series]]:
        """Both numbers of a resample, by name."""
        return {"AUC": self.ranking.areas, f"precision at recall {RECALL:g}": self.alarms.precisions}

    def estimates(self) -> tuple[float, float]:
        """Both numbers of the runs themselves."""
        every = np.arange(len(self.alarms.right))
        area, precision = (float(statistic(every)) for statistic in self.statistics().values())
        return area, precision


def tell(runs: Sequence[KeptRun], signal: str) -> Told | None:
    """How a signal ranks; None where all readings have the same answer.

    Args:
        runs: Kept runs.
        signal: One of `SIGNALS`.
    """
    scores: Scored = scored(runs, SIGNALS[signal], HORIZON)
    ranked, raised = ranking(scores), alarms(scores, RECALL)
    return None if ranked is None or raised is None else Told(ranked, raised)


def family(runs: Sequence[KeptRun], name: str) -> list[KeptRun]:
    """Those of the runs that an optimiser of a family trained."""
    return [run for run in runs if run["optimiser"] in FAMILIES[name]]


def judge_signals(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The gated look-ahead against its aims and against every other signal, by data set.

    Args:
        runs: Kept runs.
    """
    verdicts: list[Verdict] = []
    for (data,), cell in groups(runs, "data").items():
        for name in FAMILIES:
            own = family(cell, name)
            if own:
                verdicts += _judge(f"{data}, {name}", own, AGAINST[name], aims=name == "Adam")
    return verdicts


def _judge(where: str, runs: Sequence[KeptRun], rivals: Sequence[str], *, aims: bool) -> list[Verdict]:
    gone = sum(run["divergence_step"] is not None for run in runs)
    best = tell(runs, BEST)
    said = f"{gone} of {len(runs)} runs diverge"
    names = [f"{where}: {BEST} has {what} of at least {aim:g}" for what, aim in _AIMS.items()] if aims else []
    pairs = [(rival, what) for rival in rivals for what in _AIMS]
    against = [f"{where}: {BEST} has a larger {what} than {rival}" for rival, what in pairs]
    if best is None or gone < LEAST_PAIRS:
        return [Verdict(name, "open", f"{said}: train for more --steps or seeds") for name in (*names, *against)]
    verdicts = []
    for name, (what, aim) in zip(names, _AIMS.items(), strict=False):
        found = over_runs(len(runs), best.statistics()[what], resamples=RESAMPLES)
        verdicts.append(Verdict(name, _at_least(found, aim), f"{in_words(found, '.3f')}; {said}"))
    told = {rival: tell(runs, rival) for rival in rivals}
    for name, (rival, what) in zip(against, pairs, strict=True):
        verdicts.append(_compare(name, best, told[rival], what, said))
    return verdicts


_AIMS = {"AUC": AREA, f"precision at recall {RECALL:g}": PRECISION}


def _at_least(found: Interval, aim: float) -> Outcome:
    return "verified" if found.low >= aim else "refuted" if found.high < aim else "open"


def _compare(name: str, best: Told, rival: Told | None, what: str, said: str) -> Verdict:
    """Paired by run: both signals on the same resamples."""
    if rival is None:
        return Verdict(name, "open", "all readings have the same answer")
    one, other = best.statistics()[what], rival.statistics()[what]
    found = over_runs(len(best.alarms.right), lambda drawn: one(drawn) - other(drawn), resamples=RESAMPLES)
    every = np.arange(len(best.alarms.right))
    evidence = f"{float(one(every)):.3f} against {float(other(every)):.3f}, difference paired by run"
    return Verdict(name, side(found), f"{evidence} {in_words(found, '+.3f')}; {said}")
