"""Figures, drawn from records only."""

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from seem.analysis import linearity, surge
from seem.growth import SGDLaw
from seem.records import RunRecord, write_atomically
from seem.watch_history import Line

LARGEST_DRAWN = 1e12
COLOURS = {"law": "tab:blue", "slope": "tab:orange", "forecast": "black", "crash": "tab:red", "layer": "tab:green"}


def new_figure(width: float | int, height: float | int) -> Figure:
    """An empty figure of its own, which no window or global state of matplotlib knows.

    Args:
        width: In inches.
        height: In inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically; titles, labels and legends are taken as they are, without mathematics.

    Args:
        figure: The figure.
        path: Where; its folder must exist.
    """
    for text in _words(figure):
        text.set_parse_math(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_atomically(path, content.getvalue())


def _words(figure: Figure) -> Iterator[Text]:
    """Every text that may hold a name of somebody's; ticks are matplotlib's own, and its powers of ten are formulas."""
    found = figure.findobj(Text)  # first, as looking makes the ticks that there are going to be
    # The ticks that there are: get_ticklabels would lay out all of them first, a third of a figure's time.
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    labels = [label for axis in axes for tick in _ticks(axis) for label in (tick.label1, tick.label2)]
    ticks = {id(text) for text in (*labels, *(axis.get_offset_text() for axis in axes))}
    for text in found:
        if isinstance(text, Text) and id(text) not in ticks:
            yield text


def _ticks(axis: Axis) -> list[Tick]:
    return [*axis.majorTicks, *axis.minorTicks]


def _depth(record: RunRecord) -> int:
    return record.outcome["run"]["agent"]["critic"]["depth"]


def _title(record: RunRecord) -> str:
    return f"L = {_depth(record)}, seed {record.outcome['run']['seed']}"


COLUMNS = 5
"""Panels beside each other at most."""


def _grid(records: Sequence[RunRecord]) -> tuple[Figure, list[Axes]]:
    """One panel a record; a new row begins with every depth."""
    counts = Counter(sorted(map(_depth, records)))
    columns = min(COLUMNS, max(counts.values()))
    rows = {depth: -(-count // columns) for depth, count in counts.items()}
    figure = new_figure(4.6 * columns, 2.9 * sum(rows.values()) + 0.5)
    axes = iter(figure.subplots(sum(rows.values()), columns, squeeze=False).flat)
    panels = []
    for depth, count in counts.items():
        cells = [next(axes) for _ in range(rows[depth] * columns)]
        panels += cells[:count]
        for axis in cells[count:]:
            axis.set_axis_off()
    return figure, panels


def _source(records: Sequence[RunRecord]) -> str:
    data = records[0].outcome["data"]
    return data["label"] if data["name"] in data["label"] else f"{data['name']} ({data['label']})"


def plot_forecasts(records: Sequence[RunRecord]) -> Figure:
    """Forecast crash step against the step it was made at, with the observed crash.

    Args:
        records: Plain runs, sorted by depth and seed.

    Returns:
        One panel per run: law, slope, their geometric mean with its interval, and the crash.
    """
    figure, panels = _grid(records)
    for record, axis in zip(records, panels, strict=True):
        crash = record.outcome["crash_step"]
        top = 2 * (crash or record.outcome["steps"])
        steps = np.array([line["step"] for line in record.forecasts])
        drawn = {
            name: np.array([line[name] for line in record.forecasts])
            for name in ("crash_step", "earliest", "latest", "law_step", "slope_step")
        }
        band = {name: np.minimum(drawn[name], 4 * top) for name in ("earliest", "latest")}
        axis.fill_between(steps, band["earliest"], band["latest"], color="0.85", label="interval")
        for name, colour, label in (("law_step", "law", "law"), ("slope_step", "slope", "slope")):
            axis.plot(steps, _finite(drawn[name]), color=COLOURS[colour], lw=1, label=label)
        axis.plot(steps, _finite(drawn["crash_step"]), color=COLOURS["forecast"], lw=1.6, label="forecast")
        axis.plot([0, top], [0, top], color="0.7", lw=0.8, ls=":")
        if crash is not None:
            axis.axhline(crash, color=COLOURS["crash"], lw=1.2, ls="--", label=f"observed: {crash}")
        axis.set(title=_title(record), xlim=(0, steps[-1] * 1.02 + 1), ylim=(0, top))
        axis.set(xlabel="step the forecast was made at", ylabel="forecast crash step")
        axis.legend(fontsize=7, loc="upper right")
    figure.suptitle(f"Crash step: forecast before it happened, and observed\n{_source(records)}")
    return figure


def _finite(values: np.ndarray) -> np.ndarray:
    """Values that an axis can hold; the last ones before an overflow are left out."""
    return np.where(np.abs(values) < LARGEST_DRAWN, values, np.nan)


def plot_power_lines(records: Sequence[RunRecord]) -> Figure:
    """Q^(-p) over the final surge, for the law's exponent and its rivals, each scaled to start at 1.

    Args:
        records: Plain runs, sorted by depth and seed; runs that did not crash give an empty panel.

    Returns:
        One panel per run; the legend gives R² of a straight line.
    """
    figure, panels = _grid(records)
    for record, axis in zip(records, panels, strict=True):
        depth = _depth(record)
        q = record.trace["mean_abs_q"].numpy()
        window = surge(q, depth) if record.outcome["crash_step"] is not None else np.empty(0, dtype=int)
        axis.set(title=_title(record), xlabel="step", ylabel="Q^(-p), scaled")
        if len(window) < 3:
            axis.text(0.5, 0.5, "no crash in budget", ha="center", transform=axis.transAxes)
            continue
        exponents = sorted({SGDLaw(other).exponent for other in (2, 3, 4)} | {SGDLaw(depth).exponent})
        for exponent, fit in zip(exponents, linearity(q[window], exponents), strict=True):
            own = math.isclose(exponent, SGDLaw(depth).exponent)
            label = f"p = {exponent:.2f}{' (law)' if own else ''}, R² {fit:.4f}"
            axis.plot(window, (q[window] / q[window[0]]) ** -exponent, lw=2 if own else 1, label=label)
        axis.set_ylim(0, 1.05)
        axis.legend(fontsize=7)
    figure.suptitle(f"Which power of 1/Q falls linearly\n{_source(records)}")
    return figure


def plot_seem_and_q(plain: Sequence[RunRecord], layer_norm: Sequence[RunRecord]) -> Figure:
    """SEEM and Q on one time axis, without and with LayerNorm.

    Args:
        plain: Plain runs, sorted by depth and seed.
        layer_norm: Their LayerNorm controls, in any order.

    Returns:
        One panel a plain run: mean |Q| (left, logarithmic) and the rate ηλ (right).
    """
    controls = {_title(record): record for record in layer_norm}
    figure, panels = _grid(plain)
    for record, axis in zip(plain, panels, strict=True):
        right = axis.twinx()
        pairs = [(record, COLOURS["crash"], "plain")]
        if _title(record) in controls:
            pairs.append((controls[_title(record)], COLOURS["layer"], "LayerNorm"))
        for run, colour, label in pairs:
            q = run.trace["mean_abs_q"].numpy()
            axis.plot(_finite(q), color=colour, lw=1.5, label=f"mean |Q|, {label}")
            steps, leading = run.largest("leading")
            rates = np.array(leading) * run.readings[0]["critics"][0]["step_size"]
            right.plot(steps, np.clip(rates, -1, 10), color=colour, lw=1.2, ls="--", label=f"ηλ, {label}")
        shown = record.outcome["crash_step"] or record.outcome["steps"]
        axis.set(
            title=_title(record),
            xlabel="step",
            ylabel="mean |Q|",
            yscale="log",
            xlim=(0, 1.5 * shown),
            ylim=(1e-2, 1e8),
        )
        right.set_yscale("symlog", linthresh=1e-3)
        right.set(ylabel="SEEM as a rate, ηλ a step", ylim=(-0.1, 10))
        handles = [line for panel in (axis, right) for line in panel.get_lines()]
        axis.legend(handles, [str(line.get_label()) for line in handles], fontsize=6, loc="upper left")
    figure.suptitle(f"SEEM and Q on one time axis\n{_source(plain)}")
    return figure


def plot_error_curves(records: Sequence[tuple[str, RunRecord]]) -> Figure:
    """Forecast error over the share of the run at which the forecast was made.

    Args:
        records: Names of data sets, each with one plain run; runs that did not crash are left out.

    Returns:
        One panel per depth, one curve per run, solid for self-excitation and dotted for any other mechanism; errors
        beyond twice the run are cut off.
    """
    crashed = [(name, record) for name, record in records if record.outcome["crash_step"] is not None]
    depths = sorted({_depth(record) for _, record in crashed}) or [2]
    figure = new_figure(6.4 * len(depths), 4.6)
    for depth, axis in zip(depths, figure.subplots(1, len(depths), squeeze=False)[0], strict=True):
        for name, record in crashed:
            if _depth(record) != depth:
                continue
            crash = record.outcome["crash_step"]
            shares = np.array([line["step"] for line in record.forecasts]) / crash
            errors = np.array([line["crash_step"] for line in record.forecasts]) / crash - 1
            style = "-" if record.outcome["mechanism"] == "self-excitation" else ":"
            axis.plot(shares, np.clip(_finite(errors), -1, 2), style, lw=1.2, label=f"{name}, {_title(record)}")
        axis.axhline(0, color="black", lw=0.8)
        axis.set(title=f"L = {depth}", xlabel="share of the run at which the forecast was made")
        axis.set(ylabel="(forecast - observed) / observed", xlim=(0, 1), ylim=(-1, 2))
        axis.legend(fontsize=6, loc="upper left")
    figure.suptitle("Error of the crash forecast over the run")
    return figure


ALARMS = {"not finite": "black", "past what can be earned": "tab:red", "about to leave": "tab:orange"}


def plot_watch(lines: Sequence[Line], title: str = "") -> Figure:
    """The history of a watch: SEEM, mean |Q| over its bound, and the forecasts, with the alarms.

    Args:
        lines: Of `seem.watch_history.read_history`.
        title: Above the picture, such as the file's name.

    Returns:
        Three panels on one axis of steps.
    """
    figure = new_figure(8, 8.4)
    axes = list(figure.subplots(3, 1, sharex=True))
    steps = np.array([line.step for line in lines])

    def drawn(name: str) -> np.ndarray:
        return _finite(np.array([line.entry.get(name, math.nan) for line in lines]))

    def scale(values: np.ndarray) -> float:
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        return float(np.median(sizes)) if len(sizes) else 1.0

    seem = drawn("seem")
    axes[0].plot(steps, seem, "o-", ms=3, lw=1.2, color="tab:blue", label="SEEM")
    low, high = drawn("seem_low"), drawn("seem_high")
    axes[0].vlines(steps, low, high, color="tab:blue", lw=3, alpha=0.3, label="bounds where it was not certified")
    axes[0].axhline(0, color="0.6", lw=0.8)
    axes[0].set_yscale("symlog", linthresh=scale(np.concatenate((seem, high))))
    axes[0].set(ylabel="SEEM, raw")
    axes[1].plot(steps, drawn("share_of_bound"), "o-", ms=3, lw=1.2, color="tab:green", label="mean |Q| / bound")
    axes[1].axhline(1, color=COLOURS["crash"], lw=1.2, ls="--", label="what can be earned")
    axes[1].set(ylabel="mean |Q| over its bound", yscale="log")
    named, first, last = drawn("leaves_at"), drawn("earliest"), drawn("latest")
    axes[2].vlines(steps, first, last, color="0.8", lw=4, label="interval")
    axes[2].plot(steps, named, "o", ms=4, color=COLOURS["forecast"], label="leaves the bound at")
    axes[2].plot(steps[[0, -1]], steps[[0, -1]], color="0.7", lw=0.8, ls=":", label="now")
    axes[2].set(ylabel="forecast step", xlabel="critic step")
    begun: set[str] = set()
    for before, line in zip((None, *lines), lines, strict=False):
        kind = line.kind
        if kind is None or (before is not None and before.kind == kind):
            continue
        for axis in axes:
            axis.axvline(line.step, color=ALARMS[kind], lw=1.2, ls="-.", label=None if kind in begun else kind)
        begun.add(kind)
    for axis in axes:
        axis.margins(y=0.12)
        axis.legend(fontsize=7, loc="best")
    figure.suptitle(title or "A watched training")
    return figure
