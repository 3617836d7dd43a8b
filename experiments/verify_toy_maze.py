"""Train the toy maze to its crash: the printed run, many seeds and discounts, and a LayerNorm control.

    python experiments/verify_toy_maze.py --quick

Exit status: 0 when every claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import track
from toy_maze import Maze, measure, train
from toy_maze_verdicts import GOLDEN, judge, kind_of
from verdicts import conclude, open_console

from seem.errors import InputError, run_command
from seem.plots import new_figure
from seem.records import make_folder

PRINTED = Maze(trajectory_seed=1458, net_seed=111)
"""Source: the authors' public code (printed)."""
VARIANTS = (
    Maze(1458, 111, dtype="float64"),
    *(Maze(1458, 111, jitter=2.0**-24, jitter_seed=seed) for seed in range(4)),
)
"""The printed run with other rounding: in float64, and with initial weights moved by up to one of float32's."""


@dataclass(frozen=True)
class Options:
    """Reproduce the toy maze and test on many seeds what is said of it.

    Attributes:
        seeds: Seeds; each draws one trajectory and one critic; all are reported.
        discounts: Discounts; the first also has the controls, without biases and with LayerNorm.
        budget: Iterations after which a run without a crash is censored, at least 400.
        out: Output folder.
        quick: Four seeds, the first discount, 600 iterations: a first look in seconds.
    """

    seeds: tuple[int, ...] = tuple(range(10))
    discounts: tuple[float, ...] = (0.99, 0.97, 0.95, 0.9)
    budget: int = 3000
    out: Path = Path("runs") / "toy-maze"
    quick: bool = False


def list_mazes(options: Options) -> list[Maze]:
    """The runs beside the printed one.

    Raises:
        InputError: When an option is impossible.
    """
    if not options.seeds or not options.discounts:
        raise InputError("nothing to verify: pass at least one of --seeds and of --discounts")
    if any(not 0 <= seed < 2**32 for seed in options.seeds):
        raise InputError("a seed is out of numpy's range: pass --seeds from 0 to 4294967295")
    if any(not 0 <= discount < 1 for discount in options.discounts):
        raise InputError("the true Q is 0 only below discount 1: pass --discounts in [0, 1)")
    if options.budget < 400:
        raise InputError(f"--budget {options.budget} is too short for the runs to crash: pass 400 or more")
    seeds, discounts, budget = options.seeds, options.discounts, options.budget
    if options.quick:
        seeds, discounts, budget = seeds[:4], discounts[:1], min(budget, 600)
    plain = [Maze(seed, seed, discount, budget=budget) for discount in discounts for seed in seeds]
    free = [Maze(seed, seed, discounts[0], bias=False, budget=budget) for seed in seeds]
    return plain + free + [Maze(seed, seed, discounts[0], "layer", budget=budget) for seed in seeds]


def read_printed() -> dict[str, Any]:
    """The printed run, and the same with other rounding.

    Returns:
        A JSON object: 1/mean(Q) by golden iteration, the crash step, the last change of a greedy action up to the
        last golden iteration and the changes after it, for each variant its largest deviation of 1/mean(Q) and its
        crash step, and the curve of mean Q.
    """
    run, last = train(PRINTED), max(GOLDEN)
    inverse = {str(step): 1 / run.mean_q[step] for step in GOLDEN}
    variants = []
    for maze in VARIANTS:
        other = train(maze)
        apart = max(abs(1 / other.mean_q[step] - inverse[str(step)]) for step in GOLDEN)
        variants.append({"dtype": maze.dtype, "jitter": maze.jitter, "apart": apart, "crash_step": other.crash_step})
    return {
        "inverse_q": inverse,
        "crash_step": run.crash_step,
        "last_change": max(step for step in run.changes if step <= last),
        "late_changes": [step for step in run.changes if step > last],
        "variants": variants,
        "curve": [float(f"{q:.6g}") for q in run.mean_q],
    }


def plot(numbers: dict[str, Any]) -> Figure:
    """The printed run, the surge of every seed, the crash steps, and the errors of the forecasts.

    Args:
        numbers: What `judge` takes.

    Returns:
        Four panels.
    """
    figure = new_figure(11, 7.4)
    (printed, surges), (crashes, errors) = figure.subplots(2, 2)
    _plot_printed(printed, numbers["printed"])
    plain = [row for row in numbers["runs"] if kind_of(row) == "plain"]
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
    _plot_crashes(crashes, numbers["runs"])
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


def main(options: Options) -> int:
    """Train, print the verdicts, and write results.json and toy_maze.png.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    console = open_console()
    mazes = list_mazes(options)
    out = make_folder(options.out)
    torch.set_num_threads(1)
    rows = [measure(maze) for maze in track(mazes, "training", console=console)]
    numbers = {"printed": read_printed(), "runs": rows}
    return conclude(console, out, "toy_maze.png", options, numbers, judge, plot)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
