"""From the numbers of the toy maze's runs to its verdicts; nothing here is typed in by hand."""

from collections.abc import Sequence
from typing import Any

from studies.maze.training import DEPTH, EXPONENTS
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.verdicts import LEAST_PAIRS, Verdict, in_words, inside, majority, share

from seem.analysis import median_and_range
from seem.growth import SGDLaw

_THRESHOLDS = read_declaration("toy-maze").thresholds
GOLDEN: dict[int, float] = {int(step): value for step, value in _THRESHOLDS["golden"].items()}
"""1/mean(Q) by iteration. Source: derived, by another implementation of the printed rule."""
GOLDEN_CRASH: int = _THRESHOLDS["golden_crash"]
"""First iteration that is not finite."""
GOLDEN_CHANGE: int = _THRESHOLDS["golden_change"]
"""Last change of a greedy action up to the last golden iteration."""
GOLDEN_TOLERANCE: float = _THRESHOLDS["golden_tolerance"]
CRASH_TOLERANCE: int = _THRESHOLDS["crash_tolerance"]
"""Iterations."""
FORECAST_LIMIT: float = _THRESHOLDS["forecast_limit"]
"""Largest median |forecast - crash|, as a share of the run."""
JUDGED_SHARE: str = _THRESHOLDS["judged_share"]
"""Share of the run at which the forecast is judged; the others are shown."""
SETTLED: float = _THRESHOLDS["settled"]
"""Greedy actions have settled when the last change is within this share of the slow iterations."""
ZERO: float = _THRESHOLDS["zero"]
"""Normalised SEEM up to this is rounding."""
LEAST_RUNS: int = _THRESHOLDS["least_runs"]
LEAST_SEEDS: int = _THRESHOLDS["least_seeds"]
"""Fewest seeds behind the interval of a power."""
ORDER_LIMIT: float = _THRESHOLDS["order_limit"]
"""Largest distance of that interval's ends from the power."""
MECHANISMS = ("self-excitation", "overshoot")
"""What explains a crash."""
KINDS = ("plain", "no biases", "LayerNorm")


def kind_of(row: dict[str, Any]) -> str:
    """Which of `KINDS` a row of `maze.training.measure` is."""
    return "LayerNorm" if row["normalisation"] == "layer" else "plain" if row["bias"] else "no biases"


def judge(found: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from the printed run and the rows of `maze.training.measure`."""
    (printed,) = (run for run in found if run["kind"] == "printed")
    rows = [run for run in found if run["kind"] == "run"]
    runs = {kind: [row for row in rows if kind_of(row) == kind] for kind in KINDS}
    plain = runs["plain"]
    crashed, free = ([row for row in runs[kind] if row["crash_step"] is not None] for kind in ("plain", "no biases"))
    return [
        _golden(printed),
        _true_q(plain),
        _line(crashed),
        _forecast(crashed, free),
        _criterion(plain),
        _pointwise(plain),
        _settled(crashed),
        _mechanism(crashed),
        _layer(runs["LayerNorm"], crashed),
    ]


def _golden(printed: dict[str, Any]) -> Verdict:
    apart = max(abs(printed["inverse_q"][str(step)] - value) for step, value in GOLDEN.items())
    rounding = max(variant["apart"] for variant in printed["variants"])
    crashes = sorted({variant["crash_step"] for variant in printed["variants"]})
    evidence = (
        f"1/mean(Q) within {apart:.1e} of the golden values (limit {GOLDEN_TOLERANCE:g}), first non-finite at "
        f"{printed['crash_step']} ({GOLDEN_CRASH}), last greedy change at {printed['last_change']} ({GOLDEN_CHANGE}), "
        f"then only at {printed['late_changes']} in the final doublings; float64 and weights jittered by one rounding "
        f"move 1/mean(Q) by at most {rounding:.1e} and crash at {crashes}"
    )
    right = apart <= GOLDEN_TOLERANCE and abs(printed["crash_step"] - GOLDEN_CRASH) <= CRASH_TOLERANCE
    right = right and printed["last_change"] == GOLDEN_CHANGE
    return Verdict("the printed run is reproduced", "verified" if right else "refuted", evidence)


def _true_q(plain: list[KeptRun]) -> Verdict:
    name = "reward 0, so true Q is 0, and yet Q diverges"
    counts, left = [], 0
    for discount in sorted({row["discount"] for row in plain}, reverse=True):
        rows = [row for row in plain if row["discount"] == discount]
        gone = sum(row["crash_step"] is not None for row in rows)
        left += gone
        counts.append(f"γ = {discount:g}: {gone} of {len(rows)} overflow")
        if gone < len(rows):
            end, _, _ = median_and_range([row["end"]["q"] for row in rows if row["crash_step"] is None])
            counts[-1] += f", the others end at median mean |Q| {end:.2g}"
    return Verdict(
        name, "verified" if left else "open", f"within {plain[0]['budget']} iterations, " + "; ".join(counts)
    )


def _line(crashed: list[KeptRun]) -> Verdict:
    name = "1/Q is linear near the crash"
    rows = [row for row in crashed if row["straightness"] and row["exponent"] is not None]
    if len(rows) < LEAST_RUNS:
        return Verdict(name, "open", f"{len(rows)} surges, {LEAST_RUNS} are needed: pass more --seeds")
    best = sum(max(EXPONENTS, key=lambda p: r["straightness"][EXPONENTS.index(p)]) == 1 for r in rows)
    straight, low, _ = median_and_range([row["straightness"][EXPONENTS.index(1)] for row in rows])
    law, powers = SGDLaw(DEPTH).exponent, [row["exponent"] for row in rows]
    seeds = len({row["trajectory_seed"] for row in rows})
    verdict, power = inside(powers, law - ORDER_LIMIT, law + ORDER_LIMIT, seeds, LEAST_SEEDS)
    evidence = (
        f"R² of 1/Q over the last tenfold: median {straight:.4f}, least {low:.4f}; straighter than ln Q and Q^(-4/3) "
        f"in {best} of {len(rows)} runs ({len(crashed) - len(rows)} more crash without a surge to measure); median "
        f"measured power {in_words(power, '.3f')}, limits {law - ORDER_LIMIT:.2f} to {law + ORDER_LIMIT:.2f}, {seeds} "
        f"seeds, {LEAST_SEEDS} at least"
    )
    return Verdict(name, verdict, evidence)


def _forecast(crashed: list[KeptRun], free: list[KeptRun]) -> Verdict:
    name = f"one reading at {float(JUDGED_SHARE):.0%} of the run forecasts the crash, s + 1/(ηλ)"
    judged = _errors(crashed, JUDGED_SHARE, "law")
    if len(judged) < LEAST_RUNS:
        return Verdict(name, "open", f"{len(judged)} forecasts, {LEAST_RUNS} are needed: pass more --seeds")
    middle, _, worst = median_and_range([abs(error) for error in judged])
    within = sum(abs(error) <= FORECAST_LIMIT for error in judged)
    shown = []
    for at in crashed[0]["errors"]:
        errors = _errors(crashed, at, "law")
        median, low, high = median_and_range(errors)
        early = sum(error < 0 for error in errors)
        shown.append(f"at {float(at):.0%} {median:+.1%} ({low:+.1%} to {high:+.1%}), {early}/{len(errors)} early")
    discrete, _, _ = median_and_range(_errors(crashed, JUDGED_SHARE, "discrete"))
    without = [median_and_range(_errors(free, JUDGED_SHARE, form))[0] for form in ("law", "discrete")]
    control = f"{without[0]:+.1%} and {without[1]:+.1%} ({len(free)} runs)" if free else "no run crashed"
    evidence = (
        f"{share(within, len(crashed))} of the runs that crash inside {FORECAST_LIMIT:.0%} of their length, "
        f"median |error| {middle:.1%} of the run, worst {worst:.1%}; "
        f"{'; '.join(shown)}; at {float(JUDGED_SHARE):.0%} with the discrete last steps counted {discrete:+.1%}; "
        f"without biases {control}"
    )
    return Verdict(name, majority(within, len(crashed)), evidence)


def _errors(rows: list[KeptRun], at: str, form: str) -> list[float]:
    return [row["errors"][at][form] for row in rows if row["errors"][at]]


def _criterion(plain: list[KeptRun]) -> Verdict:
    name = "SEEM > 0 before every crash, and no crash forecast where none came"
    crashed = [row for row in plain if row["crash_step"] is not None]
    silent = [row for row in crashed if not row["end"]["normalised"] > ZERO]
    if not crashed:
        return Verdict(name, "open", "no run crashed within its budget: raise --budget")
    survivors = [row for row in plain if row["crash_step"] is None]
    due = [row for row in survivors if SGDLaw(DEPTH).steps_to_blow_up(row["end"]["rate"]) <= row["budget"]]
    positive = sum(row["end"]["normalised"] > ZERO for row in survivors)
    evidence = (
        f"{len(crashed) - len(silent)} of {len(crashed)} crashed runs end their slow iterations with SEEM > 0; of "
        f"{len(survivors)} censored runs {positive} end with SEEM > 0, {len(due)} of them with a crash forecast "
        f"within another budget"
    )
    return Verdict(name, "refuted" if silent else "open" if due else "verified", evidence)


def _pointwise(plain: list[KeptRun]) -> Verdict:
    name = "SEEM > 0 at one point does not imply divergence"
    crashed = [row for row in plain if row["crash_step"] is not None]
    survivors = [row for row in plain if row["crash_step"] is None]
    positive = [[row["start"]["normalised"] > ZERO for row in rows] for rows in (crashed, survivors)]
    evidence = (
        f"at iteration 0 SEEM > 0 in {sum(positive[0])} of {len(crashed)} runs that crash and in {sum(positive[1])} of "
        f"{len(survivors)} that do not within the budget"
    )
    return Verdict(name, "verified" if any(positive[1]) else "open", evidence)


def _settled(crashed: list[KeptRun]) -> Verdict:
    name = "the greedy actions settle before the crash"
    if len(crashed) < LEAST_RUNS:
        return Verdict(name, "open", f"{len(crashed)} crashes, {LEAST_RUNS} are needed: pass more --seeds")
    shares = [row["last_change"] / row["slow_steps"] for row in crashed]
    settled = sum(share <= SETTLED for share in shares)
    middle, low, high = median_and_range(shares)
    evidence = (
        f"none changes in the last tenth of the slow iterations in {settled} of {len(crashed)} crashed runs; last "
        f"change at {middle:.0%} of them ({low:.0%} to {high:.0%})"
    )
    return Verdict(name, "verified" if settled == len(crashed) else "refuted", evidence)


def _mechanism(crashed: list[KeptRun]) -> Verdict:
    name = "every crash has a mechanism"
    named = [row["mechanism"] if row["mechanism"] in MECHANISMS else "unexplained" for row in crashed]
    if not named:
        return Verdict(name, "open", "no run crashed within its budget: raise --budget")
    evidence = ", ".join(f"{named.count(kind)} by {kind}" for kind in sorted(set(named)))
    evidence += ", read just before a mode first doubles within one iteration"
    return Verdict(name, "refuted" if "unexplained" in named else "verified", evidence)


def _layer(layer: list[KeptRun], crashed: list[KeptRun]) -> Verdict:
    name = "LayerNorm prevents the crash"
    gone = {(row["trajectory_seed"], row["discount"]) for row in crashed}
    rows = [row for row in layer if (row["trajectory_seed"], row["discount"]) in gone]
    if not rows:
        return Verdict(name, "open", "no run without it crashed within its budget: raise --budget")
    outlived = sum(row["crash_step"] is None for row in rows)
    middle, _, worst = median_and_range([row["end"]["rate"] for row in rows])
    _, _, largest = median_and_range([row["end"]["q"] for row in rows])
    evidence = (
        f"of {len(rows)} runs that crash without it {outlived} reach iteration {rows[0]['budget']} with it: "
        f"{share(len(rows) - outlived, len(rows))} crash; "
        f"ηλ there at median {middle:.1e}, at most {worst:.1e}; mean |Q| at most {largest:.3g}"
    )
    if outlived < len(rows):
        return Verdict(name, "refuted", evidence)
    # All crash without it, so that if nothing prevented it n runs would all outlive with a chance of 1/2ⁿ at most.
    return Verdict(name, "verified" if len(rows) >= LEAST_PAIRS else "open", evidence)
