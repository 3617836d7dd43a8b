"""Train small homogeneous critics to blow-up under many training rules and compare with the growth laws.

    python experiments/verify_laws.py --quick

Exit status: 0 when every law is verified or open, 1 when one is refuted, 2 on bad input.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from laws_descent import (
    check_complex_pair,
    check_decay,
    check_ema,
    check_huber,
    check_momentum,
    check_schedule,
    check_sgd,
)
from laws_measurement import Measurement, Start
from laws_signs import check_adam, check_clipping, check_signs
from matplotlib.figure import Figure
from rich.table import Table
from verdicts import Claim, as_json, open_console, print_claims

from seem.config import versions
from seem.errors import InputError, run_command
from seem.executors import ExecutorOptions
from seem.plots import new_figure, save_figure
from seem.records import canonical_json, make_folder, write_atomically
from seem.sweep import run_tasks, show_progress

Check = Callable[[Start], list[Measurement]]
CHECKS: dict[str, Check] = {
    "sgd": check_sgd,
    "adam": check_adam,
    "ema": check_ema,
    "momentum": check_momentum,
    "clipping": check_clipping,
    "huber": check_huber,
    "decay": check_decay,
    "schedule": check_schedule,
    "signs": check_signs,
}
DEEPEST = 6
"""Deeper narrow ReLU critics start with almost no living path."""


@dataclass(frozen=True)
class Options:
    """Confirm or refute each growth law in full discrete training.

    Attributes:
        depths: Numbers of weight matrices, 2 to 6.
        seeds: Seeds of rows and weights; all are reported.
        width: Units of each hidden layer, 4 to 256.
        laws: Checks to run; all by default.
        execution: Where the checks are computed.
        out: Output folder.
        quick: Depth 2, one seed and a narrow critic: a first look in seconds.
    """

    depths: tuple[int, ...] = (2, 3, 4)
    seeds: tuple[int, ...] = (0,)
    width: int = 16
    laws: tuple[str, ...] = tuple(CHECKS)
    execution: tyro.conf.OmitArgPrefixes[ExecutorOptions] = ExecutorOptions()
    out: Path = Path("runs") / "laws"
    quick: bool = False


@dataclass(frozen=True)
class CheckTask:
    """A check and where it starts."""

    name: str
    check: Check
    start: Start


def list_tasks(options: Options) -> list[CheckTask]:
    """What is run: a check and where it starts; the linear check of complex pairs once a seed.

    Raises:
        InputError: When an option is impossible.
    """
    if not options.depths or not options.seeds or not options.laws:
        raise InputError("nothing to verify: pass at least one of --depths, of --seeds and of --laws")
    for depth in options.depths:
        if not 2 <= depth <= DEEPEST:
            raise InputError(f"depth {depth} has no law to verify here: pass --depths from 2 to {DEEPEST}")
    if not 4 <= options.width <= 256:
        raise InputError(f"--width {options.width} is too narrow or too wide for a small critic: pass 4 to 256")
    if any(seed < 0 for seed in options.seeds):
        raise InputError("a seed is negative: pass --seeds of 0 or more")
    unknown = [name for name in options.laws if name not in CHECKS]
    if unknown:
        raise InputError(f"unknown law {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    depths, seeds, width = options.depths, options.seeds, options.width
    if options.quick:
        depths, seeds, width = depths[:1], seeds[:1], min(width, 8)
    chosen = [(name, CHECKS[name], depth) for name in options.laws for depth in depths]
    if "ema" in options.laws:
        chosen.append(("complex pair", check_complex_pair, 1))
    return [
        CheckTask(f"{name} L={depth} seed {seed}", check, Start(depth, seed, width))
        for name, check, depth in chosen
        for seed in seeds
    ]


def run_check(task: CheckTask) -> list[Measurement]:
    """One check, in whatever process."""
    return task.check(task.start)


def judge(measurements: list[Measurement]) -> list[Claim]:
    """One claim a law that has judged measurements; a law without a usable window stays open."""
    claims = []
    for law in dict.fromkeys(m.law for m in measurements if m.holds is not None):
        judged = [m for m in measurements if m.law == law and m.holds is not None]
        unusable = [m for m in judged if math.isnan(m.measured)]
        usable = [m for m in judged if not math.isnan(m.measured)]
        if not usable:
            claims.append(Claim(law, "open", "no window was long enough to measure anything: raise --width"))
            continue
        failed = [m for m in usable if not m.holds]
        held = [_gap(m) for m in usable if m.holds]
        evidence = f"{len(held)} of {len(usable)} within their limits, worst of these off by {max(held, default=0):.1%}"
        if unusable:
            evidence += f"; {len(unusable)} windows too short"
        for m in failed:
            evidence += (
                f"; L = {m.depth}, seed {m.seed}: {m.quantity} {m.measured:.4g}, not {m.predicted:.4g} ({m.window})"
            )
        claims.append(Claim(law, "refuted" if failed else "verified", evidence))
    return claims


def _gap(m: Measurement) -> float:
    if m.measured == m.predicted:
        return 0.0
    return abs(m.measured - m.predicted) / (abs(m.predicted) if m.predicted else 1.0)


def table_of(measurements: list[Measurement]) -> Table:
    """All measurements, judged or only shown."""
    table = Table(title="Growth laws against full discrete training")
    for heading in ("law", "L", "seed", "quantity", "predicted", "measured", "holds", "align", "window"):
        table.add_column(heading, justify="left" if heading in ("law", "quantity", "window") else "right")
    words = {True: "yes", False: "NO", None: "shown"}
    for m in measurements:
        numbers = f"{m.predicted:.4g}", f"{m.measured:.4g}"
        holds, aligned = words[m.holds], f"{m.alignment:.3f}"
        table.add_row(m.law, str(m.depth), str(m.seed), m.quantity, *numbers, holds, aligned, m.window)
    return table


def plot_lines(measurements: list[Measurement]) -> Figure:
    """What each law makes a straight line, scaled to run from 0 to 1.

    Args:
        measurements: Those with a curve are drawn.

    Returns:
        One panel a law, one line a run, and the diagonal.
    """
    drawn = [m for m in measurements if len(m.curve) > 1]
    laws = list(dict.fromkeys(m.law for m in drawn))
    columns = min(3, max(1, len(laws)))
    rows = max(1, math.ceil(len(laws) / columns))
    figure = new_figure(3.6 * columns, 2.8 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, law in zip(axes, laws, strict=False):
        for m in (m for m in drawn if m.law == law):
            values = np.array(m.curve)
            span = values[-1] - values[0]
            axis.plot(np.linspace(0, 1, len(values)), (values - values[0]) / (span or 1.0), label=f"L = {m.depth}")
        axis.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":")
        axis.set(title=law, xlabel="share of the window", ylabel="linearised Q")
        axis.legend(fontsize=7)
    for axis in axes[len(laws) :]:
        axis.set_axis_off()
    figure.suptitle("What each growth law makes a straight line")
    return figure


def main(options: Options) -> int:
    """Run the checks, print the table and the verdicts, and write results.json and lines.png.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    console = open_console()
    tasks = list_tasks(options)
    options.execution.check()
    out = make_folder(options.out)
    finished = dict(show_progress(run_tasks(run_check, tasks, options.execution, folder=out), len(tasks), console))
    measurements = [m for task in tasks for m in finished[task]]
    claims = judge(measurements)
    console.print(table_of(measurements))
    results = {"options": {**asdict(options), "out": None}, "versions": versions(), "claims": as_json(claims)}
    results["measurements"] = [{**asdict(m), "holds": m.holds} for m in measurements]
    write_atomically(out / "results.json", canonical_json(results) + "\n")
    save_figure(plot_lines(measurements), out / "lines.png")
    console.print(f"results.json and lines.png: {out}", highlight=False, soft_wrap=True)
    return print_claims(console, claims)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
