"""Run the benchmarks, print the table, and record it (`nox -s bench`).

Every line pairs this project with what a user would pick instead, interleaved in one run on one machine; trust the
ratios, not the milliseconds.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import bench_foreign
import bench_gram
import bench_reading
import bench_training
import torch
import tyro
from cases import DISCOUNT, THREADS, Row
from rich.console import Console

from seem.config import versions
from seem.errors import InputError, run_command
from seem.locks import write_alone

RECORD, PAGE = Path(__file__).with_name("results.json"), Path(__file__).with_name("RESULTS.md")
TARGET_COLUMN = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class BenchmarkOptions:
    """Command line of the benchmarks.

    Attributes:
        groups: Which: "gram", "reading", "training", "watch", "growth"; all without one.
        rounds: Rounds that count; medians and quartiles are over them.
        write: Record what was run in benchmarks/results.json and benchmarks/RESULTS.md; the other groups stay.
    """

    groups: tuple[str, ...] = ()
    rounds: int = 7
    write: bool = False


def gram(rounds: int) -> Iterator[Row]:
    """The matrix A."""
    for normalisation in ("none", "layer"):
        yield from bench_gram.measure(bench_gram.ROWS, normalisation, rounds)
        yield bench_gram.memory(bench_gram.ROWS, normalisation)
    yield bench_gram.roofline(rounds)


def reading(rounds: int) -> Iterator[Row]:
    """Whole readings; the published procedure takes the better part of a minute, so its rounds are few."""
    for normalisation in ("none", "layer"):
        yield from bench_reading.measure(2560, normalisation, min(rounds, 3))
        for discount in (DISCOUNT, 0.5):
            yield from bench_reading.shares(normalisation, discount)
    yield bench_reading.large(16_384)


def foreign(rounds: int) -> Iterator[Row]:
    """Critics that are not this package's."""
    for rows in (128, 512):
        yield from bench_foreign.measure("twins", rows, rounds)
    for kind in ("conv", "transformer"):
        yield from bench_foreign.measure(kind, 128, rounds)


def training(rounds: int) -> Iterator[Row]:
    """TD3."""
    yield from bench_training.measure(rounds)
    yield bench_training.where_time_goes()


def watch(rounds: int) -> Iterator[Row]:
    """Reading while training; one run each, every reading counted."""
    for normalisation in ("none", "layer"):
        yield from bench_training.watch(normalisation)


def growth(rounds: int) -> Iterator[Row]:
    """How time grows with sizes."""
    yield from bench_gram.growth(rounds)
    yield from bench_training.growth(rounds)


GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    function.__name__: function for function in (gram, reading, foreign, training, watch, growth)
}


def page(record: dict) -> str:
    """The table as Markdown, from what was recorded."""
    lines = ["# Benchmarks", "", "Generated from results.json, not edited. Trust the ratios, not the milliseconds.", ""]
    for name in (name for name in GROUPS if name in record):
        lines += [f"Made by `{record[name]['command']}`: {record[name]['machine']}.", ""]
        tables: dict[str, list[Row]] = {}
        for row in record[name]["rows"]:
            tables.setdefault(row["group"], []).append(Row(**row))
        for group, rows in tables.items():
            lines += [f"## {group[0].upper()}{group[1:]}", ""]
            lines += ["| setting | ours | against | result | aim | met | note |", "|---|--:|---|--:|--:|---|---|"]
            lines += [*map(_line, rows), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    milliseconds = "" if row.milliseconds is None else f"{row.milliseconds:.3g} ms"
    form = "{:.3g}×" if row.kind == "times" else "{:.1%}"
    aim = "" if row.target is None else ("≥ " if row.kind == "times" else "≤ ") + form.format(row.target)
    result = "" if row.value is None else form.format(row.value)
    if row.low is not None and row.high is not None:
        result += f" ({row.low:.3g} to {row.high:.3g})"
    cells = (row.setting, milliseconds, row.peer, result, aim, TARGET_COLUMN[row.met], row.note)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(options: BenchmarkOptions) -> int:
    """Run what was asked for.

    Returns:
        The exit status: 0, also where a target is missed, for a benchmark is no test.
    """
    if unknown := set(options.groups) - GROUPS.keys():
        raise InputError(f"unknown group {min(unknown)!r}: choose among {', '.join(GROUPS)}")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds} is impossible: pass 1 or more")
    torch.set_num_threads(THREADS)
    console, record = Console(stderr=True), {}
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    made = {
        "command": " ".join(["python benchmarks/run.py", *sys.argv[1:]]),
        "machine": f"{THREADS} threads on a CPU; {used}; peers of `nox -t peers`",
    }
    for name in options.groups or GROUPS:
        rows = []
        for row in GROUPS[name](options.rounds):
            rows.append(asdict(row))
            console.print(_line(row), markup=False, highlight=False, soft_wrap=True)
        record[name] = made | {"rows": rows}
    print(page(record))
    if options.write:
        record = (json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}) | record
        write_alone(RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        write_alone(PAGE, page(record))
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(BenchmarkOptions)))
