"""When it was said that mean |Q| leaves its bound, against when it did, and how often the interval held that step."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from studies.optimiser.growth import is_plain_adam
from studies.optimiser.runs import THRESHOLDS
from studies.shared.ranking import counts_of, over_runs
from studies.shared.runs import RISEN, KeptRun, column, groups
from studies.shared.verdicts import LEAST_PAIRS, SIGNIFICANT, Outcome, Verdict, in_words, inside, share

from seem.statistics import Interval, bootstrap_interval, wilson_interval

Series = NDArray[np.float64]
BEFORE: tuple[int, int] = tuple(THRESHOLDS["before"])
"""Steps before the divergence at which stated times are judged, from and to."""
MEDIAN: tuple[float, float] = tuple(THRESHOLDS["median_ratio"])
QUARTILES: tuple[float, float] = tuple(THRESHOLDS["quartile_ratios"])
LARGEST: float = THRESHOLDS["largest_ratio"]
"""What a larger ratio counts as."""
STATED: float = THRESHOLDS["stated"]
"""Share of these readings that are to state a time."""
LEVEL: float = THRESHOLDS["level"]
SLACK: float = THRESHOLDS["slack"]
LEAST_RUNS: int = THRESHOLDS["least_runs"]
WIDEST: float = THRESHOLDS["widest"]
RESAMPLES: int = THRESHOLDS["resamples"]


def near(run: KeptRun) -> NDArray[np.bool_]:
    """Which readings of a diverging run are so many steps before its divergence; none of another run."""
    left = _remaining(run)
    return (left >= BEFORE[0]) & (left <= BEFORE[1])


def stated(run: KeptRun) -> NDArray[np.bool_]:
    """At which readings a step of leaving is named."""
    return np.isfinite(column(run, "leaves_at"))


def ratios(run: KeptRun, name: Literal["leaves_at", "crossing"] = "leaves_at") -> Series:
    """Stated over real remaining steps at the readings near the divergence that state a time.

    Args:
        run: A kept run.
        name: The stated step, or the plain crossing, which counts from the reading.
    """
    counted = near(run) & stated(run)
    said = column(run, name) - (np.array(run["read_at"]) if name == "leaves_at" else 0)
    found = said[counted] / _remaining(run)[counted]
    return np.where(found <= LARGEST, found, LARGEST)  # nan is not below it


def _remaining(run: KeptRun) -> Series:
    left = math.inf if run["divergence_step"] is None else run["divergence_step"]
    return left - np.array(run["read_at"], dtype=np.float64)


def judge_leaving(runs: Sequence[KeptRun]) -> list[Verdict]:
    """Stated times under Adam with copied targets by data set, and the intervals of all data sets together.

    Args:
        runs: Kept runs.
    """
    copied = [run for run in runs if is_plain_adam(run) and run["target_rate"] == 1]
    told = [
        judge(data, cell)
        for (data,), cell in groups(copied, "data").items()
        for judge in (_median, _quartiles, _speaks)
    ]
    return [*told, *judge_intervals(runs)]


def _when(data: str) -> str:
    return f"{data}: {BEFORE[0]} to {BEFORE[1]} steps before Q leaves its bound under Adam, stated over real time"


def _median(data: str, runs: Sequence[KeptRun]) -> Verdict:
    sentence = f"{_when(data)} has its median within {MEDIAN[0]:g} to {MEDIAN[1]:g}"
    found = [(own, ratios(run, "crossing")) for run in runs if len(own := ratios(run))]
    values = [float(np.median(own)) for own, _ in found]
    outcome, interval = inside(values, *MEDIAN, len(values), LEAST_PAIRS)
    plain = f"{np.median([np.median(crossing) for _, crossing in found]):.2f}" if found else "none"
    evidence = f"median of the runs' medians {in_words(interval)} over {len(found)} of {len(runs)} runs"
    return Verdict(sentence, outcome, f"{evidence}; the plain crossing has {plain}")


def _quartiles(data: str, runs: Sequence[KeptRun]) -> Verdict:
    sentence = f"{_when(data)} has its quartiles within {QUARTILES[0]:g} to {QUARTILES[1]:g}"
    found = [own for run in runs if len(own := ratios(run))]
    if len(found) < LEAST_PAIRS:
        return Verdict(
            sentence, "open", f"{len(found)} of {len(runs)} runs leave it with a stated time: train for more --steps"
        )
    low, high = (over_runs(len(found), quantile(found, part), resamples=RESAMPLES) for part in (0.25, 0.75))
    evidence = f"quartiles {in_words(low)} and {in_words(high)} over {sum(map(len, found))} readings of {len(found)}"
    return Verdict(sentence, _held(low, high), f"{evidence} runs")


def _speaks(data: str, runs: Sequence[KeptRun]) -> Verdict:
    sentence = f"{data}: {BEFORE[0]} to {BEFORE[1]} steps before Q leaves its bound under Adam a time is stated at "
    sentence += f"{STATED:.0%} of the readings or more"
    shares = [float(stated(run)[near(run)].mean()) for run in runs if near(run).any()]
    outcome, interval = inside(shares, STATED, 1, len(shares), LEAST_PAIRS)
    return Verdict(sentence, outcome, f"median share {in_words(interval)} over {len(shares)} of {len(runs)} runs")


def _held(low: Interval, high: Interval) -> Outcome:
    if low.low >= QUARTILES[0] and high.high <= QUARTILES[1]:
        return "verified"
    return "refuted" if low.high < QUARTILES[0] or high.low > QUARTILES[1] else "open"


def quantile(found: Sequence[Series], part: float) -> Callable[[Series], Series]:
    """A quantile of all readings of the runs that are drawn: the least value that so large a share does not exceed.

    Args:
        found: By run its numbers, at least one each.
        part: In (0, 1).
    """
    every = np.concatenate(found)
    order = np.argsort(every, kind="stable")
    run = np.repeat(np.arange(len(found)), [len(own) for own in found])[order]

    def statistic(drawn: Series) -> Series:
        weights = np.cumsum(counts_of(drawn, len(found))[..., run], axis=-1)
        # 1e-12: shares such as .25 of 100 round.
        return every[order][np.argmax(weights >= part * weights[..., -1:] - 1e-12, axis=-1)]

    return statistic


def forecasts(run: KeptRun) -> NDArray[np.bool_]:
    """At which readings a step of leaving is stated with an interval, from a tenth of the bound on."""
    risen = column(run, "mean_abs_q") >= RISEN * run["bound"]
    return risen & stated(run) & ~np.isnan(column(run, "earliest"))


def holds(run: KeptRun) -> NDArray[np.bool_]:
    """Whether the interval of each of these holds the step at which mean |Q| left its bound."""
    low, high = (column(run, name)[forecasts(run)] for name in ("earliest", "latest"))
    return (low <= run["divergence_step"]) & (run["divergence_step"] <= high)


def widths(run: KeptRun) -> Series:
    """Latest over earliest remaining steps of each of these; one without an end counts as the largest ratio."""
    made = forecasts(run)
    steps = np.array(run["read_at"])[made]
    low, high = (column(run, name)[made] - steps for name in ("earliest", "latest"))
    found = np.divide(high, low, out=np.full(len(low), np.inf), where=low > 0)
    return np.where(found <= LARGEST, found, LARGEST)


def judge_intervals(runs: Sequence[KeptRun]) -> list[Verdict]:
    """How often the intervals hold the step, and how wide they are.

    Args:
        runs: Kept runs, of all data sets.
    """
    known = [run for run in runs if forecasts(run).any()]
    gone = [run for run in known if run["divergence_step"] is not None]
    first = [bool(holds(run)[0]) for run in gone]
    every = np.array([holds(run).mean() for run in gone], dtype=np.float64)
    name = f"the interval of the calibration seeds holds the step at which Q leaves its bound in {LEVEL:.0%}"
    stays = f"; {len(known) - len(gone)} of {len(known)} runs with a forecast stayed below it for all their steps"
    by_data = "; ".join(
        f"{data} {sum(bool(holds(run)[0]) for run in cell)} of {len(cell)}"
        for (data,), cell in groups(gone, "data").items()
    )
    one = wilson_interval(sum(first), len(first), confidence=1 - SIGNIFICANT) if first else None
    mean = bootstrap_interval(every, np.random.default_rng(0)) if len(every) > 1 else None
    return [
        Verdict(
            f"{name}, at the first forecast of each run",
            coverage(one, len(gone)),
            f"{share(sum(first), len(first))} diverging runs ({by_data or 'no data set has one'}){stays}",
        ),
        Verdict(
            f"{name}, over all forecasts of each run",
            coverage(mean, len(gone)),
            f"mean over {len(gone)} diverging runs {in_words(mean)}{stays}",
        ),
        _narrow(gone),
    ]


def coverage(found: Interval | None, runs: int) -> Outcome:
    """Whether a share is what it should be.

    The estimate decides, on so many runs that a perfect interval would fail in one study of fifty: an interval of the
    share inside such limits takes thousands.

    Args:
        found: The share with its interval; None where there is none.
        runs: How many runs it is of.
    """
    if found is None:
        return "open"
    if found.high < LEVEL - SLACK or found.low > LEVEL + SLACK:
        return "refuted" if runs >= LEAST_PAIRS else "open"
    held = LEVEL - SLACK <= found.estimate <= LEVEL + SLACK
    return "verified" if held and runs >= LEAST_RUNS else "open"


def _narrow(runs: Sequence[KeptRun]) -> Verdict:
    sentence = f"that interval's latest end is at most {WIDEST:g} times as far as its earliest"
    values = [float(np.median(widths(run))) for run in runs]
    outcome, found = inside(values, 1, WIDEST, len(values), LEAST_PAIRS)
    return Verdict(sentence, outcome, f"median ratio {in_words(found)} over {len(values)} diverging runs")
