"""Many runs and many readings: memory, descriptors and folders stay as small as after the first ones.

``SEEM_ENDURANCE=full`` takes 500 runs and 10,000 readings instead of a few.
"""

import gc
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from reference.tests.small_runs import CALM, FILES, write_small
from reference.tests.training_cases import dataset
from seem.dynamics import Training
from seem.executors import ExecutorOptions
from seem.sweep import Task, run_sweep
from seem.training import train
from seem.watch import Watch

FULL = os.environ.get("SEEM_ENDURANCE") == "full"
RUNS, READINGS = (500, 10_000) if FULL else (24, 300)
SHORT = replace(CALM, budget=4, reading_interval=2)
SPARE = 8e6
"""Bytes by which allocators may grow in every quarter after the first; a leak of 3 kB a reading would pass it at full
size. Allocators grow in jumps, and a leak grows in every quarter."""


def at_quarters(index: int, count: int) -> bool:
    """Whether a quarter of the way ends here."""
    return index + 1 in {count * quarter // 4 for quarter in (1, 2, 3, 4)}


def least_growth(sizes: list[int]) -> int:
    """What the sizes grow by in the quarter that grows least."""
    return min(later - earlier for earlier, later in pairwise(sizes))


def memory() -> int:
    """Resident bytes of this process, what is unreachable collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_sweep_of_many_runs_leaves_memory_and_descriptors_as_they_were(tmp_path):
    data = write_small(tmp_path / "small.hdf5")
    tasks = [Task(f"tiny-seed{seed}", replace(SHORT, seed=seed), data) for seed in range(RUNS)]
    sizes, marks = [], []
    for index, (_, folder) in enumerate(run_sweep(tasks, tmp_path / "out", ExecutorOptions(workers=1))):
        assert {path.name for path in folder.iterdir()} == {*FILES, "outcome.json"}
        sizes.append(size(folder))
        if at_quarters(index, RUNS):
            marks.append((memory(), descriptors()))
    assert len(sizes) == RUNS
    assert max(sizes) < 1.1 * min(sizes)
    assert len(list((tmp_path / "out").iterdir())) == RUNS
    assert len(marks) == 4
    assert marks[-1][1] <= marks[0][1]
    assert least_growth([size for size, _ in marks]) < SPARE


def test_a_run_of_many_readings_leaves_descriptors_as_they_were(tmp_path):
    """The folder grows by its lines alone: as much in the second half as in the first."""
    steps = READINGS // 10
    config = replace(SHORT, budget=steps, reading_interval=1)
    seen: dict[int, tuple[int, int]] = {}

    def look(step: int) -> None:
        seen[step] = ((tmp_path / "run" / "readings.jsonl").stat().st_size, descriptors())

    train(config, dataset(), tmp_path / "run", on_step=look)
    first, half, last = min(seen), steps // 2, max(seen)
    assert seen[last][1] <= seen[half][1]  # what others left open may be closed in the meantime
    growth = (seen[half][0] - seen[first][0]) / (half - first), (seen[last][0] - seen[half][0]) / (last - half)
    assert 0.9 < growth[1] / growth[0] < 1.1


def test_a_watch_of_many_readings_leaves_memory_as_it_was():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    rows = dataset().transitions
    watch = Watch(training=Training(discount=0.9, lr=1e-3), every=2)
    marks = []
    for step in range(READINGS):
        watch.read(critic, rows, 2 * step, next_actions=rows.actions)
        if at_quarters(step, READINGS):
            marks.append((memory(), descriptors()))
    assert len(watch.history) == READINGS
    assert len(marks) == 4
    assert marks[-1][1] <= marks[0][1]
    assert least_growth([size for size, _ in marks]) < SPARE
