"""Run Baird's star and compare with its exact solution: growth a step, the complex window, the thresholds.

    python experiments/verify_baird.py --quick

Exit status: 0 when every claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from baird_star import DOUBLINGS, LIMIT_THRESHOLD, TIME, WINDOW, bisect_threshold, leading, run_star, threshold
from matplotlib.figure import Figure
from rich.progress import track
from verdicts import Claim, conclude, open_console

from seem.errors import InputError, run_command
from seem.plots import new_figure
from seem.records import make_folder

EXACT = 1e-8
"""Largest error of the growth rate (growth - 1)/η of a real mode: rounding, over thousands of steps."""
TURNING = 1e-3
"""The same for a complex pair: what its turning leaves in a straight line through ln ‖u‖ over half a run."""
THRESHOLD_TOLERANCE = 1e-6
"""Largest error of a bisected discount."""
VANISHING = (2e-4, 1e-4)
"""Step sizes whose thresholds are extrapolated to 0."""
EDGE = 0.004
"""Discounts this close to the window's edges would need far longer runs for one mode to win."""
SMALLEST_STEP, LARGEST_STEP = 1e-3, 0.13
"""Below, a run takes too many steps; above, the mode -13 at γ = 0 overtakes the leading one, at 2/15."""


@dataclass(frozen=True)
class Options:
    """Measure the growth of Baird's star.

    Attributes:
        seeds: Seeds of the initial weights; all are reported.
        steps: Step sizes η, 0.001 to 0.13.
        discounts: Discounts γ of the sweep, in [0, 1], off the edges of the complex window.
        out: Output folder.
        quick: Two seeds and the two largest step sizes: a first look in a second.
    """

    seeds: tuple[int, ...] = tuple(range(10))
    steps: tuple[float, ...] = (0.1, 0.05, 0.02, 0.01)
    discounts: tuple[float, ...] = (
        0.0,
        0.2,
        0.4,
        0.5,
        0.7,
        0.8,
        0.85,
        0.87,
        0.88,
        0.885,
        0.9,
        0.93,
        0.96,
        0.98,
        0.99,
        1.0,
    )
    out: Path = Path("runs") / "baird"
    quick: bool = False


def check_options(options: Options) -> Options:
    """The options as they are run.

    Raises:
        InputError: When an option is impossible.
    """
    if not options.seeds or not options.steps or not options.discounts:
        raise InputError("nothing to verify: pass at least one of --seeds, of --steps and of --discounts")
    if any(seed < 0 for seed in options.seeds):
        raise InputError("a seed is negative: pass --seeds of 0 or more")
    if any(not SMALLEST_STEP <= step <= LARGEST_STEP for step in options.steps):
        raise InputError(f"a step size is out of range: pass --steps from {SMALLEST_STEP:g} to {LARGEST_STEP:g}")
    if any(not 0 <= discount <= 1 for discount in options.discounts):
        raise InputError("a discount is out of range: pass --discounts from 0 to 1")
    if any(abs(discount - edge) <= EDGE for discount in options.discounts for edge in WINDOW):
        raise InputError(
            f"two modes all but meet at the edge of the complex window: pass --discounts further than {EDGE:g}"
        )
    if options.quick:
        largest = tuple(sorted(options.steps, reverse=True)[:2])
        return replace(options, seeds=options.seeds[:2], steps=largest)
    return options


def judge(numbers: dict[str, Any]) -> list[Claim]:
    """One verdict a claim.

    Args:
        numbers: "runs", rows of `run_star`, and "thresholds", bisected discounts by step size.

    Returns:
        The claims, in the order in which they are printed.
    """
    inside = [row for row in numbers["runs"] if WINDOW[0] < row["discount"] < WINDOW[1]]
    outside = [row for row in numbers["runs"] if row not in inside]
    return [
        _real_claim(outside),
        _modulus_claim(inside),
        _window_claim(inside, outside),
        _threshold_claim(numbers["thresholds"]),
        _limit_claim(numbers["thresholds"]),
        _sign_claim(numbers["runs"]),
    ]


def _rate_errors(rows: list[dict[str, Any]]) -> list[float]:
    """|(measured growth - |1 + ηλ|)/η| of every run."""
    gains = [abs(1 + row["step"] * leading(row["discount"])) for row in rows]
    return [abs(growth - g) / row["step"] for row, g in zip(rows, gains, strict=True) for growth in row["growth"]]


def _real_claim(outside: list[dict[str, Any]]) -> Claim:
    name = "outside the complex window u grows by exactly 1 + ηλ_max a step"
    if not outside:
        return Claim(name, "open", "no discount lies there: pass more --discounts")
    errors = _rate_errors(outside)
    evidence = (
        f"{len(errors)} runs of length η·steps = {TIME:g}: growth rate (growth - 1)/η within {max(errors):.1e} of "
        f"λ_max (limit {EXACT:g})"
    )
    return Claim(name, "verified" if max(errors) <= EXACT else "refuted", evidence)


def _modulus_claim(inside: list[dict[str, Any]]) -> Claim:
    name = "inside it u grows by the modulus |1 + ηλ|, not by 1 + ηRe λ"
    if not inside:
        return Claim(name, "open", "no discount lies there: pass more --discounts")
    errors = _rate_errors(inside)
    values = [(row["step"], leading(row["discount"])) for row in inside]
    naive = max(abs(abs(1 + step * value) - 1 - step * value.real) / step for step, value in values)
    evidence = (
        f"{len(errors)} runs: growth rate within {max(errors):.1e} of (|1 + ηλ| - 1)/η (limit {TURNING:g}); Re λ is "
        f"off by up to {naive:.2g}"
    )
    return Claim(name, "verified" if max(errors) <= TURNING < naive else "refuted", evidence)


def _window_claim(inside: list[dict[str, Any]], outside: list[dict[str, Any]]) -> Claim:
    name = f"u turns for γ from {WINDOW[0]:.5f} to {WINDOW[1]:.5f} and nowhere else"
    if not inside or not outside:
        return Claim(name, "open", "the discounts lie on one side: pass more --discounts")
    least = min(min(row["turns"]) for row in inside)
    most = max(max(row["turns"]) for row in outside)
    tested = sorted({row["discount"] for row in inside})
    evidence = (
        f"sign changes of state 7's TD error in the second half of a run: at least {least} inside (γ = {tested[0]:g} "
        f"to {tested[-1]:g}), at most {most} outside"
    )
    return Claim(name, "verified" if least > 0 and most == 0 else "refuted", evidence)


def _threshold_claim(thresholds: list[dict[str, float]]) -> Claim:
    error = max(abs(row["discount"] - threshold(row["step"])) for row in thresholds)
    shown = ", ".join(f"η = {row['step']:g}: {row['discount']:.6f}" for row in thresholds)
    evidence = (
        f"bisected on runs of 2^{DOUBLINGS} steps: {shown}; off by at most {error:.1e} (limit {THRESHOLD_TOLERANCE:g})"
    )
    verdict = "verified" if error <= THRESHOLD_TOLERANCE else "refuted"
    return Claim("unstable above (15 - 26η)/(17 - 26η) at a finite step size", verdict, evidence)


def _limit_claim(thresholds: list[dict[str, float]]) -> Claim:
    double, single = ({row["step"]: row["discount"] for row in thresholds}[step] for step in VANISHING)
    limit = 2 * single - double
    error = abs(limit - LIMIT_THRESHOLD)
    evidence = f"extrapolated to η = 0: {limit:.7f} against {LIMIT_THRESHOLD:.7f}, off by {error:.1e}"
    return Claim("unstable above 15/17 as η → 0", "verified" if error <= THRESHOLD_TOLERANCE else "refuted", evidence)


def _sign_claim(rows: list[dict[str, Any]]) -> Claim:
    name = "a run grows exactly when |1 + ηλ| > 1, also where SEEM < 0"
    wrong = [r for r in rows for g in r["growth"] if (g > 1) != (abs(1 + r["step"] * leading(r["discount"])) > 1)]
    missed = [row for row in rows if leading(row["discount"]).real < 0 and min(row["growth"]) > 1]
    shown = ", ".join(f"γ = {row['discount']:g} at η = {row['step']:g}" for row in missed) or "none"
    total = sum(len(row["growth"]) for row in rows)
    evidence = f"{total - len(wrong)} of {total} runs; growing with Re λ < 0: {shown}"
    return Claim(name, "refuted" if wrong else "verified" if missed else "open", evidence)


def plot(numbers: dict[str, Any]) -> Figure:
    """Growth rates against the discount, and thresholds against the step size.

    Args:
        numbers: What `judge` takes.

    Returns:
        Two panels.
    """
    figure = new_figure(11, 4.2)
    rates, borders = figure.subplots(1, 2)
    fine = np.linspace(0, 1, 1001)
    for number, step in enumerate(dict.fromkeys(row["step"] for row in numbers["runs"])):
        rows = [row for row in numbers["runs"] if row["step"] == step]
        exact = [(abs(1 + step * leading(discount)) - 1) / step for discount in fine]
        rates.plot(fine, exact, color=f"C{number}", lw=1, label=f"exact, η = {step:g}")
        points = [(row["discount"], (growth - 1) / step) for row in rows for growth in row["growth"]]
        rates.plot(*zip(*points, strict=True), "o", mfc="none", ms=4, color=f"C{number}")
    rates.plot(fine, [leading(discount).real for discount in fine], color="black", lw=0.8, ls=":", label="Re λ (SEEM)")
    rates.axvspan(*WINDOW, color="0.92", label="complex window")
    rates.axhline(0, color="0.5", lw=0.8)
    rates.set(title="Growth of u, circles measured", xlabel="discount γ", ylabel="(growth a step - 1) / η")
    steps = np.linspace(0, max(row["step"] for row in numbers["thresholds"]), 200)
    borders.plot(steps, [threshold(step) for step in steps], lw=1, label="(15 - 26η)/(17 - 26η)")
    points = [(row["step"], row["discount"]) for row in numbers["thresholds"]]
    borders.plot(*zip(*points, strict=True), "o", mfc="none", color="tab:red", label="bisected")
    borders.axhline(LIMIT_THRESHOLD, color="0.5", ls=":", lw=0.8, label="15/17")
    borders.set(title="Unstable above", xlabel="step size η", ylabel="discount γ")
    for axis in (rates, borders):
        axis.legend(fontsize=7)
    figure.suptitle("Baird's star")
    return figure


def main(options: Options) -> int:
    """Run, print the verdicts, and write results.json and baird.png.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    console = open_console()
    used = check_options(options)
    out = make_folder(options.out)
    sweeps = [run_star(used.discounts, used.seeds, step) for step in track(used.steps, "iterating", console=console)]
    thresholds = [{"step": step, "discount": bisect_threshold(step)} for step in (*used.steps, *VANISHING)]
    numbers = {"runs": [row for sweep in sweeps for row in sweep], "thresholds": thresholds}
    return conclude(console, out, "baird.png", options, numbers, judge, plot)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
