"""The README's picture, from recorded runs: a forecast that came true, one that did not, and all of a declared study.

Runs are chosen by rule: of the runs on windows that crash the one whose error at 80 % is their median; of those that do
not crash the one with the most forecasts of a crash within its budget, which is the worst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.growth.verdicts import of_kind
from studies.shared.record import RECORDED, read_results
from studies.shared.recorded import records
from studies.shared.runs import KeptRun

from seem.plots import new_figure, save_figure
from seem.records import RunRecord, make_folder, read_run

PICTURE = Path(__file__).parents[3] / "docs" / "forecasts.png"
WINDOWS, DECLARED = RECORDED / "d4rl-v0-windows", RECORDED / "growth-confirmation"
FRACTION, CLOSE = 0.8, 0.1
"""The share of a run at which forecasts are compared, and the error that the study declares for it."""
BLUE, RED, GREY = "#0072B2", "#D55E00", "0.45"
"""Of Okabe and Ito's palette, which colour-blind readers tell apart; shapes and words say the same."""


@dataclass(frozen=True)
class PictureOptions:
    """Draw the README's picture.

    Attributes:
        out: Where it is written.
    """

    out: Path = PICTURE


def write_picture(options: PictureOptions) -> int:
    """Draw the picture and write it.

    Returns:
        0.
    """
    make_folder(options.out.parent)
    save_figure(picture(), options.out)
    print(f"written: {options.out}")
    return 0


def picture() -> Figure:
    """The three panels."""
    figure = new_figure(10, 3.7)
    true, false, every = figure.subplots(1, 3)
    draw_run(true, came_true(), "It came true")
    draw_run(false, never_came(), "It did not come true")
    draw_all(every, of_kind(read_results(DECLARED)[1], "plain"))
    return figure


def window_runs() -> Iterator[tuple[Path, KeptRun]]:
    """Folder and kept row of every plain run on the windows."""
    for path in records(WINDOWS):
        for row in of_kind(read_results(path.parent)[1], "plain"):
            yield path.parent / "runs" / row["folder"], row


def error_of(row: KeptRun) -> float | None:
    """Error of a run's forecast at 80 %, as a share of the run."""
    return next((float(error["crash"]) for error in row["errors"] if error["fraction"] == FRACTION), None)


def came_true() -> RunRecord:
    """The run whose error at 80 % is the median of those that crash."""
    sizes = {folder: abs(error) for folder, row in window_runs() if (error := error_of(row)) is not None}
    return read_run(sorted(sizes, key=sizes.__getitem__)[len(sizes) // 2])


def never_came() -> RunRecord:
    """The run without a crash that had the largest share of forecasts of one within its budget."""
    runs = [read_run(folder) for folder, row in window_runs() if row["crash_step"] is None]
    return max(runs, key=lambda run: np.mean([line["crash_step"] <= run.outcome["steps"] for line in run.forecasts]))


def draw_run(axis: Axes, run: RunRecord, said: str) -> None:
    """The forecast crash step of one run over the step at which it was made."""
    crash, end = run.outcome["crash_step"], run.outcome["steps"]
    depth = run.outcome["run"]["agent"]["critic"]["depth"]
    steps, forecast = (np.array([line[name] for line in run.forecasts], dtype=float) for name in ("step", "crash_step"))
    top = 2.0 * (crash or end)
    axis.plot(steps, np.where(forecast < 4 * top, forecast, np.nan), ".-", color=BLUE, lw=1, ms=4)
    axis.plot([0, end], [0, end], ":", color=GREY, lw=1)
    axis.text(0.97 * end, 0.5 * end, "this very step", color=GREY, ha="right", va="top")
    if crash is None:
        axis.axvline(end, color=RED, lw=1.5)
        axis.text(0.97 * end, 0.97 * top, f"no crash in {end} steps", color=RED, ha="right", va="top")
        named = f"{np.sum(forecast <= end)} of {len(forecast)} forecasts named one"
        axis.text(0.97 * end, 0.87 * top, named, color=BLUE, ha="right", va="top")
    else:
        axis.axhline(crash, color=RED, lw=1.5)
        axis.text(0.2 * end, crash - 0.07 * top, f"crash at step {crash}", color=RED, va="top")
        axis.text(0.97 * end, 0.97 * top, "forecast", color=BLUE, ha="right", va="top")
    axis.set(xlim=(0, 1.02 * end), ylim=(0, top), xlabel="step at which it was forecast", ylabel="forecast crash step")
    data = run.outcome["data"]
    axis.set_title(f"{said}\n{data['name']}, L = {depth}\n{data['label']}", fontsize=10)


def draw_all(axis: Axes, rows: Sequence[KeptRun]) -> None:
    """Forecasts at 80 % of every run of a study against its crash."""
    crashed = [(row["crash_step"], error) for row in rows if (error := error_of(row)) is not None]
    observed, errors = (np.array(values) for values in zip(*crashed, strict=True))
    near, ends = np.abs(errors) <= CLOSE, np.array([80, 3000])
    axis.fill_between(ends, (1 - CLOSE) * ends, (1 + CLOSE) * ends, color="0.9", lw=0)
    for chosen, colour, mark in ((near, BLUE, "o"), (~near, RED, "x")):
        axis.plot(observed[chosen], (observed * (1 + errors))[chosen], mark, color=colour, ms=5, mfc="none")
    axis.text(0.03, 0.97, f"{near.sum()} of {len(near)} within 10 %", color=BLUE, va="top", transform=axis.transAxes)
    axis.text(0.03, 0.87, f"{(~near).sum()} farther off", color=RED, va="top", transform=axis.transAxes)
    never = len(rows) - len(near)
    missing = f"and {never} that were\nforecast to crash\nand did not"
    axis.text(0.97, 0.03, missing, color=RED, ha="right", transform=axis.transAxes)
    axis.set(xscale="log", yscale="log", xlim=(80, 600), ylim=ends)
    axis.set(xlabel="crash step", ylabel="forecast at 80 % of the run")
    for ticks, values in ((axis.set_xticks, (100, 200, 400)), (axis.set_yticks, (100, 300, 1000, 3000))):
        ticks(values, [str(value) for value in values], minor=False)
        ticks([], minor=True)
    depths = ", ".join(str(depth) for depth in sorted({row["depth"] for row in rows}))
    title = f"All {len(rows)} critics of a declared study\n{rows[0]['data']}, L = {depths}\n{rows[0]['label']}"
    axis.set_title(title, fontsize=10)
