"""From what is kept of the growth runs to verdicts; nothing here is typed in by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from studies.growth.rows import LIMITS
from studies.growth.runs import CONTROL_FACTORS, KINDS
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.verdicts import Verdict

from seem.analysis import median_and_range
from seem.growth import SGDLaw

_THRESHOLDS = read_declaration("growth").thresholds
LEAST_RUNS: int = _THRESHOLDS["least_runs"]
"""An order of growth is judged by a median over at least this many runs; fewer leave it open."""
LEAST_ALIGNMENT: float = _THRESHOLDS["least_alignment"]
"""An exponent counts only where the cosine between -Φᵀu and θ is at least this at the median reading."""
ADAM_SLOPE_LIMIT: float = _THRESHOLDS["adam_slope_limit"]
"""Largest relative error of Adam's norm slope."""


def of_kind(runs: Sequence[KeptRun], kind: str) -> list[KeptRun]:
    """The runs of one kind, by depth and seed."""
    return sorted((run for run in runs if run["kind"] == kind), key=lambda run: (run["depth"], run["seed"]))


def by_kind(runs: Sequence[KeptRun]) -> dict[str, list[KeptRun]]:
    """The runs of every kind, each by depth and seed."""
    return {kind: of_kind(runs, kind) for kind in KINDS}


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from kept runs, in the order in which they are printed."""
    rows = by_kind(runs)
    depths = sorted({row["depth"] for row in rows["plain"]})
    verdicts = [_forecast_verdict(rows["plain"], fraction, limit) for fraction, limit in LIMITS.items()]
    verdicts.append(_mechanism_verdict(rows["plain"]))
    verdicts += [_exponent_verdict([r for r in rows["plain"] if r["depth"] == depth], depth) for depth in depths]
    if rows["adam"]:
        verdicts += [_adam_power_verdict([r for r in rows["adam"] if r["depth"] == depth], depth) for depth in depths]
        verdicts.append(_adam_norm_verdict(rows["adam"]))
    if rows["layer-norm"]:
        verdicts.append(_control_verdict("LayerNorm prevents the crash", "layer-norm", rows["layer-norm"]))
    if rows["low-discount"]:
        verdicts.append(_control_verdict("a low discount prevents the crash", "low-discount", rows["low-discount"]))
    return verdicts


def _forecast_verdict(rows: Sequence[KeptRun], fraction: float, limit: float) -> Verdict:
    name = f"crash step forecast at {fraction:.0%} of the run"
    crashed = [row for row in rows if row["crash_step"] is not None]
    errors = [abs(error["crash"]) for row in crashed for error in row["errors"] if error["fraction"] == fraction]
    if not errors:
        return Verdict(name, "open", "no run crashed within its budget: raise --budget or --lr")
    middle, _, worst = median_and_range(errors)
    inside = sum(error <= limit for error in errors)
    evidence = (
        f"median |error| {middle:.1%} of the run (limit {limit:.0%}), worst {worst:.1%}, "
        f"{inside} of {len(errors)} inside; {len(rows) - len(crashed)} of {len(rows)} runs censored"
    )
    return Verdict(name, "verified" if middle <= limit else "refuted", evidence)


def _mechanism_verdict(rows: Sequence[KeptRun]) -> Verdict:
    name = "every crash has a mechanism"
    named = [row["mechanism"] for row in rows if row["crash_step"] is not None]
    if not named:
        return Verdict(name, "open", "no run crashed within its budget")
    counts = {mechanism: named.count(mechanism) for mechanism in sorted(set(named))}
    evidence = ", ".join(f"{count} by {mechanism}" for mechanism, count in counts.items())
    return Verdict(name, "refuted" if "unexplained" in counts else "verified", evidence)


def _exponent_verdict(rows: Sequence[KeptRun], depth: int) -> Verdict:
    predicted = SGDLaw(depth).exponent
    name = f"L={depth}: Q^(-p) falls linearly, p = {predicted:.2f}" if depth > 1 else "L=1: Q grows exponentially"
    measured = [row["exponent"] for row in rows if row["exponent"] is not None]
    if len(measured) < LEAST_RUNS:
        return Verdict(name, "open", _too_few(measured, "long enough surges"))
    middle, low, high = median_and_range(measured)
    alignments = [row["alignment"] for row in rows if row["exponent"] is not None and row["alignment"] is not None]
    aligned = float(np.median(alignments)) if alignments else 0.0
    rivals = [SGDLaw(other).exponent for other in (1, 2, 3, 4, 5)] + [2.0]
    nearest = min(rivals, key=lambda rival: abs(rival - middle))
    evidence = f"measured {middle:.2f} ({low:.2f} to {high:.2f}, {len(measured)} runs), alignment {aligned:.2f}"
    if depth > 1 and aligned < LEAST_ALIGNMENT:
        return Verdict(name, "open", f"{evidence}: below {LEAST_ALIGNMENT}, the law's assumption does not hold yet")
    return Verdict(name, "verified" if math.isclose(nearest, predicted) else "refuted", evidence)


def _too_few(found: Sequence[Any], what: str) -> str:
    return f"{len(found)} {what}, {LEAST_RUNS} are needed: pass more --seeds"


def _adam_power_verdict(rows: Sequence[KeptRun], depth: int) -> Verdict:
    name = f"Adam, L={depth}: Q grows as t^{depth}"
    powers = [row["power"] for row in rows if "power" in row]
    if len(powers) < LEAST_RUNS:
        return Verdict(name, "open", _too_few(powers, "finished Adam runs"))
    middle, low, high = median_and_range(powers)
    slopes, _, _ = median_and_range([row["loglog_slope"] for row in rows if "loglog_slope" in row])
    evidence = f"power {middle:.2f} ({low:.2f} to {high:.2f}), log-log slope {slopes:.2f}"
    return Verdict(name, "verified" if round(middle) == depth else "refuted", evidence)


def _adam_norm_verdict(rows: Sequence[KeptRun]) -> Verdict:
    name = "Adam: norm slope is lr·sqrt(P active) times the finite-β₂ ratio"
    usable = [row for row in rows if "norm_slope" in row]
    if len(usable) < LEAST_RUNS:
        return Verdict(name, "open", _too_few(usable, "finished Adam runs"))
    middle, low, high = median_and_range([row["norm_slope"] / row["finite_beta2_slope"] for row in usable])
    plain, _, _ = median_and_range([row["norm_slope"] / row["paper_slope"] for row in usable])
    active, _, _ = median_and_range([row["norm_slope"] / row["active_slope"] for row in usable])
    evidence = (
        f"measured/predicted {middle:.2f} ({low:.2f} to {high:.2f}); against lr·sqrt(P) alone {plain:.2f}, "
        f"against lr·sqrt(P active) {active:.2f}: those need t far beyond 1/(1-β₂) = 1000"
    )
    return Verdict(name, "verified" if abs(middle - 1) <= ADAM_SLOPE_LIMIT else "refuted", evidence)


def _control_verdict(name: str, kind: str, rows: Sequence[KeptRun]) -> Verdict:
    crashed = [row for row in rows if row["crash_step"] is not None]
    seem, low, high = median_and_range([row["normalised_seem"] for row in rows])
    evidence = (
        f"{len(rows) - len(crashed)} of {len(rows)} runs outlive {CONTROL_FACTORS[kind]:g} times the plain crash step; "
        f"normalised SEEM {seem:.1e} ({low:.1e} to {high:.1e})"
    )
    if crashed:
        evidence += f"; crashes by {', '.join(sorted({row['mechanism'] for row in crashed}))}"
    return Verdict(name, "refuted" if crashed else "verified", evidence)
