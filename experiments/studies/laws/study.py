"""Train small homogeneous critics to blow-up under many training rules and compare with the growth laws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from studies.laws.descent import (
    check_complex_pair,
    check_decay,
    check_ema,
    check_huber,
    check_momentum,
    check_schedule,
    check_sgd,
)
from studies.laws.measurement import Measurement, Start
from studies.laws.signs import check_adam, check_clipping, check_signs
from studies.shared.runs import KeptRun
from studies.shared.study import Plan, Study, StudyOptions
from studies.shared.verdicts import Verdict

from seem.checks import check_choice, check_integer, check_unique
from seem.plots import new_figure

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
WIDEST = 256
"""Units of a small critic."""


@dataclass(frozen=True)
class LawsOptions(StudyOptions):
    """Command line of the study of growth laws.

    Attributes:
        depths: Numbers of weight matrices, 2 to 6.
        width: Units of each hidden layer, 4 to 256.
        laws: Checks to run; all by default.
    """

    depths: tuple[int, ...] = (2, 3, 4)
    width: int = 16
    laws: tuple[str, ...] = tuple(CHECKS)

    def shortened(self) -> Self:
        """A first look: depth 2, one seed and a narrow critic."""
        return replace(self, depths=self.depths[:1], seeds=self.seeds[:1], width=min(self.width, 8))


@dataclass(frozen=True)
class CheckTask:
    """A check and where it starts."""

    name: str
    check: Check
    start: Start


def plan(options: LawsOptions) -> Plan:
    """What is run: a check and where it starts; the linear check of complex pairs once per seed.

    Raises:
        InputError: When an option is impossible.
    """
    for depth in check_unique("--depths", options.depths):
        check_integer("--depths", depth, 2, DEEPEST)
    check_integer("--width", options.width, 4, WIDEST)
    for law in check_unique("--laws", options.laws):
        check_choice("--laws", law, tuple(CHECKS))
    chosen = [(name, CHECKS[name], depth) for name in options.laws for depth in options.depths]
    if "ema" in options.laws:
        chosen.append(("complex pair", check_complex_pair, 1))
    tasks = [
        CheckTask(f"{name} L={depth} seed {seed}", check, Start(depth, seed, options.width))
        for name, check, depth in chosen
        for seed in options.seeds
    ]
    return Plan(tasks, measure)


def measure(_out: Path, task: CheckTask) -> list[KeptRun]:
    """The measurements of one check, each with whether it holds."""
    return [{**asdict(m), "holds": m.holds} for m in task.check(task.start)]


def measurements(runs: Sequence[KeptRun]) -> list[Measurement]:
    """Kept measurements; whether they hold is judged anew."""
    names = Measurement.__dataclass_fields__
    return [Measurement(**{key: value for key, value in run.items() if key in names}) for run in runs]


def judge(runs: Sequence[KeptRun]) -> list[Verdict]:
    """One verdict per law that has judged measurements; a law without a usable window stays open."""
    verdicts, found = [], measurements(runs)
    for law in dict.fromkeys(m.law for m in found if m.holds is not None):
        judged = [m for m in found if m.law == law and m.holds is not None]
        unusable = [m for m in judged if math.isnan(m.measured)]
        usable = [m for m in judged if not math.isnan(m.measured)]
        if not usable:
            verdicts.append(Verdict(law, "open", "no window was long enough to measure anything: raise --width"))
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
        verdicts.append(Verdict(law, "refuted" if failed else "verified", evidence))
    return verdicts


def _gap(m: Measurement) -> float:
    if m.measured == m.predicted:
        return 0.0
    return abs(m.measured - m.predicted) / (abs(m.predicted) if m.predicted else 1.0)


def tables(runs: Sequence[KeptRun]) -> list[Table]:
    """All measurements, judged or only shown."""
    table = Table(title="Growth laws against full discrete training")
    for heading in ("law", "L", "seed", "quantity", "predicted", "measured", "holds", "align", "window"):
        table.add_column(heading, justify="left" if heading in ("law", "quantity", "window") else "right")
    words = {True: "yes", False: "NO", None: "shown"}
    for m in measurements(runs):
        numbers = f"{m.predicted:.4g}", f"{m.measured:.4g}"
        holds, aligned = words[m.holds], f"{m.alignment:.3f}"
        table.add_row(m.law, str(m.depth), str(m.seed), m.quantity, *numbers, holds, aligned, m.window)
    return [table]


def plot_lines(runs: Sequence[KeptRun]) -> Figure:
    """What each law makes a straight line, scaled to run from 0 to 1: one panel per law, and the diagonal."""
    drawn = [m for m in measurements(runs) if len(m.curve) > 1]
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


STUDY = Study(
    name="laws",
    options=LawsOptions(),
    arms=tuple(CHECKS),
    plan=plan,
    judge=judge,
    tables=tables,
    figures=lambda runs, _: {"lines.png": plot_lines(runs)},
)
