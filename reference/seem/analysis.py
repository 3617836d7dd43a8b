"""From finished records to numbers: forecast errors, growth exponents, slopes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from seem.records import RunRecord

FRACTIONS = (0.5, 0.8, 0.9, 0.95)
"""Shares of the run, up to its crash, at which forecasts are compared."""
LARGEST_RATE = 1.0
"""A growth exponent is measured up to this rate x: beyond it a doubling takes less than a step."""
DECADE = 10.0
"""A growth exponent is measured over the last tenfold of Q: before, the run still leaves its start behind."""

MOVED = 0.2
"""Sum of the relative moves of X*'s actions from which on X* does not count as fixed."""
ALIGNED = 0.5
"""Cosine between -Φᵀu and θ from which on more than a quarter of the step lies along the ray."""


def forecast_error(forecasts: Sequence[dict[str, Any]], crash_step: int, fraction: float) -> dict[str, Any] | None:
    """Compare the last forecast made by ``fraction`` of a run with its crash.

    Args:
        forecasts: Lines of forecasts.jsonl, in order.
        crash_step: Observed crash step.
        fraction: Share of the run in (0, 1].

    Returns:
        The step of the forecast; (forecast - observed) / observed for the forecast, the law and the slope
        (infinite where none was made); whether the interval covers the crash; the reason for no forecast.
        None when no forecast had been made by then.
    """
    made = [line for line in forecasts if line["step"] <= fraction * crash_step]
    if not made:
        return None
    last = made[-1]
    errors = {name: (last[f"{name}_step"] - crash_step) / crash_step for name in ("crash", "law", "slope")}
    covered = last["earliest"] <= crash_step <= last["latest"]
    return {"fraction": fraction, "step": last["step"], **errors, "covered": covered, "reason": last["reason"]}


def explain_error(record: RunRecord, step: int) -> str:
    """Say what happened between a forecast and the crash that the law leaves out; the first that applies.

    Args:
        record: A run that crashed.
        step: When the forecast was made.

    Returns:
        "overshoot" when the step size ended the run; "recovery" when ηλ fell to less than half and rose again;
        "moving policy" when X*'s actions moved by more than a fifth of their size; "unaligned u" when
        the cosine between -Φᵀu and θ was below a half at the forecast; else "unexplained".
    """
    if record.outcome["mechanism"] == "overshoot":
        return "overshoot"
    steps, leading = record.largest("leading")
    later = np.array([value for at, value in zip(steps, leading, strict=True) if at >= step])
    if len(later) and (later < np.maximum.accumulate(later) / 2).any():
        return "recovery"
    if sum(line["action_motion"] for line in record.readings if line["step"] > step) > MOVED:
        return "moving policy"
    aligned = [value for at, value in zip(*record.largest("alignment"), strict=True) if at <= step]
    return "unaligned u" if aligned and aligned[-1] < ALIGNED else "unexplained"


def growth_rates(q: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    r"""The rate x of every step from the growth of Q, :math:`x_t = L((Q_{t+1}/Q_t)^{1/L} - 1)`.

    On the self-similar ray x is ηλ exactly, also at large steps, and proportional to Q^p.

    Args:
        q: Mean |Q| a step, positive and finite, shape (T,).
        depth: Number L of weight matrices.

    Returns:
        Rates, shape (T - 1,).
    """
    return depth * (np.exp(np.diff(np.log(q)) / depth) - 1)


def surge(q: NDArray[np.float64], depth: int) -> NDArray[np.int64]:
    """Steps of the final surge: the last tenfold of Q up to the rate `LARGEST_RATE`.

    Args:
        q: Mean |Q| a step of a run that crashed, positive, shape (T,); non-finite entries are left out.
        depth: Number L of weight matrices.

    Returns:
        Consecutive step numbers, rising; empty when Q passed that rate in its first step, or fell from its last
        slow maximum.
    """
    q = q[np.isfinite(q)]
    rates = growth_rates(q, depth)
    highest = q[:-1] >= np.maximum.accumulate(q)[:-1]
    # At a new maximum only: a fall of Q between two surges belongs to neither.
    slow = np.flatnonzero((rates <= LARGEST_RATE) & highest)
    if not len(slow):
        return slow
    end = int(slow[-1])
    below = np.flatnonzero(q[:end] < q[end] / DECADE)
    start = int(below.max(initial=-1)) + 1
    surging = rates[start : end + 1]
    if surging.max() <= 0:
        return slow[:0]
    # Where the rate halves the surge has broken off, by an overshoot or by the twins' minimum.
    return np.arange(start, start + int(np.flatnonzero(surging >= surging.max() / 2)[-1]) + 1)


def growth_exponent(q: NDArray[np.float64], depth: int) -> float | None:
    """The exponent p of the SGD law, measured: the slope of ln x against ln Q over the final surge.

    Args:
        q: Mean |Q| a step up to the crash, positive, shape (T,).
        depth: Number L of weight matrices.

    Returns:
        The slope (0 would be exponential growth), or None when the surge has fewer than five steps or Q
        falls inside it.
    """
    window = surge(q, depth)
    if len(window) < 5:
        return None
    rates = growth_rates(q[: window[-1] + 2], depth)[window]
    if (rates <= 0).any():
        return None
    return _line(np.log(q[window]), np.log(rates))[0]


def _line(x: NDArray[Any], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and R² of the least-squares line of y on x."""
    dx, dy = x - x.mean(), y - y.mean()
    slope = dx @ dy / (dx @ dx)
    return float(slope), float(slope * (dx @ dy) / (dy @ dy)) if dy.any() else 1.0


def linearity(q: NDArray[np.float64], exponents: Sequence[float]) -> list[float]:
    """How linear Q^(-p) is in the step, for several exponents p: R² of a straight line (ln Q for p = 0).

    Args:
        q: Positive sizes of Q at consecutive steps, shape (T,), T at least 3.
        exponents: Exponents p, 0 or more.

    Returns:
        R² for each exponent.
    """
    steps = np.arange(len(q))
    transformed = [np.log(q) if p == 0 else (q / q[0]) ** -p for p in exponents]
    return [_line(steps, values)[1] for values in transformed]


def power_of_growth(values: NDArray[np.float64], largest: float = 12.0) -> float:
    """The power k for which values^(1/k) is most linear in the step; unlike a log-log slope it ignores an offset.

    Args:
        values: Positive, at consecutive steps, shape (T,), T at least 3.
        largest: Largest power considered; growth faster than any power ends there.

    Returns:
        k, to the accuracy of a bounded scalar search.
    """
    steps = np.arange(len(values))

    def misfit(power: float) -> float:
        return -_line(steps, (values / values[-1]) ** (1 / power))[1]

    return float(np.asarray(optimize.fminbound(misfit, 0.2, largest)))


def loglog_slope(values: NDArray[np.float64], start: int, stop: int) -> float:
    """Slope of ln(values) against ln(step) over the steps start to stop - 1.

    Args:
        values: Positive, shape (T,); entry t belongs to step t.
        start: First step, at least 1.
        stop: One past the last step.

    Returns:
        The power of growth.
    """
    steps = np.arange(start, stop)
    return _line(np.log(steps), np.log(values[start:stop]))[0]


def slope(values: NDArray[np.float64], start: int, stop: int) -> float:
    """Slope of values against the step over the steps start to stop - 1.

    Args:
        values: Shape (T,); entry t belongs to step t.
        start: First step.
        stop: One past the last step.

    Returns:
        Units of the values per step.
    """
    return _line(np.arange(start, stop), values[start:stop])[0]


def median_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest; nan for none."""
    if not values:
        return math.nan, math.nan, math.nan
    return float(np.median(values)), float(np.min(values)), float(np.max(values))
