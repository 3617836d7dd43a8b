"""From the runs of Baird's star to verdicts; nothing here is typed in by hand but the thresholds."""

from collections.abc import Sequence

from studies.baird.star import DOUBLINGS, LIMIT_THRESHOLD, TIME, WINDOW, leading, threshold
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.verdicts import Verdict

_THRESHOLDS = read_declaration("baird").thresholds
EXACT: float = _THRESHOLDS["exact"]
"""Largest error of the growth rate (growth - 1)/η of a real mode."""
TURNING: float = _THRESHOLDS["turning"]
"""The same for a complex pair."""
THRESHOLD_TOLERANCE: float = _THRESHOLDS["threshold_tolerance"]
"""Largest error of a bisected discount."""
VANISHING: tuple[float, float] = tuple(_THRESHOLDS["vanishing"])
"""Step sizes whose thresholds are extrapolated to 0."""


def of_kind(runs: Sequence[KeptRun], kind: str) -> list[KeptRun]:
    """Runs of the star, or its bisected thresholds."""
    return [run for run in runs if run["kind"] == kind]


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """The verdicts, from rows of `run_star` and bisected discounts by step size."""
    rows, thresholds = of_kind(runs, "run"), of_kind(runs, "threshold")
    inside = [row for row in rows if WINDOW[0] < row["discount"] < WINDOW[1]]
    outside = [row for row in rows if row not in inside]
    return [
        _real(outside),
        _modulus(inside),
        _window(inside, outside),
        _threshold(thresholds),
        _limit(thresholds),
        _sign(rows),
    ]


def _rate_errors(rows: Sequence[KeptRun]) -> list[float]:
    """|(measured growth - |1 + ηλ|)/η| of every run."""
    gains = [abs(1 + row["step"] * leading(row["discount"])) for row in rows]
    return [abs(growth - g) / row["step"] for row, g in zip(rows, gains, strict=True) for growth in row["growth"]]


def _real(outside: Sequence[KeptRun]) -> Verdict:
    name = "outside the complex window u grows by exactly 1 + ηλ_max a step"
    if not outside:
        return Verdict(name, "open", "no discount lies there: pass more --discounts")
    errors = _rate_errors(outside)
    evidence = (
        f"{len(errors)} runs of length η·steps = {TIME:g}: growth rate (growth - 1)/η within {max(errors):.1e} of "
        f"λ_max (limit {EXACT:g})"
    )
    return Verdict(name, "verified" if max(errors) <= EXACT else "refuted", evidence)


def _modulus(inside: Sequence[KeptRun]) -> Verdict:
    name = "inside it u grows by the modulus |1 + ηλ|, not by 1 + ηRe λ"
    if not inside:
        return Verdict(name, "open", "no discount lies there: pass more --discounts")
    errors = _rate_errors(inside)
    values = [(row["step"], leading(row["discount"])) for row in inside]
    naive = max(abs(abs(1 + step * value) - 1 - step * value.real) / step for step, value in values)
    evidence = (
        f"{len(errors)} runs: growth rate within {max(errors):.1e} of (|1 + ηλ| - 1)/η (limit {TURNING:g}); Re λ is "
        f"off by up to {naive:.2g}"
    )
    return Verdict(name, "verified" if max(errors) <= TURNING < naive else "refuted", evidence)


def _window(inside: Sequence[KeptRun], outside: Sequence[KeptRun]) -> Verdict:
    name = f"u turns for γ from {WINDOW[0]:.5f} to {WINDOW[1]:.5f} and nowhere else"
    if not inside or not outside:
        return Verdict(name, "open", "the discounts lie on one side: pass more --discounts")
    least = min(min(row["turns"]) for row in inside)
    most = max(max(row["turns"]) for row in outside)
    tested = sorted({row["discount"] for row in inside})
    evidence = (
        f"sign changes of state 7's TD error in the second half of a run: at least {least} inside (γ = {tested[0]:g} "
        f"to {tested[-1]:g}), at most {most} outside"
    )
    return Verdict(name, "verified" if least > 0 and most == 0 else "refuted", evidence)


def _threshold(thresholds: Sequence[KeptRun]) -> Verdict:
    error = max(abs(row["discount"] - threshold(row["step"])) for row in thresholds)
    shown = ", ".join(f"η = {row['step']:g}: {row['discount']:.6f}" for row in thresholds)
    evidence = (
        f"bisected on runs of 2^{DOUBLINGS} steps: {shown}; off by at most {error:.1e} (limit {THRESHOLD_TOLERANCE:g})"
    )
    verdict = "verified" if error <= THRESHOLD_TOLERANCE else "refuted"
    return Verdict("unstable above (15 - 26η)/(17 - 26η) at a finite step size", verdict, evidence)


def _limit(thresholds: Sequence[KeptRun]) -> Verdict:
    double, single = ({row["step"]: row["discount"] for row in thresholds}[step] for step in VANISHING)
    limit = 2 * single - double
    error = abs(limit - LIMIT_THRESHOLD)
    evidence = f"extrapolated to η = 0: {limit:.7f} against {LIMIT_THRESHOLD:.7f}, off by {error:.1e}"
    return Verdict("unstable above 15/17 as η → 0", "verified" if error <= THRESHOLD_TOLERANCE else "refuted", evidence)


def _sign(rows: Sequence[KeptRun]) -> Verdict:
    name = "a run grows exactly when |1 + ηλ| > 1, also where SEEM < 0"
    wrong = [r for r in rows for g in r["growth"] if (g > 1) != (abs(1 + r["step"] * leading(r["discount"])) > 1)]
    missed = [row for row in rows if leading(row["discount"]).real < 0 and min(row["growth"]) > 1]
    shown = ", ".join(f"γ = {row['discount']:g} at η = {row['step']:g}" for row in missed) or "none"
    total = sum(len(row["growth"]) for row in rows)
    evidence = f"{total - len(wrong)} of {total} runs; growing with Re λ < 0: {shown}"
    return Verdict(name, "refuted" if wrong else "verified" if missed else "open", evidence)
