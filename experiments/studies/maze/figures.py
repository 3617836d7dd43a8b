"""The figure of the toy maze."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.maze.verdicts import GOLDEN, kind_of
from studies.shared.runs import KeptRun

from seem.plots import new_figure


def plot(runs: Sequence[KeptRun]) -> Figure:
    """The printed run, the surge of every seed, the crash steps, and the errors of the forecasts."""
    rows = [run for run in runs if run["kind"] == "run"]
    figure = new_figure(11, 7.4)
    (printed, surges), (crashes, errors) = figure.subplots(2, 2)
    _plot_printed(printed, next(run for run in runs if run["kind"] == "printed"))
    plain = [row for row in rows if kind_of(row) == "plain"]
    crashed = [row for row in plain if row["crash_step"] is not None]
    discounts = sorted({row["discount"] for row in plain}, reverse=True)
    for number, discount in enumerate(discounts):
        for label, row in _labelled(crashed, discount):
            half = [(step / row["crash_step"], q) for step, q in row["curve"] if step >= row["crash_step"] / 2]
            scaled = [(share, half[0][1] / q) for share, q in half]
            surges.plot(*zip(*scaled, strict=True), color=f"C{number}", lw=1, alpha=0.8, label=label)
            found = np.array([(float(share), e["law"]) for share, e in row["errors"].items() if e]).reshape(-1, 2)
            errors.plot(*found.T, "o-", color=f"C{number}", ms=3, lw=0.8, alpha=0.8, label=label)
    surges.set(title="Second half of the runs that crash", xlabel="share of the run", ylim=(0, None))
    surges.set(ylabel="1 / mean |Q|, relative to half-way")
    errors.axhline(0, color="black", lw=0.8)
    errors.set(title="Forecast s + 1/(ηλ) from one reading", xlabel="share of the run at the reading")
    errors.set(ylabel="(forecast - crash) / crash", ylim=(-0.5, 0.5))
    for axis in (surges, errors) if crashed else ():
        axis.legend(fontsize=7)
    _plot_crashes(crashes, rows)
    figure.suptitle("Toy maze: reward 0, true Q = 0")
    return figure


def _labelled(rows: list[dict[str, Any]], discount: float) -> list[tuple[str | None, dict[str, Any]]]:
    chosen = [row for row in rows if row["discount"] == discount]
    return [(None if number else f"γ = {discount:g} ({len(chosen)} runs)", row) for number, row in enumerate(chosen)]


def _plot_printed(axis: Axes, printed: dict[str, Any]) -> None:
    positive = [(step, 1 / q) for step, q in enumerate(printed["curve"]) if q > 0]  # Q starts below 0
    axis.plot(*zip(*positive, strict=True), lw=1.2, label="this run")
    axis.plot(list(GOLDEN), list(GOLDEN.values()), "o", mfc="none", color="tab:red", label="golden values")
    axis.axvline(printed["crash_step"], color="0.5", ls=":", label=f"crash at {printed['crash_step']}")
    axis.set(title="The printed run (seeds 1458 and 111)", xlabel="iteration", ylabel="1 / mean Q", ylim=(0, 1.5))
    axis.legend(fontsize=7)


def _plot_crashes(axis: Axes, rows: list[dict[str, Any]]) -> None:
    groups = list(dict.fromkeys((kind_of(row), row["discount"]) for row in rows))
    for place, group in enumerate(groups):
        members = [row for row in rows if (kind_of(row), row["discount"]) == group]
        for number, row in enumerate(members):
            style = ("x", "tab:red") if row["crash_step"] else ("^", "0.6")
            at = place + 0.5 * ((number + 0.5) / len(members) - 0.5)
            axis.plot(at, row["crash_step"] or row["budget"], style[0], color=style[1], ms=5)
    names = [f"γ = {discount:g}" + ("" if kind == "plain" else f"\n{kind}") for kind, discount in groups]
    axis.set_xticks(range(len(groups)), names, fontsize=8)
    axis.set(title="Crash (x) or end of budget (triangle), every seed", ylabel="iteration", yscale="log")
