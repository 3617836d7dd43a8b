"""The forecast errors of several growth studies in one Markdown table and one figure of error curves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from studies.growth.rows import LIMITS
from studies.growth.verdicts import of_kind
from studies.shared.record import read_results
from studies.shared.runs import KeptRun

from seem.analysis import FRACTIONS, median_and_range
from seem.errors import InputError
from seem.locks import write_alone
from seem.plots import plot_error_curves, save_figure
from seem.records import make_folder, read_run


@dataclass(frozen=True)
class ForecastErrorOptions:
    """Collect the forecast errors of several growth studies.

    Attributes:
        studies: Output folders of verify_growth.py.
        out: Where forecast_errors.md and forecast_errors.png are written.
    """

    studies: tuple[Path, ...]
    out: Path


def plain_runs(study: Path) -> list[KeptRun]:
    """The plain runs of a study, by depth and seed.

    Raises:
        InputError: When the folder holds no finished growth study, or not its runs.
    """
    results, runs = read_results(study)
    if results["study"] != "growth" or not (study / "runs").is_dir():
        raise InputError(f"{study} holds no growth study with its runs: pass output folders of verify_growth.py")
    return of_kind(runs, "plain")


def collect(options: ForecastErrorOptions) -> int:
    """Write the table and the figure, and print the table.

    Returns:
        0.
    """
    studies = [study for study in sorted(options.studies) if study.is_dir()]
    rows = [(study.name, run) for study in studies for run in plain_runs(study)]
    if not rows:
        raise InputError("no study was given: pass output folders of verify_growth.py with --studies")
    out = make_folder(options.out)
    text = "\n".join([*_table(rows), "", *_medians(rows)]) + "\n"
    write_alone(out / "forecast_errors.md", text)
    curves = [(study.name, read_run(study / "runs" / run["folder"])) for study in studies for run in plain_runs(study)]
    save_figure(plot_error_curves(curves), out / "forecast_errors.png")
    print(text)
    return 0


def _percent(error: float) -> str:
    return f"{error:+.1%}" if abs(error) < 10 else "none"


def _table(rows: list[tuple[str, KeptRun]]) -> list[str]:
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


def _medians(rows: list[tuple[str, KeptRun]]) -> list[str]:
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
