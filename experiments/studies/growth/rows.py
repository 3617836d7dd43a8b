"""From the records of finished growth runs to the numbers that are kept of them; nothing here is typed in by hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.shared.declaration import read_declaration

from seem.analysis import (
    FRACTIONS,
    explain_error,
    forecast_error,
    growth_exponent,
    loglog_slope,
    power_of_growth,
    slope,
    surge,
)
from seem.growth import AdamLaw, SGDLaw
from seem.records import RunRecord

LIMITS: dict[float, float] = {
    float(fraction): limit for fraction, limit in read_declaration("growth").thresholds["limits"].items()
}
"""Largest median |forecast - crash|, as a share of the run, at these shares of the run."""


def descent_row(record: RunRecord) -> dict[str, Any]:
    """Numbers of one plain run: crash, mechanism, forecast errors, measured exponent, alignment.

    Args:
        record: A finished run under gradient descent.

    Returns:
        A JSON object; "errors" holds `forecast_error` at every fraction.
    """
    crash, depth = record.outcome["crash_step"], record.outcome["run"]["agent"]["critic"]["depth"]
    row: dict[str, Any] = {"crash_step": crash, "exponent": None}
    row |= {"predicted_exponent": SGDLaw(depth).exponent, "mechanism": record.outcome["mechanism"]}
    row |= {"alignment": None, "errors": [], **promises(record)}
    if crash is None:
        return row
    q = record.trace["mean_abs_q"].numpy()
    row["exponent"] = growth_exponent(q, depth)
    row["alignment"] = _alignment_in(record, surge(q, depth))
    errors = [forecast_error(record.forecasts, crash, fraction) for fraction in FRACTIONS]
    row["errors"] = [error for error in errors if error is not None]
    for error in row["errors"]:
        wrong = abs(error["crash"]) > LIMITS.get(error["fraction"], max(LIMITS.values()))
        error["why"] = explain_error(record, error["step"]) if wrong else None
    return row


def promises(record: RunRecord) -> dict[str, Any]:
    """How many forecasts a run made before its end, and how many of these name a crash within its budget.

    Args:
        record: A finished run; the promises of one that is censored are false alarms.
    """
    budget, end = record.outcome["run"]["budget"], record.outcome["steps"]
    made = [line["crash_step"] for line in record.forecasts if line["step"] <= end]
    return {"budget": budget, "forecasts": len(made), "promised": sum(step <= budget for step in made)}


def _alignment_in(record: RunRecord, window: NDArray[np.int64]) -> float | None:
    pairs = zip(*record.largest("alignment"), strict=True)
    inside = [value for step, value in pairs if len(window) and window[0] <= step <= window[-1]]
    return float(np.median(inside)) if inside else None


def adam_row(record: RunRecord) -> dict[str, Any]:
    """Numbers of one Adam run: the power of Q and the slope of ‖θ‖, over the second half of the run.

    Args:
        record: A finished run under Adam.

    Returns:
        A JSON object.
    """
    q, norm = (record.trace[name].numpy() for name in ("mean_abs_q", "parameter_norm"))
    lr = record.outcome["run"]["agent"]["critic_lr"]
    law, active = AdamLaw(record.outcome["run"]["agent"]["critic"]["depth"]), record.outcome["active_parameters"]
    start, stop = len(q) // 2, len(q)
    row: dict[str, Any] = {"crash_step": record.outcome["crash_step"]}
    if record.outcome["crash_step"] is not None or stop - start < 3:
        return row
    row["power"] = power_of_growth(q[start:stop])
    row["loglog_slope"] = loglog_slope(q, start, stop)
    row["norm_slope"] = slope(norm, start, stop)
    row["paper_slope"] = law.norm_slope(lr, record.outcome["parameters"])
    row["active_slope"] = law.norm_slope(lr, active)
    row["finite_beta2_slope"] = row["active_slope"] * float(law.step_ratio(stop)[start:].mean())
    return row


def control_row(record: RunRecord, plain: dict[str, Any]) -> dict[str, Any]:
    """Numbers of one control run: whether it outlived its budget, and its SEEM.

    Args:
        record: A finished run with LayerNorm or a low discount.
        plain: The `descent_row` of the plain run of the same depth and seed.

    Returns:
        A JSON object; SEEM is the median over the readings of the larger critic's value.
    """
    return {
        "plain_crash_step": plain["crash_step"],
        "steps": record.outcome["steps"],
        "crash_step": record.outcome["crash_step"],
        "mechanism": record.outcome["mechanism"],
        "seem": float(np.median(record.largest("leading")[1])),
        "normalised_seem": float(np.median(record.largest("normalised")[1])),
        "final_q": float(record.trace["mean_abs_q"][-1]),
    }
