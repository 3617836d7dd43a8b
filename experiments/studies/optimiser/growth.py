"""How far predicted growth of ‖u‖ was off, against what needs no theory: persistence and no change."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from studies.optimiser.runs import FAR, HORIZONS, NEXT, THRESHOLDS
from studies.shared.runs import RISEN, KeptRun, column, groups
from studies.shared.verdicts import LEAST_PAIRS, Verdict, difference, in_words, inside

Series = NDArray[np.float64]
LARGEST: float = THRESHOLDS["largest_error"]
"""|ln| that an error which is larger, or no number, counts as."""
AIM: dict[bool, float] = {True: THRESHOLDS["aim_full_batch"], False: THRESHOLDS["aim_minibatch"]}
"""Largest median error over the shorter horizon, by whether the batch is full."""
SHARE: float = THRESHOLDS["share_of_persistence"]
ONSET: int = THRESHOLDS["onset"]
"""Steps from the first reading at a tenth of the bound that count as the surge's beginning."""


def td_logs(run: KeptRun) -> Series:
    """Ln ‖u‖ at every multiple of the reading interval; what is no positive number is nan."""
    sizes = np.array(run["td_norm"], dtype=np.float64)
    return np.log(np.where((sizes > 0) & np.isfinite(sizes), sizes, np.nan))


def real(run: KeptRun, steps: int) -> Series:
    """Ln of the growth of ‖u‖ over the steps after each reading; nan where the run ended before.

    Args:
        run: A kept run.
        steps: A multiple of its reading interval.
    """
    logs, places, ahead = td_logs(run), _places(run), steps // run["reading_interval"]
    longer = np.concatenate((logs, np.full(ahead, np.nan)))
    return longer[places + ahead] - logs[places]


def persistence(run: KeptRun, steps: int) -> Series:
    """The growth since the reading before, gone on with."""
    logs, places = td_logs(run), _places(run)
    return (logs[places] - logs[places - 1]) * (steps // run["reading_interval"])


def plain_descent(run: KeptRun, steps: int) -> Series:
    """What SEEM says under plain gradient descent with this learning rate, steps · ln |1 + ηλ|."""
    with np.errstate(divide="ignore"):
        return steps * np.log(np.abs(1 + run["step_size"] * column(run, "leading")))


PREDICTED = "predicted"
PREDICTORS: dict[str, Callable[[KeptRun, int], Series]] = {
    PREDICTED: lambda run, steps: column(run, f"growth_{steps}"),
    "persistence": persistence,
    "no change": lambda run, _: np.zeros(len(run["read_at"])),
    "ηλ": plain_descent,
}


def _places(run: KeptRun) -> NDArray[np.int64]:
    return np.array(run["read_at"], dtype=np.int64) // run["reading_interval"]


def surging(run: KeptRun) -> NDArray[np.bool_]:
    """At which readings mean |Q| is between a tenth of its bound and all of it."""
    share = column(run, "mean_abs_q") / run["bound"]
    return (share >= RISEN) & (share <= 1)


def beginning(run: KeptRun) -> NDArray[np.bool_]:
    """Those of `surging` within the first steps from the first of them on."""
    found, steps = surging(run), np.array(run["read_at"])
    return found & (steps < steps[found][0] + ONSET) if found.any() else found


def error(
    run: KeptRun, steps: int, predictor: str, where: Callable[[KeptRun], NDArray[np.bool_]] = surging
) -> float | None:
    """A run's median |ln(predicted / real growth)|; None where no reading has an answer.

    Args:
        run: A kept run.
        steps: The horizon.
        predictor: One of `PREDICTORS`.
        where: Which readings count.
    """
    came = real(run, steps)
    counted = where(run) & np.isfinite(came)
    if not counted.any():
        return None
    off = np.abs(PREDICTORS[predictor](run, steps)[counted] - came[counted])
    return float(np.median(np.where(off <= LARGEST, off, LARGEST)))  # nan is not below it


def errors(
    runs: Sequence[KeptRun], steps: int, *predictors: str, where: Callable[[KeptRun], NDArray[np.bool_]] = surging
) -> list[tuple[float, ...]]:
    """The medians of several predictors, of every run that has one."""
    found = ([error(run, steps, name, where) for name in predictors] for run in runs)
    return [tuple(value for value in row if value is not None) for row in found if row[0] is not None]


def judge_growth(runs: Sequence[KeptRun]) -> list[Verdict]:
    """Predicted growth under Adam with copied targets, by data set, depth and batch; and ηλ by data set.

    Args:
        runs: Kept runs.
    """
    adam = [run for run in runs if is_plain_adam(run)]
    cells = groups([run for run in adam if run["target_rate"] == 1], "data", "depth", "full_batch")
    verdicts = [
        verdict
        for (data, depth, full), cell in cells.items()
        for verdict in _judge_cell(f"{data}, L={depth}, {'full batch' if full else 'minibatches'}", full, cell)
    ]
    return [*verdicts, *(_seem(data, cell) for (data,), cell in groups(adam, "data").items())]


def is_plain_adam(run: KeptRun) -> bool:
    """Whether a critic without normalisation is trained by Adam or AdamW."""
    return run["optimiser"] in ("Adam", "AdamW") and run["normalisation"] == "none"


def _judge_cell(name: str, full_batch: bool, runs: Sequence[KeptRun]) -> list[Verdict]:
    beaten = [
        _below(
            f"{name}: over {steps} steps the predicted growth of |u| is nearer than {rival}",
            errors(runs, steps, rival, PREDICTED),
            rival,
        )
        for steps, rival in product(HORIZONS, ("persistence", "no change"))
    ]
    half = f"is off by less than {SHARE:g} times what persistence is"
    return [
        _aim(f"{name}: over {NEXT} steps the growth of |u| is predicted within {AIM[full_batch]:g}", full_batch, runs),
        *beaten,
        _below(
            f"{name}: over {FAR} steps the predicted growth of |u| {half}",
            errors(runs, FAR, "persistence", PREDICTED),
            "persistence",
            SHARE,
        ),
        _below(
            f"{name}: as the surge begins the predicted growth of |u| over {NEXT} steps {half}",
            errors(runs, NEXT, "persistence", PREDICTED, where=beginning),
            "persistence",
            SHARE,
        ),
    ]


def _aim(sentence: str, full_batch: bool, runs: Sequence[KeptRun]) -> Verdict:
    found = errors(runs, NEXT, PREDICTED)
    return _within(sentence, [value for (value,) in found], AIM[full_batch], len(runs))


def _within(sentence: str, values: Sequence[float], aim: float, of: int) -> Verdict:
    """Whether the median of the runs' errors is at most an aim."""
    outcome, interval = inside(values, 0, aim, len(values), LEAST_PAIRS)
    return Verdict(sentence, outcome, f"median error {in_words(interval, '.3f')} over {len(values)} of {of} runs")


def _below(sentence: str, pairs: Sequence[tuple[float, ...]], rival: str, factor: float = 1.0) -> Verdict:
    """Whether the prediction's error is below a rival's times a factor, paired by run."""
    if not pairs:
        return Verdict(sentence, "open", "no run has a reading there: train for more --steps")
    outcome, found = difference([(factor * theirs, own) for theirs, own in pairs])
    theirs, own = np.median(np.array(pairs), axis=0)
    evidence = f"median error {own:.3f}, of {rival} {theirs:.3f}; paired difference"
    evidence += f"{'' if factor == 1 else f' from {factor:g} times that'} {in_words(found, '.3f')}"
    return Verdict(sentence, outcome, f"{evidence} over {len(pairs)} runs")


def _seem(data: str, runs: Sequence[KeptRun]) -> Verdict:
    sentence = f"{data}: ηλ of plain gradient descent says the growth of |u| over {NEXT} steps under Adam"
    found = errors(runs, NEXT, "ηλ", PREDICTED)
    judged = _within(sentence, [value for value, _ in found], AIM[False], len(runs))
    beside = f"{np.median([own for _, own in found]):.3f}" if found else "none"
    return Verdict(sentence, judged.verdict, f"{judged.evidence}; with the optimiser's own step {beside}")
