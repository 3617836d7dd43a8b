"""Run Baird's star and compare with its exact solution: growth per step, the complex window, the thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from matplotlib.figure import Figure
from studies.baird.star import LIMIT_THRESHOLD, WINDOW, bisect_threshold, leading, run_star, threshold
from studies.baird.verdicts import VANISHING, judge, of_kind
from studies.shared.runs import KeptRun
from studies.shared.study import Plan, Study, StudyOptions

from seem.checks import check_number, check_unique
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.plots import new_figure

EDGE = 0.004
"""Discounts this close to the window's edges would need far longer runs for one mode to win."""
SMALLEST_STEP, LARGEST_STEP = 1e-3, 0.13
"""Below, a run takes too many steps; above, the mode -13 at γ = 0 overtakes the leading one, at 2/15."""


@dataclass(frozen=True)
class BairdOptions(StudyOptions):
    """Command line of the study of Baird's star.

    Attributes:
        steps: Step sizes η, 0.001 to 0.13.
        discounts: Discounts γ of the sweep, in [0, 1], off the edges of the complex window.
    """

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

    def shortened(self) -> Self:
        """A first look: two seeds and the two largest step sizes."""
        return replace(self, seeds=self.seeds[:2], steps=tuple(sorted(self.steps, reverse=True)[:2]))


@dataclass(frozen=True)
class Sweep:
    """The discounts at one step size, and the threshold there; without discounts the threshold alone."""

    step: float
    discounts: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """In words."""
        return f"η = {self.step:g}"


def plan(options: BairdOptions) -> Plan:
    """One sweep per step size, and the thresholds of vanishing ones.

    Raises:
        InputError: When an option is impossible.
    """
    for step in check_unique("--steps", options.steps):
        check_number("--steps", step, least=SMALLEST_STEP, most=LARGEST_STEP)
    for discount in check_unique("--discounts", options.discounts):
        check_number("--discounts", discount, least=0, most=1)
    if any(abs(discount - edge) <= EDGE for discount in options.discounts for edge in WINDOW):
        raise InputError(
            f"two modes all but meet at the edge of the complex window: pass --discounts further than {EDGE:g}"
        )
    sweeps = [Sweep(step, options.discounts, options.seeds) for step in options.steps]
    return Plan([*sweeps, *(Sweep(step, (), ()) for step in VANISHING)], measure)


def measure(_out: Path, sweep: Sweep) -> list[KeptRun]:
    """The runs and the bisected threshold of one step size."""
    rows = run_star(sweep.discounts, sweep.seeds, sweep.step) if sweep.discounts else []
    threshold_row = {"kind": "threshold", "step": sweep.step, "discount": bisect_threshold(sweep.step)}
    return [*({"kind": "run"} | row for row in rows), threshold_row]


def plot(runs: Sequence[KeptRun]) -> Figure:
    """Growth rates against the discount, and thresholds against the step size."""
    measured, bisected = of_kind(runs, "run"), of_kind(runs, "threshold")
    figure = new_figure(11, 4.2)
    rates, borders = figure.subplots(1, 2)
    fine = np.linspace(0, 1, 1001)
    for number, step in enumerate(dict.fromkeys(row["step"] for row in measured)):
        rows = [row for row in measured if row["step"] == step]
        exact = [(abs(1 + step * leading(discount)) - 1) / step for discount in fine]
        rates.plot(fine, exact, color=f"C{number}", lw=1, label=f"exact, η = {step:g}")
        points = [(row["discount"], (growth - 1) / step) for row in rows for growth in row["growth"]]
        rates.plot(*zip(*points, strict=True), "o", mfc="none", ms=4, color=f"C{number}")
    rates.plot(fine, [leading(discount).real for discount in fine], color="black", lw=0.8, ls=":", label="Re λ (SEEM)")
    rates.axvspan(*WINDOW, color="0.92", label="complex window")
    rates.axhline(0, color="0.5", lw=0.8)
    rates.set(title="Growth of u, circles measured", xlabel="discount γ", ylabel="(growth a step - 1) / η")
    steps = np.linspace(0, max(row["step"] for row in bisected), 200)
    borders.plot(steps, [threshold(step) for step in steps], lw=1, label="(15 - 26η)/(17 - 26η)")
    points = [(row["step"], row["discount"]) for row in bisected]
    borders.plot(*zip(*points, strict=True), "o", mfc="none", color="tab:red", label="bisected")
    borders.axhline(LIMIT_THRESHOLD, color="0.5", ls=":", lw=0.8, label="15/17")
    borders.set(title="Unstable above", xlabel="step size η", ylabel="discount γ")
    for axis in (rates, borders):
        axis.legend(fontsize=7)
    figure.suptitle("Baird's star")
    return figure


STUDY = Study(
    name="baird",
    options=BairdOptions(execution=ExecutorOptions(workers=1)),
    arms=(),
    plan=plan,
    judge=judge,
    figures=lambda runs, _: {"baird.png": plot(runs)},
)
