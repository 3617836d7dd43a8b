"""From the records of a growth study to its numbers and its verdicts; nothing here is typed in by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from growth_study import CONTROL_FACTORS, Cell
from numpy.typing import NDArray
from verdicts import Claim

from seem.analysis import (
    FRACTIONS,
    explain_error,
    forecast_error,
    growth_exponent,
    loglog_slope,
    median_and_range,
    power_of_growth,
    slope,
    surge,
)
from seem.growth import AdamLaw, SGDLaw
from seem.records import RunRecord

LIMITS = {0.8: 0.10, 0.95: 0.02}
"""Largest median |forecast - crash|, as a share of the run, at these shares of the run: half the steps that
then remain, so that a forecast of no use (the crash now, or twice as far away) fails."""
LEAST_RUNS = 3
"""An order of growth is judged by a median over at least this many runs; fewer leave it open."""
LEAST_ALIGNMENT = 0.9
"""The SGD law is asymptotic: an exponent counts only where -Φᵀu is within 26° of θ at the median reading."""
ADAM_SLOPE_LIMIT = 0.15
"""Largest relative error of Adam's norm slope: dead units change P by about that much within the window."""


def of_kind(cells: Sequence[Cell], kind: str) -> list[Cell]:
    """The cells of one kind, by depth and seed."""
    return sorted((cell for cell in cells if cell.kind == kind), key=lambda cell: (cell.depth, cell.seed))


def descent_row(cell: Cell) -> dict[str, Any]:
    """Numbers of one plain run: crash, mechanism, forecast errors, measured exponent, alignment.

    Args:
        cell: A finished cell of kind "plain".

    Returns:
        A JSON object; "errors" holds `forecast_error` at every fraction.
    """
    record = cell.record()
    crash = record.outcome["crash_step"]
    row: dict[str, Any] = {"depth": cell.depth, "seed": cell.seed, "crash_step": crash, "exponent": None}
    row |= {"predicted_exponent": SGDLaw(cell.depth).exponent, "mechanism": record.outcome["mechanism"]}
    row |= {"alignment": None, "errors": []}
    if crash is None:
        return row
    q = record.trace["mean_abs_q"].numpy()
    row["exponent"] = growth_exponent(q, cell.depth)
    row["alignment"] = _alignment_in(record, surge(q, cell.depth))
    errors = [forecast_error(record.forecasts, crash, fraction) for fraction in FRACTIONS]
    row["errors"] = [error for error in errors if error is not None]
    for error in row["errors"]:
        wrong = abs(error["crash"]) > LIMITS.get(error["fraction"], max(LIMITS.values()))
        error["why"] = explain_error(record, error["step"]) if wrong else None
    return row


def _alignment_in(record: RunRecord, window: NDArray[np.int64]) -> float | None:
    pairs = zip(*record.largest("alignment"), strict=True)
    inside = [value for step, value in pairs if len(window) and window[0] <= step <= window[-1]]
    return float(np.median(inside)) if inside else None


def adam_row(cell: Cell) -> dict[str, Any]:
    """Numbers of one Adam run: the power of Q and the slope of ‖θ‖, over the second half of the run.

    Args:
        cell: A finished cell of kind "adam".

    Returns:
        A JSON object.
    """
    record = cell.record()
    q, norm = (record.trace[name].numpy() for name in ("mean_abs_q", "parameter_norm"))
    lr = record.outcome["run"]["agent"]["critic_lr"]
    law, active = AdamLaw(cell.depth), record.outcome["active_parameters"]
    start, stop = len(q) // 2, len(q)
    row: dict[str, Any] = {"depth": cell.depth, "seed": cell.seed, "crash_step": record.outcome["crash_step"]}
    if record.outcome["crash_step"] is not None or stop - start < 3:
        return row
    row["power"] = power_of_growth(q[start:stop])
    row["loglog_slope"] = loglog_slope(q, start, stop)
    row["norm_slope"] = slope(norm, start, stop)
    row["paper_slope"] = law.norm_slope(lr, record.outcome["parameters"])
    row["active_slope"] = law.norm_slope(lr, active)
    row["finite_beta2_slope"] = row["active_slope"] * float(law.step_ratio(stop)[start:].mean())
    return row


def control_row(cell: Cell, plain: dict[str, Any]) -> dict[str, Any]:
    """Numbers of one control run: whether it outlived its budget, and its SEEM.

    Args:
        cell: A finished cell of kind "layer-norm" or "low-discount".
        plain: The `descent_row` of the plain run of the same depth and seed.

    Returns:
        A JSON object; SEEM is the median over the readings of the larger critic's value.
    """
    record = cell.record()
    return {
        "depth": cell.depth,
        "seed": cell.seed,
        "plain_crash_step": plain["crash_step"],
        "steps": record.outcome["steps"],
        "crash_step": record.outcome["crash_step"],
        "mechanism": record.outcome["mechanism"],
        "seem": float(np.median(record.largest("leading")[1])),
        "normalised_seem": float(np.median(record.largest("normalised")[1])),
        "final_q": float(record.trace["mean_abs_q"][-1]),
    }


def summarise(cells: Sequence[Cell]) -> dict[str, list[dict[str, Any]]]:
    """All rows of a study, by kind.

    Args:
        cells: The finished cells.

    Returns:
        Lists of JSON objects under "plain", "layer-norm", "low-discount" and "adam".
    """
    plain = [descent_row(cell) for cell in of_kind(cells, "plain")]
    by_run = {(row["depth"], row["seed"]): row for row in plain}
    controls = {
        kind: [control_row(cell, by_run[cell.depth, cell.seed]) for cell in of_kind(cells, kind)]
        for kind in ("layer-norm", "low-discount")
    }
    return {"plain": plain, **controls, "adam": [adam_row(cell) for cell in of_kind(cells, "adam")]}


def judge(rows: dict[str, list[dict[str, Any]]]) -> list[Claim]:
    """One verdict a claim.

    Args:
        rows: What `summarise` returned.

    Returns:
        The claims, in the order in which they are printed.
    """
    depths = sorted({row["depth"] for row in rows["plain"]})
    claims = [_forecast_claim(rows["plain"], fraction, limit) for fraction, limit in LIMITS.items()]
    claims.append(_mechanism_claim(rows["plain"]))
    claims += [_exponent_claim([r for r in rows["plain"] if r["depth"] == depth], depth) for depth in depths]
    if rows["adam"]:
        claims += [_adam_power_claim([r for r in rows["adam"] if r["depth"] == depth], depth) for depth in depths]
        claims.append(_adam_norm_claim(rows["adam"]))
    if rows["layer-norm"]:
        claims.append(_control_claim("LayerNorm prevents the crash", "layer-norm", rows["layer-norm"]))
    if rows["low-discount"]:
        claims.append(_control_claim("a low discount prevents the crash", "low-discount", rows["low-discount"]))
    return claims


def _forecast_claim(rows: list[dict[str, Any]], fraction: float, limit: float) -> Claim:
    name = f"crash step forecast at {fraction:.0%} of the run"
    crashed = [row for row in rows if row["crash_step"] is not None]
    errors = [abs(error["crash"]) for row in crashed for error in row["errors"] if error["fraction"] == fraction]
    if not errors:
        return Claim(name, "open", "no run crashed within its budget: raise --budget or --lr")
    middle, _, worst = median_and_range(errors)
    inside = sum(error <= limit for error in errors)
    evidence = (
        f"median |error| {middle:.1%} of the run (limit {limit:.0%}), worst {worst:.1%}, "
        f"{inside} of {len(errors)} inside; {len(rows) - len(crashed)} of {len(rows)} runs censored"
    )
    return Claim(name, "verified" if middle <= limit else "refuted", evidence)


def _mechanism_claim(rows: list[dict[str, Any]]) -> Claim:
    name = "every crash has a mechanism"
    named = [row["mechanism"] for row in rows if row["crash_step"] is not None]
    if not named:
        return Claim(name, "open", "no run crashed within its budget")
    counts = {mechanism: named.count(mechanism) for mechanism in sorted(set(named))}
    evidence = ", ".join(f"{count} by {mechanism}" for mechanism, count in counts.items())
    return Claim(name, "refuted" if "unexplained" in counts else "verified", evidence)


def _exponent_claim(rows: list[dict[str, Any]], depth: int) -> Claim:
    predicted = SGDLaw(depth).exponent
    name = f"L={depth}: Q^(-p) falls linearly, p = {predicted:.2f}" if depth > 1 else "L=1: Q grows exponentially"
    measured = [row["exponent"] for row in rows if row["exponent"] is not None]
    if len(measured) < LEAST_RUNS:
        return Claim(name, "open", _too_few(measured, "long enough surges"))
    middle, low, high = median_and_range(measured)
    alignments = [row["alignment"] for row in rows if row["exponent"] is not None and row["alignment"] is not None]
    aligned = float(np.median(alignments)) if alignments else 0.0
    rivals = [SGDLaw(other).exponent for other in (1, 2, 3, 4, 5)] + [2.0]
    nearest = min(rivals, key=lambda rival: abs(rival - middle))
    evidence = f"measured {middle:.2f} ({low:.2f} to {high:.2f}, {len(measured)} runs), alignment {aligned:.2f}"
    if depth > 1 and aligned < LEAST_ALIGNMENT:
        return Claim(name, "open", f"{evidence}: below {LEAST_ALIGNMENT}, the law's assumption does not hold yet")
    return Claim(name, "verified" if math.isclose(nearest, predicted) else "refuted", evidence)


def _too_few(found: Sequence[Any], what: str) -> str:
    return f"{len(found)} {what}, {LEAST_RUNS} are needed: pass more --seeds"


def _adam_power_claim(rows: list[dict[str, Any]], depth: int) -> Claim:
    name = f"Adam, L={depth}: Q grows as t^{depth}"
    powers = [row["power"] for row in rows if "power" in row]
    if len(powers) < LEAST_RUNS:
        return Claim(name, "open", _too_few(powers, "finished Adam runs"))
    middle, low, high = median_and_range(powers)
    slopes, _, _ = median_and_range([row["loglog_slope"] for row in rows if "loglog_slope" in row])
    evidence = f"power {middle:.2f} ({low:.2f} to {high:.2f}), log-log slope {slopes:.2f}"
    return Claim(name, "verified" if round(middle) == depth else "refuted", evidence)


def _adam_norm_claim(rows: list[dict[str, Any]]) -> Claim:
    name = "Adam: norm slope is lr·sqrt(P active) times the finite-β₂ ratio"
    usable = [row for row in rows if "norm_slope" in row]
    if len(usable) < LEAST_RUNS:
        return Claim(name, "open", _too_few(usable, "finished Adam runs"))
    middle, low, high = median_and_range([row["norm_slope"] / row["finite_beta2_slope"] for row in usable])
    plain, _, _ = median_and_range([row["norm_slope"] / row["paper_slope"] for row in usable])
    active, _, _ = median_and_range([row["norm_slope"] / row["active_slope"] for row in usable])
    evidence = (
        f"measured/predicted {middle:.2f} ({low:.2f} to {high:.2f}); against lr·sqrt(P) alone {plain:.2f}, "
        f"against lr·sqrt(P active) {active:.2f}: those need t far beyond 1/(1-β₂) = 1000"
    )
    return Claim(name, "verified" if abs(middle - 1) <= ADAM_SLOPE_LIMIT else "refuted", evidence)


def _control_claim(name: str, kind: str, rows: list[dict[str, Any]]) -> Claim:
    crashed = [row for row in rows if row["crash_step"] is not None]
    seem, low, high = median_and_range([row["normalised_seem"] for row in rows])
    evidence = (
        f"{len(rows) - len(crashed)} of {len(rows)} runs outlive {CONTROL_FACTORS[kind]:g} times the plain crash step; "
        f"normalised SEEM {seem:.1e} ({low:.1e} to {high:.1e})"
    )
    if crashed:
        evidence += f"; crashes by {', '.join(sorted({row['mechanism'] for row in crashed}))}"
    return Claim(name, "refuted" if crashed else "verified", evidence)
