"""Figures of the study on few transitions, drawn from kept runs."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.shared.runs import KeptRun, diverged
from studies.small_data.verdicts import ALGORITHMS, CONSTRAINTS, FRACTIONS, SWEPT, cell, over_return, start_bias, sweep

from seem.plots import new_figure

COLOURS = {False: "tab:red", True: "tab:blue"}
LABELS = {False: "no normalisation", True: "LayerNorm"}
SHIFT = {False: -0.08, True: 0.08}
"""Where the points of the two kinds of critics stand beside each other."""


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """Divergence, Q over return and score against the share of the transitions and against the constraint's weight."""
    found = {}
    for data in dict.fromkeys(run["data"] for run in runs):
        own = [run for run in runs if run["data"] == data]
        found |= {f"fractions-{data}.png": by_fraction(own), f"constraint-{data}.png": by_constraint(own)}
    return found


def by_fraction(runs: Sequence[KeptRun]) -> Figure:
    """One column an algorithm; Q over the data's own returns."""
    figure = new_figure(9.5, 6.6)
    axes = figure.subplots(3, len(ALGORITHMS), sharex=True, sharey="row")
    ticks = [f"{fraction:.0%}\n({_size(runs, fraction)})" for fraction in FRACTIONS]
    for column, algorithm in zip(axes.T, ALGORITHMS, strict=True):
        arms = {
            choice: [cell(runs, algorithm, fraction, layer_norm=choice) for fraction in FRACTIONS]
            for choice in (False, True)
        }
        _panels(column, arms, over_return)
        column[0].set_title(algorithm)
        column[-1].set(xticks=range(len(FRACTIONS)), xticklabels=ticks, xlabel="share of the transitions")
    _symmetric(axes[1][0], 1.0, target=1.0)
    _label(axes[:, 0], "Q over the data's return\n(medians)")
    return figure


def by_constraint(runs: Sequence[KeptRun]) -> Figure:
    """TD3+BC with other weights; Q less what its own policy gets."""
    figure = new_figure(10.5, 3.5)
    axes = figure.subplots(1, 3)
    _panels(axes, {choice: list(sweep(runs, layer_norm=choice).values()) for choice in (False, True)}, start_bias)
    for axis in axes:
        axis.set(xticks=range(len(CONSTRAINTS)), xticklabels=[f"{weight:g}" for weight in CONSTRAINTS])
        axis.set_xlabel("weight of the constraint (published: 1)")
    _symmetric(axes[1], 100.0, target=0.0)
    _label(axes, "Q - the policy's own return,\nboth discounted")
    figure.suptitle(f"TD3+BC, {SWEPT:.0%} of the transitions ({_size(runs, SWEPT)})", fontsize=10)
    return figure


def _panels(
    axes: Sequence[Axes], arms: dict[bool, list[list[KeptRun]]], bias: Callable[[KeptRun], float | None]
) -> None:
    """Three panels: the share that diverges, Q against what it should be, the score."""
    if arms[False][0][0]["not_run"]:
        for axis in axes:
            axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center", color="0.5")
        return
    for choice, cells in arms.items():
        places = np.arange(len(cells)) + SHIFT[choice]
        shares = [diverged(runs) / len(runs) for runs in cells]
        axes[0].plot(places, shares, "o-", color=COLOURS[choice], label=LABELS[choice], ms=5)
        _points(axes[1], places, [[bias(run) for run in runs] for runs in cells], COLOURS[choice])
        _points(axes[2], places, [[run["score"] for run in runs] for runs in cells], COLOURS[choice])
    axes[0].set_ylim(-0.05, 1.05)


def _points(axis: Axes, places: Sequence[float], cells: list[list[float | None]], colour: str) -> None:
    """One point per run, a line through the medians."""
    if any(None in values for values in cells):
        axis.text(0.5, 0.5, "not available", transform=axis.transAxes, ha="center", color="0.5")
        return
    axis.plot(places, [np.median(values) for values in cells], color=colour, lw=1.2)
    for place, values in zip(places, cells, strict=True):
        axis.plot([place] * len(values), values, "o", color=colour, ms=4, alpha=0.5)


def _symmetric(axis: Axes, linear: float, target: float) -> None:
    """A scale that is linear up to ±linear and logarithmic beyond, with a line where Q should be."""
    beside = axis.get_shared_y_axes().get_siblings(axis)
    low = min((shown.dataLim.y0 for shown in beside if shown.lines), default=0.0)
    high = max((shown.dataLim.y1 for shown in beside if shown.lines), default=0.0)
    axis.set_yscale("symlog", linthresh=linear)
    axis.set_ylim(min(2 * low, -1.5 * linear), max(2 * high, 3 * linear))
    axis.yaxis.set_major_formatter("{x:g}")
    for shown in beside:
        shown.axhline(target, color="0.6", lw=0.8)


def _label(axes: Sequence[Axes], bias: str) -> None:
    for axis, label in zip(axes, ("share of runs that diverge", bias, "D4RL's normalised score"), strict=True):
        axis.set_ylabel(label, fontsize=9)
    axes[0].legend(fontsize=8)


def _size(runs: Sequence[KeptRun], fraction: float) -> str:
    return f"{next(run['transitions'] for run in runs if run['fraction'] == fraction):,}"
