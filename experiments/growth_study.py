"""The runs behind verify_growth: what is trained for each depth and seed, and in which order."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch

from seem.agents.td3 import TD3Config
from seem.config import RunConfig, run_key
from seem.datasets import Dataset, load
from seem.errors import InputError
from seem.networks import MLPConfig
from seem.records import RunRecord, read_run
from seem.training import train

CONTROL_FACTORS = {"layer-norm": 3, "low-discount": 1.5}
"""A control run must outlive this multiple of the plain run's crash step."""
KINDS = ("plain", "layer-norm", "low-discount", "adam")


@dataclass(frozen=True)
class StudyConfig:
    """What all runs of a study share.

    Attributes:
        depths: Numbers L of weight matrices of the critics.
        seeds: Seeds, fixed in advance; every one is reported.
        width: Units of each hidden layer.
        batch: Rows M, trained on in full batch.
        lr: Learning rate of the critics under SGD.
        adam_lr: Learning rate of the critics under Adam.
        adam_steps: Steps of the Adam runs.
        discount: Discount γ.
        control_discount: Discount of the control that should not diverge.
        budget: Steps after which a plain run that has not crashed is censored.
        normalise_states: Whether states are shifted and scaled.
        dtype: Floating dtype of the training.
        device: Torch device.
        controls: Whether plain runs are followed by their controls.
        adam: Whether there are Adam runs.
    """

    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    width: int
    batch: int
    lr: float
    adam_lr: float
    adam_steps: int
    discount: float
    control_discount: float
    budget: int
    normalise_states: bool
    dtype: str
    device: str
    controls: bool
    adam: bool


@dataclass(frozen=True)
class Cell:
    """One run of the study: its kind, depth and seed, and where its record lies."""

    kind: str
    depth: int
    seed: int
    folder: Path

    def record(self) -> RunRecord:
        """The finished run, its hashes checked."""
        return read_run(self.folder)


def run_config(study: StudyConfig, kind: str, depth: int, seed: int, budget: int) -> RunConfig:
    """The configuration of one run.

    Args:
        study: What all runs share.
        kind: One of `KINDS`.
        depth: Number L of weight matrices.
        seed: Seed.
        budget: Steps after which the run is censored.

    Returns:
        TD3 with its target copied and its actor moved at every step, no target noise and no behaviour
        cloning, in full batch.
    """
    critic = MLPConfig(depth=depth, width=study.width, normalisation="layer" if kind == "layer-norm" else "none")
    agent = TD3Config(
        critic=critic,
        actor=MLPConfig(width=study.width),
        discount=study.control_discount if kind == "low-discount" else study.discount,
        critic_optimiser="adam" if kind == "adam" else "sgd",
        critic_lr=study.adam_lr if kind == "adam" else study.lr,
        actor_interval=1,
        target_rate=1.0,
        target_interval=1,
        target_noise=0.0,
    )
    return RunConfig(
        agent=agent,
        rows=study.batch,
        normalise_states=study.normalise_states,
        seed=seed,
        dtype=study.dtype,
        budget=budget,
    )


def _run(study: StudyConfig, dataset: Dataset, out: Path, kind: str, depth: int, seed: int, budget: int) -> Cell:
    config = run_config(study, kind, depth, seed, budget)
    folder = out / "runs" / f"{kind}-L{depth}-seed{seed}-{run_key(config, dataset, study.device)[:12]}"
    train(config, dataset, folder, device=study.device)
    return Cell(kind, depth, seed, folder)


def run_descent(study: StudyConfig, data: Path, out: Path, depth: int, seed: int) -> list[Cell]:
    """The plain run and, with its crash step known, the controls that must outlive it.

    Args:
        study: What all runs share.
        data: The data set's file.
        out: The study's output folder.
        depth: Number L of weight matrices.
        seed: Seed.

    Returns:
        The finished cells. A run that did not crash has nothing to prevent, so no controls follow it; a linear
        critic (depth 1) has no layer to normalise.
    """
    torch.set_num_threads(1)
    dataset = load(data)
    plain = _run(study, dataset, out, "plain", depth, seed, study.budget)
    crash_step = plain.record().outcome["crash_step"]
    if crash_step is None or not study.controls:
        return [plain]
    kinds = [kind for kind in CONTROL_FACTORS if depth > 1 or kind != "layer-norm"]
    budgets = [math.ceil(CONTROL_FACTORS[kind] * crash_step) for kind in kinds]
    return [
        plain,
        *(_run(study, dataset, out, k, depth, seed, budget) for k, budget in zip(kinds, budgets, strict=True)),
    ]


def run_adam(study: StudyConfig, data: Path, out: Path, depth: int, seed: int) -> list[Cell]:
    """The run under Adam; arguments as in `run_descent`."""
    torch.set_num_threads(1)
    return [_run(study, load(data), out, "adam", depth, seed, study.adam_steps)]


Task = tuple[Callable[..., list[Cell]], int, int]


def list_tasks(study: StudyConfig) -> list[Task]:
    """The groups of runs of a study: what runs them, depth and seed."""
    kinds = (run_descent, run_adam) if study.adam else (run_descent,)
    return [(task, depth, seed) for task in kinds for depth in study.depths for seed in study.seeds]


def run_study(study: StudyConfig, data: Path, out: Path, workers: int) -> Iterator[tuple[str, list[Cell]]]:
    """Run every cell, several at a time, and hand each group over as it finishes.

    Args:
        study: What to run.
        data: The data set's file.
        out: The study's output folder.
        workers: Processes; 1 runs everything in this one.

    Yields:
        What finished, in words, and its cells.
    """
    tasks = list_tasks(study)

    def words(task: Task) -> str:
        return f"L={task[1]} seed {task[2]} {'Adam' if task[0] is run_adam else 'SGD and controls'}"

    if workers == 1:
        for task in tasks:
            yield words(task), task[0](study, data, out, *task[1:])
        return
    # Spawned, because a forked process would inherit torch's threads in an undefined state.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(task[0], study, data, out, *task[1:]): task for task in tasks}
        for future in as_completed(futures):
            yield words(futures[future]), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def default_workers(device: str) -> int:
    """One process a core on a CPU, one process on anything else."""
    return min(len(os.sched_getaffinity(0)), 16) if device == "cpu" else 1


def quick(study: StudyConfig) -> StudyConfig:
    """A smaller study of the same kind, for a first look: the two deepest critics, which crash soonest."""
    return replace(
        study,
        depths=study.depths[-2:],
        seeds=study.seeds[:1],
        batch=min(study.batch, 128),
        budget=min(study.budget, 150),
        adam_steps=min(study.adam_steps, 200),
    )


def check(study: StudyConfig, dataset: Dataset, workers: int) -> None:
    """Refuse a study that cannot run, before anything is written.

    Raises:
        InputError: When a run's configuration is impossible, or more rows are asked for than there are.
    """
    if workers < 1:
        raise InputError(f"--workers {workers} is impossible: pass 1 or more processes")
    if not study.depths or not study.seeds:
        raise InputError("a study needs a depth and a seed: pass at least one of --depths and of --seeds")
    for depth in study.depths:
        for kind in KINDS if depth > 1 else ("plain", "low-discount", "adam"):
            run_config(study, kind, depth, study.seeds[0], study.budget)
    if not 1 <= study.batch <= len(dataset.transitions):
        raise InputError(
            f"--batch {study.batch} does not fit {len(dataset.transitions)} transitions: "
            f"pass 1 to {len(dataset.transitions)}"
        )
