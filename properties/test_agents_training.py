"""A training is its agent's updates and nothing else, and a killed one resumes bit for bit.

Hypotheses: a kill tears at most the line that is being appended and leaves a temporary file (see `seem.records`);
one machine, so that a resumed process rounds alike.
"""

import os
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.strategies.agents import SEEDS, any_config, shapes
from properties.strategies.batches import Batch, batches
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.records import RunRecord, read_run
from seem.training import FLUSH_STEPS, train

FILES = {"config.json", "readings.jsonl", "forecasts.jsonl", "trace.safetensors", "outcome.json"}
small = shapes(depth=2)


@st.composite
def runs(draw: st.DrawFn, budget: tuple[int, int], **wanted) -> tuple[RunConfig, Batch]:
    """Configurations of runs with the data that they run on; ``wanted`` as in `any_config`."""
    data = draw(batches(rows=(2, 4)), label="data")
    config = RunConfig(
        draw(any_config(critic=small, actor=small, **wanted), label="agent"),
        rows=draw(st.integers(1, data.rows), label="rows"),
        batch=draw(st.none() | st.integers(1, 3), label="batch"),
        normalise_states=draw(st.booleans(), label="normalise_states"),
        seed=draw(SEEDS, label="seed"),
        dtype=draw(st.sampled_from(("float32", "float64")), label="dtype"),
        budget=draw(st.integers(*budget), label="budget"),
        reading_interval=draw(st.integers(1, 8), label="reading_interval"),
    )
    return config, data


def dataset(data: Batch) -> Dataset:
    return Dataset("drawn", "surrogate", Path("drawn.hdf5"), "0" * 64, data.draw().to(dtype=torch.float32))


class Killed(BaseException):
    """Stands for the end of the process: nothing that handles errors handles it."""


@dataclass
class Process:
    """A process that ends inside its ``fatal``-th fsync, with ``share`` of what it was writing on the disk."""

    fatal: float
    share: float = 1.0
    writes: int = 0
    sizes: dict[int, int] = field(default_factory=dict)

    def fsync(self, descriptor: int) -> None:
        """In place of os.fsync, which would only take time."""
        self.writes += 1
        status = os.fstat(descriptor)
        if self.writes == self.fatal:
            before = min(self.sizes.get(status.st_ino, 0), status.st_size)  # an inode may serve a second file
            os.ftruncate(descriptor, before + int(self.share * (status.st_size - before)))
            raise Killed
        self.sizes[status.st_ino] = status.st_size

    def run(self, config: RunConfig, data: Dataset, folder: Path, checkpoint_seconds: float) -> bool:
        """Train; returns whether that came to its end."""
        unlink = Path.unlink

        def delete(path: Path, missing_ok: bool = False) -> None:
            if self.writes < self.fatal:  # a dead process deletes nothing
                unlink(path, missing_ok)

        with patch("os.fsync", self.fsync), patch.object(Path, "unlink", delete):
            try:
                train(config, data, folder, checkpoint_seconds=checkpoint_seconds)
            except Killed:
                return False
            return True


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a finished run; the outcome, which holds its duration, without it."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["outcome.json"] = repr({**read_run(folder).outcome, "seconds": 0}).encode()
    return files


@pytest.mark.claim("RUNS-RESUME")
@given(
    drawn=runs(budget=(2, 5)),
    kills=st.lists(st.tuples(st.integers(1, 14), st.floats(0.0, 1.0)), min_size=1, max_size=2),
    checkpoint_seconds=st.sampled_from((0.0, 1e9)),
)
def test_a_killed_run_resumes_bit_for_bit(drawn, kills, checkpoint_seconds):
    (config, data), immortal = drawn, Process(fatal=float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        assert immortal.run(config, dataset(data), whole, checkpoint_seconds)
        survived = [Process(*kill).run(config, dataset(data), killed, checkpoint_seconds) for kill in kills]
        event(f"kills: {survived.count(False)}")
        assert immortal.run(config, dataset(data), killed, checkpoint_seconds)
        assert set(contents(killed)) == FILES
        assert contents(killed) == contents(whole)


def bare_loop(config: RunConfig, data: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The updates without the run around them: values and targets of every step, up to the first overflow."""
    transitions, dtype = dataset(data).transitions, getattr(torch, config.dtype)
    transitions = (transitions.normalised() if config.normalise_states else transitions).to(dtype=dtype)
    rows = transitions.subset(config.rows, torch.Generator().manual_seed(config.seed))
    drawing = torch.Generator().manual_seed(config.seed)
    agent = config.agent.build(data.observation_dim, data.action_dim, seed=config.seed, dtype=dtype)
    seen = []
    while len(seen) < config.budget and not (seen and not seen[-1][0].isfinite().all()):
        batch = rows
        if config.batch:
            batch = transitions.select(torch.randint(len(transitions), (config.batch,), generator=drawing))
        seen.append(agent.update(batch))
    return seen


def check_record(record: RunRecord, config: RunConfig, seen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Compare a run with its bare loop."""
    overflowed = not seen[-1][0].isfinite().all()
    assert record.outcome["crash_step"] == (len(seen) - 1 if overflowed else None)
    assert record.outcome["censored"] == (not overflowed)
    sizes = torch.stack([values.abs().max() for values, _ in seen]).double()
    assert torch.equal(record.trace["max_abs_q"].nan_to_num(), sizes.nan_to_num())
    errors = torch.stack([(values[0] - target).norm() for values, target in seen]).double()
    assert torch.equal(record.trace["td_norm"].nan_to_num(), errors.nan_to_num())
    steps = [line["step"] for line in record.readings]
    assert steps[0] == 0
    assert steps == [line["step"] for line in record.forecasts]
    for before, after in pairwise(steps):
        assert 1 <= after - before <= min(config.reading_interval, max(before, 1))


# From steps that learn to steps that overflow float32 or float64 within a few of them.
rates = st.integers(-8, 100).map(lambda exponent: 2.0**exponent)


@given(drawn=runs(budget=(1, FLUSH_STEPS + 4), critic_optimiser="sgd", critic_lr=rates))
def test_a_run_is_its_updates_and_ends_at_the_first_overflow(drawn):
    """So a reading leaves the agent, its noise and the minibatches alone."""
    config, data = drawn
    seen = bare_loop(config, data)
    event("crash" if not seen[-1][0].isfinite().all() else "no crash")
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        train(config, dataset(data), Path(folder))
        check_record(read_run(Path(folder)), config, seen)
