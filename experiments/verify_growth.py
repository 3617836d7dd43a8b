"""Forecast the step at which a critic blows up, go on training, and compare; then judge the growth laws.

    python experiments/verify_growth.py --env hopper

Exit status: 0 when every claim is verified or open, 1 when one is refuted, 2 on bad input.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from growth_study import Cell, StudyConfig, check, list_groups, quick, run_study
from growth_verdicts import judge, of_kind, summarise
from rich.table import Table
from verdicts import Claim, as_json, open_console, print_claims

from seem.config import versions
from seem.datasets import describe, resolve
from seem.errors import run_command
from seem.executors import ExecutorOptions
from seem.plots import plot_forecasts, plot_power_lines, plot_seem_and_q, save_figure
from seem.records import canonical_json, digest, make_folder, write_atomically
from seem.sweep import show_progress


@dataclass(frozen=True)
class Options:
    """Forecast the crash step of TD3's critics and watch it happen.

    Attributes:
        env: hopper, walker2d or halfcheetah.
        dataset: A D4RL name such as hopper-medium-v2, v0 windows such as hopper-medium-v0, or a file.
        data_dir: The only folder to look for data in.
        device: Torch device; cuda uses a GPU.
        dtype: float64 or float32, of the training; readings are float64.
        depths: Numbers of weight matrices of the critics.
        seeds: Seeds; all are reported.
        width: Units of each hidden layer.
        batch: Transitions trained on in full batch.
        lr: Learning rate of the critics under SGD.
        adam_lr: Learning rate of the critics under Adam.
        adam_steps: Steps of the Adam runs.
        discount: Discount of the plain runs.
        control_discount: Discount of the control that should not diverge.
        budget: Steps after which a plain run that has not crashed is censored.
        normalise_states: Shift and scale states, as the paper's figures do.
        controls: Follow every plain run by its LayerNorm and low-discount controls.
        adam: Run Adam too.
        execution: Where the runs are computed.
        out: Output folder; runs/growth-ENV by default. The same command resumes there.
        quick: Two depths, one seed and fewer rows: a first look in seconds.
    """

    env: str
    dataset: str | None = None
    data_dir: Path | None = None
    device: str = "cpu"
    dtype: str = "float64"
    depths: tuple[int, ...] = (2, 3, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    width: int = 256
    batch: int = 128
    lr: float = 1e-3
    adam_lr: float = 3e-3
    adam_steps: int = 400
    discount: float = 0.99
    control_discount: float = 0.5
    budget: int = 500
    normalise_states: bool = True
    controls: bool = True
    adam: bool = True
    execution: tyro.conf.OmitArgPrefixes[ExecutorOptions] = ExecutorOptions()
    out: Path | None = None
    quick: bool = False

    def study(self) -> StudyConfig:
        """What the runs need of these options."""
        shared = {name: getattr(self, name) for name in StudyConfig.__dataclass_fields__}
        return quick(StudyConfig(**shared)) if self.quick else StudyConfig(**shared)


def main(options: Options) -> int:
    """Run the study, print its table and verdicts, and write records and figures.

    Args:
        options: The command line.

    Returns:
        The exit status.
    """
    console = open_console()
    dataset = resolve(options.env, options.dataset, options.data_dir)
    console.print(describe(options.env, dataset), highlight=False, soft_wrap=True)
    study = options.study()
    options.execution.check(study.device)
    check(study, dataset)
    out = make_folder(options.out or Path("runs") / f"growth-{options.env}")
    groups = run_study(study, dataset.path, out, options.execution)
    finished = [cell for _, cells in show_progress(groups, len(list_groups(study)), console) for cell in cells]
    cells = sorted(finished, key=lambda cell: (cell.kind, cell.depth, cell.seed))
    rows = summarise(cells)
    claims = judge(rows)
    console.print(_descent_table(rows["plain"]))
    if study.controls:
        console.print(_control_table(rows))
    if study.adam:
        console.print(_adam_table(rows["adam"]))
    _write(out, study, rows, claims, cells)
    console.print(f"records, figures and summary.json: {out}", highlight=False, soft_wrap=True)
    return print_claims(console, claims)


def _write(out: Path, study: StudyConfig, rows: dict[str, Any], claims: list[Claim], cells: list[Cell]) -> None:
    outcomes = {cell.folder.name: digest((cell.folder / "outcome.json").read_bytes()) for cell in cells}
    summary = {"study": asdict(study), "versions": versions(), "runs_sha256": outcomes}
    summary |= {"rows": rows, "claims": as_json(claims)}
    write_atomically(out / "summary.json", canonical_json(summary) + "\n")
    plain = [cell.record() for cell in of_kind(cells, "plain")]
    layer_norm = [cell.record() for cell in of_kind(cells, "layer-norm")]
    save_figure(plot_forecasts(plain), out / "forecast.png")
    save_figure(plot_power_lines(plain), out / "power_lines.png")
    save_figure(plot_seem_and_q(plain, layer_norm), out / "seem_and_q.png")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}" if abs(value) < 10 else "none"


def _descent_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="SGD: forecast crash step against the observed one, error as a share of the run")
    for heading in (
        "L",
        "seed",
        "crash",
        "at 50 %",
        "80 %",
        "90 %",
        "95 %",
        "covered",
        "p",
        "law",
        "align",
        "mechanism",
        "wrong by",
    ):
        table.add_column(heading, justify="left" if heading in ("mechanism", "wrong by") else "right")
    for row in rows:
        errors = {error["fraction"]: error for error in row["errors"]}
        shown = [_percent(errors[f]["crash"]) if f in errors else "-" for f in (0.5, 0.8, 0.9, 0.95)]
        covered = f"{sum(error['covered'] for error in row['errors'])}/{len(row['errors'])}" if row["errors"] else "-"
        measured = [f"{row[name]:.2f}" if row[name] is not None else "-" for name in ("exponent", "alignment")]
        crash = "censored" if row["crash_step"] is None else str(row["crash_step"])
        table.add_row(
            str(row["depth"]),
            str(row["seed"]),
            crash,
            *shown,
            covered,
            measured[0],
            f"{row['predicted_exponent']:.2f}",
            measured[1],
            row["mechanism"] or "-",
            ", ".join(sorted({error["why"] for error in row["errors"] if error["why"]})) or "-",
        )
    return table


def _control_table(rows: dict[str, list[dict[str, Any]]]) -> Table:
    table = Table(
        title="Controls: the runs that crashed, with LayerNorm or a low discount, to beyond the plain crash step"
    )
    headings = (
        "control",
        "L",
        "seed",
        "plain crash",
        "steps",
        "crash",
        "SEEM",
        "normalised",
        "final mean |Q|",
        "mechanism",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("control", "mechanism") else "right")
    for kind in ("layer-norm", "low-discount"):
        for row in rows[kind]:
            table.add_row(
                kind,
                *(str(row[name]) for name in ("depth", "seed")),
                str(row["plain_crash_step"] or "censored"),
                str(row["steps"]),
                str(row["crash_step"] or "none"),
                *(f"{row[name]:.2g}" for name in ("seem", "normalised_seem", "final_q")),
                row["mechanism"] or "-",
            )
    return table


def _adam_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Adam: power of Q, and slope of the critic's norm a step (second half of the run)")
    names = ("power", "loglog_slope", "norm_slope", "finite_beta2_slope", "active_slope", "paper_slope")
    headings = ("Q power", "log-log", "norm slope", "finite β₂", "lr·√P active", "lr·√P")
    for heading in ("L", "seed", *headings):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [f"{row[name]:.3g}" if name in row else "crashed" for name in names]
        table.add_row(str(row["depth"]), str(row["seed"]), *numbers)
    return table


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
