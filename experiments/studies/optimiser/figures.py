"""The table and both figures of verify_optimiser."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from studies.optimiser.growth import AIM, PREDICTED, errors
from studies.optimiser.leaving import forecasts, holds, ratios
from studies.optimiser.runs import HORIZONS, NEXT
from studies.optimiser.signals import BEST, HORIZON, RECALL, SIGNALS, family, tell
from studies.shared.arms import median_step
from studies.shared.runs import KeptRun, diverged, groups

from seem.plots import new_figure

SHOWN = {PREDICTED: ("tab:blue", "o"), "persistence": ("tab:orange", "s"), "no change": ("0.45", "^")}
LEAST = 1e-3
"""Smallest error that is drawn."""


def table(runs: Sequence[KeptRun]) -> Table:
    """One line per data set and arm."""
    title = f"Median |ln(growth of |u|)| that was missed: {' / '.join(SHOWN)}; stated over real time to the bound"
    shown = Table(title=title)
    headings = ("diverge", "at step", *(f"over {steps} steps" for steps in HORIZONS), "stated / real", "interval holds")
    for heading in ("data", "arm", *headings):
        shown.add_column(heading, justify="left" if heading in ("data", "arm") else "right")
    for (data, arm), cell in groups(runs, "data", "arm").items():
        missed = (medians(cell, steps) for steps in HORIZONS)
        words = ("-" if own is None else " / ".join(f"{value:.3f}" for value in own) for own in missed)
        shown.add_row(data, arm, f"{diverged(cell)}/{len(cell)}", median_step(cell), *words, _times(cell), _held(cell))
    return shown


def medians(runs: Sequence[KeptRun], steps: int) -> tuple[float, ...] | None:
    """Medians over runs of the errors of what is shown; None where no run has one."""
    found = errors(runs, steps, *SHOWN)
    return tuple(float(value) for value in np.median(np.array(found), axis=0)) if found else None


def _times(runs: Sequence[KeptRun]) -> str:
    every = np.concatenate([ratios(run) for run in runs])
    if not len(every):
        return "-"
    low, middle, high = np.quantile(every, (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _held(runs: Sequence[KeptRun]) -> str:
    known = [run for run in runs if run["divergence_step"] is not None and forecasts(run).any()]
    return f"{sum(bool(holds(run)[0]) for run in known)}/{len(known)}" if known else "-"


def figures(runs: Sequence[KeptRun]) -> dict[str, Figure]:
    """Errors of predicted growth by arm, and how well each signal ranks."""
    return {"growth.png": plot_growth(runs), "signals.png": plot_signals(runs)}


def plot_growth(runs: Sequence[KeptRun]) -> Figure:
    """Median error of the predicted growth, of persistence and of no change, one panel a horizon, one line an arm."""
    arms = [(arm, cell) for (arm,), cell in groups(runs, "arm").items()]
    figure = new_figure(8.0, 1.6 + 0.26 * len(arms))
    axes = figure.subplots(1, len(HORIZONS), sharey=True)
    for axis, steps in zip(axes, HORIZONS, strict=True):
        found = [medians(cell, steps) for _, cell in arms]
        for number, (name, (colour, marker)) in enumerate(SHOWN.items()):
            points = [(max(own[number], LEAST), place) for place, own in enumerate(found) if own is not None]
            if points:
                axis.plot(*zip(*points, strict=True), marker, color=colour, ms=5)
                _name(axis, name, points[0][0], number, colour)
        aims = " (dotted: both aims)" if steps == NEXT else ""
        axis.set(xscale="log", xlim=(LEAST / 2, 20), title=f"over {steps} steps{aims}")
        axis.set_xlabel("median |ln(said / real growth of |u|)|")
        if steps == NEXT:
            for aim in AIM.values():
                axis.axvline(aim, color="0.7", lw=0.8, ls=":")
    _lines(axes[0], [arm for arm, _ in arms], len(SHOWN))
    return figure


def _name(axis: Axes, name: str, place: float, number: int, colour: str) -> None:
    """The name of a series above its first mark, each on a line of its own."""
    axis.text(place, -0.7 - 0.75 * number, name, color=colour, ha="center", va="bottom", fontsize=9)


def _lines(axis: Axes, names: Sequence[str], series: int) -> None:
    """Names of the lines, with room above them for the names of the series."""
    axis.set_yticks(range(len(names)), list(names))
    axis.set_ylim(len(names) - 0.5, -0.8 - 0.75 * series)
    axis.tick_params(axis="y", length=0)


def plot_signals(runs: Sequence[KeptRun]) -> Figure:
    """ROC-AUC and precision of every signal under Adam, one mark a data set."""
    figure = new_figure(8.0, 1.8 + 0.28 * len(SIGNALS))
    axes = figure.subplots(1, 2, sharey=True)
    cells = groups(family(runs, "Adam"), "data")
    for number, ((data,), cell) in enumerate(cells.items()):
        told = [(place, own) for place, signal in enumerate(SIGNALS) if (own := tell(cell, signal)) is not None]
        for statistic, axis in enumerate(axes):
            values = [own.estimates()[statistic] for _, own in told]
            if values:
                axis.plot(values, [place for place, _ in told], "o", color=f"C{number}", ms=5)
                axis.text(1.0, -0.7 - 0.75 * number, data, color=f"C{number}", ha="right", va="bottom", fontsize=9)
    for axis, heading, least in zip(axes, ("ROC-AUC", f"precision at recall {RECALL:g}"), (0.5, 0), strict=True):
        axis.set(xlabel=heading, xlim=(min(least, axis.dataLim.x0), 1.02))
        axis.grid(axis="y", color="0.9", lw=0.8)
    _lines(axes[0], list(SIGNALS), len(cells))
    for label in axes[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == BEST else "normal")
    figure.suptitle(f"Which signal tells that Q leaves its bound within {HORIZON} steps, under Adam", fontsize=10)
    return figure
