"""Run the benchmarks, print the table, and record it (`nox -s bench`).

Every line pairs this project with what a user would pick instead, interleaved in one run on one machine; trust the
ratios, not the milliseconds.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import bench_gram
import bench_reading
import bench_training
import torch
import tyro
from cases import THREADS, Row
from rich.console import Console

from seem.config import versions
from seem.errors import InputError, run_command
from seem.records import write_atomically

RECORD, PAGE = Path(__file__).with_name("results.json"), Path(__file__).with_name("RESULTS.md")
TARGET_COLUMN = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Options:
    """Command line of the benchmarks.

    Attributes:
        groups: Which: "gram", "reading", "training", "monitor", "growth"; all without one.
        rounds: Rounds that count; medians and quartiles are over them.
        write: Record the table in benchmarks/results.json and benchmarks/RESULTS.md.
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
        yield bench_reading.dense_share(normalisation)
    yield bench_reading.large(16_384)


def training(rounds: int) -> Iterator[Row]:
    """TD3."""
    yield from bench_training.measure(rounds)
    yield bench_training.where_time_goes()


def monitor(rounds: int) -> Iterator[Row]:
    """Reading while training; one run each, every reading counted."""
    for normalisation in ("none", "layer"):
        yield from bench_training.monitor(normalisation)


def growth(rounds: int) -> Iterator[Row]:
    """How time grows with sizes."""
    yield from bench_gram.growth(rounds)
    yield from bench_training.growth(rounds)


GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    function.__name__: function for function in (gram, reading, training, monitor, growth)
}


def page(record: dict) -> str:
    """The table as Markdown, from what was recorded."""
    rows = [Row(**row) for row in record["rows"]]
    lines = ["# Benchmarks", "", f"Made by `{record['command']}`: {record['machine']}. Generated, not edited.", ""]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines += [f"## {group[0].upper()}{group[1:]}", "", "| setting | ours | against | result | aim | met | note |"]
        lines += ["|---|--:|---|--:|--:|---|---|", *(_line(row) for row in members), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    milliseconds = "" if row.milliseconds is None else f"{row.milliseconds:.3g} ms"
    form = "{:.3g}×" if row.kind == "times" else "{:.1%}"
    aim = "" if row.target is None else ("≥ " if row.kind == "times" else "≤ ") + form.format(row.target)
    result = "" if row.value is None else form.format(row.value)
    if row.low is not None and row.high is not None:
        result += f" ({row.low:.3g} to {row.high:.3g})"
    cells = (row.setting, milliseconds, row.peer, result, aim, TARGET_COLUMN[row.met], row.note)
    return f"| {' | '.join(cells)} |"


def main(options: Options) -> int:
    """Run what was asked for.

    Returns:
        The exit status: 0, also where a target is missed, for a benchmark is no test.
    """
    if unknown := set(options.groups) - GROUPS.keys():
        raise InputError(f"unknown group {min(unknown)!r}: choose among {', '.join(GROUPS)}")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds} is impossible: pass 1 or more")
    torch.set_num_threads(THREADS)
    console, rows = Console(stderr=True), []
    for name in options.groups or GROUPS:
        for row in GROUPS[name](options.rounds):
            rows.append(row)
            console.print(_line(row), markup=False, highlight=False, soft_wrap=True)
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    machine = f"{THREADS} threads on a CPU; {used}; peers of `nox -t peers`"
    record = {
        "command": " ".join(["python benchmarks/run.py", *sys.argv[1:]]),
        "machine": machine,
        "rows": [asdict(row) for row in rows],
    }
    print(page(record))
    if options.write:
        write_atomically(RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        write_atomically(PAGE, page(record))
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
