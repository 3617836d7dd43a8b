"""From what is kept of the growth runs to verdicts; nothing here is typed in by hand."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from studies.growth.runs import CONTROL_FACTORS, KINDS
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.verdicts import LEAST_PAIRS, Outcome, Verdict, in_words, inside, majority, share

from seem.analysis import median_and_range
from seem.growth import SGDLaw

Thresholds = dict[str, Any]
MECHANISMS = ("self-excitation", "overshoot")
"""What explains a crash."""
SHOWN_DEPTHS = (1, 2, 3, 4, 5)
"""Depths whose exponents a measured one is held against."""


def of_kind(runs: Sequence[KeptRun], kind: str) -> list[KeptRun]:
    """The runs of one kind, by depth and seed."""
    return sorted((run for run in runs if run["kind"] == kind), key=lambda run: (run["depth"], run["seed"]))


def by_kind(runs: Sequence[KeptRun]) -> dict[str, list[KeptRun]]:
    """The runs of every kind, each by depth and seed."""
    return {kind: of_kind(runs, kind) for kind in KINDS}


def judge(runs: Sequence[KeptRun], study: str = "growth") -> list[Verdict]:
    """The verdicts, from kept runs, in the order in which they are printed.

    Args:
        runs: Kept runs.
        study: The declaration whose thresholds hold.
    """
    thresholds = read_declaration(study).thresholds
    rows = by_kind(runs)
    plain = rows["plain"]
    depths = sorted({row["depth"] for row in plain})
    limits = {float(fraction): limit for fraction, limit in thresholds["limits"].items()}
    verdicts = [_forecast_verdict(plain, fraction, limit) for fraction, limit in limits.items()]
    verdicts += [_false_alarm_verdict(plain), _promise_verdict(plain), _mechanism_verdict(plain)]
    for depth in depths:
        own = [row for row in plain if row["depth"] == depth]
        verdicts.append(_exponent_verdict(own, depth, thresholds))
        if depth > 1:
            verdicts.append(_aligned_verdict(own, depth, thresholds))
    if rows["adam"]:
        verdicts += [_adam_power_verdict([r for r in rows["adam"] if r["depth"] == d], d, thresholds) for d in depths]
        verdicts.append(_adam_norm_verdict(rows["adam"], thresholds))
    if rows["layer-norm"]:
        verdicts.append(_control_verdict("LayerNorm prevents the crash", "layer-norm", rows["layer-norm"]))
    if rows["low-discount"]:
        verdicts.append(_control_verdict("a low discount prevents the crash", "low-discount", rows["low-discount"]))
    return verdicts


def _crashed(rows: Sequence[KeptRun]) -> list[KeptRun]:
    return [row for row in rows if row["crash_step"] is not None]


def _forecast_verdict(rows: Sequence[KeptRun], fraction: float, limit: float) -> Verdict:
    name = f"crash step forecast at {fraction:.0%} of the run"
    crashed = _crashed(rows)
    censored = f"{len(rows) - len(crashed)} of {len(rows)} runs censored"
    if not crashed:
        return Verdict(name, "open", f"no run crashed within its budget: raise --budget or --lr; {censored}")
    errors = [_error(row, fraction) for row in crashed]
    within = sum(error <= limit for error in errors)
    evidence = (
        f"{share(within, len(errors))} of the runs that crash inside {limit:.0%} of their length, "
        f"median |error| {_percent(float(np.median(errors)))}, worst {_percent(max(errors))}; {censored}"
    )
    return Verdict(name, majority(within, len(errors)), evidence)


def _error(row: KeptRun, fraction: float) -> float:
    """|error| as a share of the run; infinite where no forecast had been made by then, or none of a finite step."""
    found = [abs(error["crash"]) for error in row["errors"] if error["fraction"] == fraction]
    return found[0] if found and not math.isnan(found[0]) else math.inf


def _percent(error: float) -> str:
    return f"{error:.1%} of the run" if math.isfinite(error) else "infinite (no forecast of a crash)"


def _false_alarm_verdict(rows: Sequence[KeptRun]) -> Verdict:
    name = "no run that outlives its budget was forecast to crash within it"
    censored = [row for row in rows if row["crash_step"] is None]
    told = [row for row in censored if row.get("promised") is not None]
    unknown = len(censored) - len(told)
    missing = f"; the forecasts of {unknown} censored runs are not recorded" if unknown else ""
    if not told:
        return Verdict(name, "open", f"{len(censored)} of {len(rows)} runs are censored{missing}")
    alarmed = [row for row in told if row["promised"] > 0]
    evidence = (
        f"{share(len(alarmed), len(told))} of the censored runs had such forecasts, "
        f"{sum(row['promised'] for row in told)} of their {sum(row['forecasts'] for row in told)} forecasts{missing}"
    )
    worst = max(alarmed, key=lambda row: row["promised"] / row["forecasts"], default=None)
    if worst is not None:
        evidence += f"; most in {worst['data']} L={worst['depth']} seed {worst['seed']}: {worst['promised']} of "
        evidence += f"{worst['forecasts']}"
    return Verdict(name, "refuted" if alarmed else "open" if unknown else "verified", evidence)


def _promise_verdict(rows: Sequence[KeptRun]) -> Verdict:
    name = "a run that is ever forecast to crash within its budget does so more often than not"
    told = [row for row in rows if row.get("promised") is not None]
    warned = [row for row in told if row["promised"] > 0]
    crashed = len(_crashed(warned))
    evidence = f"{share(crashed, len(warned))} of the runs that are; {len(rows) - len(told)} of {len(rows)} runs have "
    evidence += "no recorded forecasts"
    unwarned = len(_crashed(told)) - crashed
    evidence += f"; {unwarned} of {len(_crashed(told))} crashes came without one"
    return Verdict(name, majority(crashed, len(warned)) if len(told) == len(rows) else "open", evidence)


def _mechanism_verdict(rows: Sequence[KeptRun]) -> Verdict:
    name = "every crash has a mechanism"
    named = [row["mechanism"] if row["mechanism"] in MECHANISMS else "unexplained" for row in _crashed(rows)]
    if not named:
        return Verdict(name, "open", "no run crashed within its budget")
    counts = {mechanism: named.count(mechanism) for mechanism in sorted(set(named))}
    evidence = ", ".join(f"{count} by {mechanism}" for mechanism, count in counts.items())
    return Verdict(name, "refuted" if "unexplained" in counts else "verified", evidence)


def _exponent_verdict(rows: Sequence[KeptRun], depth: int, thresholds: Thresholds) -> Verdict:
    """As the runs are, aligned or not: what a figure of training runs shows."""
    predicted = SGDLaw(depth).exponent
    name = f"L={depth}: Q^(-p) falls linearly, p = {predicted:.2f}" if depth > 1 else "L=1: Q grows exponentially"
    return _order(name, rows, depth, thresholds)


def _aligned_verdict(rows: Sequence[KeptRun], depth: int, thresholds: Thresholds) -> Verdict:
    """Where the law's assumption holds: -Φᵀu along θ at the median reading of the surge."""
    least = thresholds["least_alignment"]
    aligned = [row for row in rows if row["alignment"] is not None and row["alignment"] >= least]
    name = f"L={depth}: where u is aligned Q^(-p) falls linearly, p = {SGDLaw(depth).exponent:.2f}"
    return _order(name, aligned, depth, thresholds)


def _order(name: str, rows: Sequence[KeptRun], depth: int, thresholds: Thresholds) -> Verdict:
    predicted = SGDLaw(depth).exponent
    surging = [row for row in rows if row["exponent"] is not None]
    measured = [row["exponent"] for row in surging]
    width = thresholds["order_limit"] * max(predicted, 1.0)
    limits = (predicted - width, predicted + width)
    verdict, found = inside(measured, *limits, _seeds(surging), thresholds["least_seeds"])
    evidence = f"median {in_words(found)} of {len(measured)} long enough surges, limits {limits[0]:.2f} to "
    evidence += f"{limits[1]:.2f}, {thresholds['least_seeds']} seeds at least"
    if found is not None:
        nearest = min(SHOWN_DEPTHS, key=lambda other: abs(SGDLaw(other).exponent - found.estimate))
        alignments = [row["alignment"] for row in surging if row["alignment"] is not None]
        aligned = f"{np.median(alignments):.2f}" if alignments else "not recorded"
        evidence += f"; nearest p of a depth {SGDLaw(nearest).exponent:.2f}; median alignment {aligned}"
    elif not np.isfinite(measured).all():
        evidence += f"; {int((~np.isfinite(measured)).sum())} are not finite"
    return Verdict(name, verdict, evidence)


def _seeds(rows: Sequence[KeptRun]) -> int:
    """How many different seeds, on different data, runs have: one that is there twice counts once."""
    return len({(row["data"], row["seed"]) for row in rows})


def _adam_power_verdict(rows: Sequence[KeptRun], depth: int, thresholds: Thresholds) -> Verdict:
    name = f"Adam, L={depth}: Q grows as t^{depth}"
    usable = [row for row in rows if "power" in row]
    powers = [row["power"] for row in usable]
    width = thresholds["order_limit"] * depth
    verdict, found = inside(powers, depth - width, depth + width, _seeds(usable), thresholds["least_seeds"])
    slopes, _, _ = median_and_range([row["loglog_slope"] for row in usable if "loglog_slope" in row])
    evidence = f"median power {in_words(found)} of {len(powers)} finished runs, limits {depth - width:.1f} to "
    evidence += f"{depth + width:.1f}, {thresholds['least_seeds']} seeds at least"
    if found is not None:
        evidence += f"; log-log slope {slopes:.2f}"
    return Verdict(name, verdict, evidence)


def _adam_norm_verdict(rows: Sequence[KeptRun], thresholds: Thresholds) -> Verdict:
    name = "Adam: norm slope is lr·sqrt(P active) times the finite-β₂ ratio"
    usable = [row for row in rows if "norm_slope" in row]
    limit = thresholds["adam_slope_limit"]
    ratios = [row["norm_slope"] / row["finite_beta2_slope"] for row in usable]
    verdict, found = inside(ratios, 1 - limit, 1 + limit, _seeds(usable), thresholds["least_seeds"])
    evidence = f"median measured/predicted {in_words(found)} of {len(usable)} finished runs, limits {1 - limit:.2f} to "
    evidence += f"{1 + limit:.2f}, {thresholds['least_seeds']} seeds at least"
    if found is not None:
        plain, _, _ = median_and_range([row["norm_slope"] / row["paper_slope"] for row in usable])
        active, _, _ = median_and_range([row["norm_slope"] / row["active_slope"] for row in usable])
        evidence += f"; against lr·sqrt(P) alone {plain:.2f}, against lr·sqrt(P active) {active:.2f}: those need t far "
        evidence += "beyond 1/(1-β₂) = 1000"
    return Verdict(name, verdict, evidence)


def _control_verdict(name: str, kind: str, rows: Sequence[KeptRun]) -> Verdict:
    """All of their plain twins crash, so that n runs that outlive them have a chance of 1/2ⁿ if nothing prevents it."""
    crashed = _crashed(rows)
    seem, low, high = median_and_range([row["normalised_seem"] for row in rows])
    evidence = (
        f"{len(rows) - len(crashed)} of {len(rows)} runs outlive {CONTROL_FACTORS[kind]:g} times the plain crash step: "
        f"{share(len(crashed), len(rows))} crash; normalised SEEM {seem:.1e} ({low:.1e} to {high:.1e})"
    )
    if crashed:
        evidence += f"; crashes by {', '.join(sorted({row['mechanism'] or 'unexplained' for row in crashed}))}"
    verdict: Outcome = "refuted" if crashed else "verified" if _distinct(rows) >= LEAST_PAIRS else "open"
    return Verdict(name, verdict, evidence)


def _distinct(rows: Sequence[KeptRun]) -> int:
    return len({(row["data"], row["depth"], row["seed"]) for row in rows})


def judge_by(study: str) -> Callable[[Sequence[KeptRun]], list[Verdict]]:
    """The judge by another declaration's thresholds."""
    return partial(judge, study=study)
