"""What the growth study prints of its runs."""

from collections.abc import Sequence

from rich.table import Table
from studies.growth.verdicts import by_kind
from studies.shared.runs import KeptRun


def tables(runs: Sequence[KeptRun]) -> list[Table]:
    """Gradient descent, its controls, and Adam, as far as there are runs of them."""
    rows = by_kind(runs)
    shown = [descent_table(rows["plain"])]
    if rows["layer-norm"] or rows["low-discount"]:
        shown.append(control_table(rows))
    if rows["adam"]:
        shown.append(adam_table(rows["adam"]))
    return shown


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}" if abs(value) < 10 else "none"


def descent_table(rows: Sequence[KeptRun]) -> Table:
    """One line per run under gradient descent: its crash, the errors of its forecasts, its power."""
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


def control_table(rows: dict[str, list[KeptRun]]) -> Table:
    """One line per control run."""
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


def adam_table(rows: Sequence[KeptRun]) -> Table:
    """One line per run under Adam."""
    table = Table(title="Adam: power of Q, and slope of the critic's norm per step (second half of the run)")
    names = ("power", "loglog_slope", "norm_slope", "finite_beta2_slope", "active_slope", "paper_slope")
    headings = ("Q power", "log-log", "norm slope", "finite β₂", "lr·√P active", "lr·√P")
    for heading in ("L", "seed", *headings):
        table.add_column(heading, justify="right")
    for row in rows:
        numbers = [f"{row[name]:.3g}" if name in row else "crashed" for name in names]
        table.add_row(str(row["depth"]), str(row["seed"]), *numbers)
    return table
