"""The runs behind verify_growth: what is trained for each depth and seed, and in which order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from seem.agents.td3 import TD3Config
from seem.config import RunConfig
from seem.datasets import Dataset, load
from seem.errors import InputError
from seem.executors import ExecutorOptions
from seem.networks import MLPConfig
from seem.records import RunRecord, read_run
from seem.sweep import run_folder, run_tasks
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
    folder = run_folder(out / "runs", f"{kind}-L{depth}-seed{seed}", config, dataset, study.device)
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
    return [_run(study, load(data), out, "adam", depth, seed, study.adam_steps)]


@dataclass(frozen=True)
class Group:
    """Runs that one task does, because some need the outcome of another."""

    optimiser: Literal["sgd", "adam"]
    depth: int
    seed: int

    @property
    def name(self) -> str:
        """In words."""
        return f"L={self.depth} seed {self.seed} {'Adam' if self.optimiser == 'adam' else 'SGD and controls'}"


def list_groups(study: StudyConfig) -> list[Group]:
    """The groups of runs of a study."""
    optimisers: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam") if study.adam else ("sgd",)
    return [Group(name, depth, seed) for name in optimisers for depth in study.depths for seed in study.seeds]


def run_group(study: StudyConfig, data: Path, out: Path, group: Group) -> list[Cell]:
    """The finished cells of one group; arguments as in `run_descent`."""
    run = run_adam if group.optimiser == "adam" else run_descent
    return run(study, data, out, group.depth, group.seed)


def run_study(
    study: StudyConfig, data: Path, out: Path, options: ExecutorOptions
) -> Iterator[tuple[Group, list[Cell]]]:
    """Run every cell, several at a time, and hand each group over as it finishes.

    Args:
        study: What to run.
        data: The data set's file.
        out: The study's output folder.
        options: Where it runs.

    Yields:
        What finished, and its cells.
    """
    run = partial(run_group, study, data, out)
    yield from run_tasks(run, list_groups(study), options, folder=out, device=study.device)


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


def check(study: StudyConfig, dataset: Dataset) -> None:
    """Refuse a study that cannot run, before anything is written.

    Raises:
        InputError: When a run's configuration is impossible, or more rows are asked for than there are.
    """
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
