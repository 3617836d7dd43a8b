"""Collect the forecast errors of several growth studies into one Markdown table and one figure of error curves.

    python experiments/forecast_errors.py --studies runs/windows/* --out runs/windows

Every study is an output folder of verify_growth.py; its records are checked against their hashes first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from growth_study import Cell
from growth_verdicts import LIMITS, descent_row

from seem.analysis import FRACTIONS, median_and_range
from seem.errors import InputError, run_command
from seem.plots import plot_error_curves, save_figure
from seem.records import make_folder, parse_json, write_atomically


@dataclass(frozen=True)
class Options:
    """Collect the forecast errors of several growth studies.

    Attributes:
        studies: Output folders of verify_growth.py.
        out: Where forecast_errors.md and forecast_errors.png are written.
    """

    studies: tuple[Path, ...]
    out: Path


def plain_cells(study: Path) -> list[Cell]:
    """The plain runs of a study, by depth and seed.

    Raises:
        InputError: When the folder holds no finished plain run.
    """
    folders = sorted(study.glob("runs/plain-*/outcome.json"))
    if not folders:
        raise InputError(f"{study} holds no finished growth study: pass output folders of verify_growth.py")
    cells = []
    for outcome in folders:
        run = parse_json(outcome.read_text())["run"]
        cells.append(Cell("plain", run["agent"]["critic"]["depth"], run["seed"], outcome.parent))
    return sorted(cells, key=lambda cell: (cell.depth, cell.seed))


def main(options: Options) -> int:
    """Write the table and the figure, and print the table.

    Returns:
        0.
    """
    named = [(study.name, cell) for study in sorted(options.studies) if study.is_dir() for cell in plain_cells(study)]
    if not named:
        raise InputError("no study was given: pass output folders of verify_growth.py with --studies")
    out = make_folder(options.out)
    rows = [(name, descent_row(cell)) for name, cell in named]
    text = "\n".join([*_table(rows), "", *_medians(rows)]) + "\n"
    write_atomically(out / "forecast_errors.md", text)
    save_figure(plot_error_curves([(name, cell.record()) for name, cell in named]), out / "forecast_errors.png")
    print(text)
    return 0


def _percent(error: float) -> str:
    return f"{error:+.1%}" if abs(error) < 10 else "none"


def _table(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    shares = " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS)
    lines = [f"| study | L | seed | crash step | {shares} | covered | mechanism | wrong by |", "|" + "---|" * 11]
    for name, row in rows:
        start = f"| {name} | {row['depth']} | {row['seed']} |"
        if row["crash_step"] is None:
            lines.append(f"{start} censored | | | | | | | |")
            continue
        errors = {error["fraction"]: error for error in row["errors"]}
        shown = " | ".join(_percent(errors[fraction]["crash"]) if fraction in errors else "" for fraction in FRACTIONS)
        covered = f"{sum(error['covered'] for error in row['errors'])}/{len(row['errors'])}"
        why = ", ".join(sorted({error["why"] for error in row["errors"] if error["why"]}))
        lines.append(f"{start} {row['crash_step']} | {shown} | {covered} | {row['mechanism']} | {why} |")
    return lines


def _medians(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    crashed = [row for _, row in rows if row["crash_step"] is not None]
    lines = [f"{len(crashed)} of {len(rows)} runs crashed; the others are censored at their budget."]
    for fraction in FRACTIONS:
        errors = [error for row in crashed for error in row["errors"] if error["fraction"] == fraction]
        middle, _, worst = median_and_range([abs(error["crash"]) for error in errors])
        limit = LIMITS.get(fraction)
        inside = f", {sum(abs(e['crash']) <= limit for e in errors)} within {limit:.0%}" if limit else ""
        covered = float(np.mean([error["covered"] for error in errors])) if errors else float("nan")
        extreme = "no forecast at all" if worst > 10 else f"{worst:.1%}"
        line = f"- at {fraction:.0%} of the run: median |error| {middle:.1%}, worst {extreme}{inside}"
        lines.append(f"{line}; the interval covers {covered:.0%} of {len(errors)}")
    return lines


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
