"""The runs of the growth study: its command line, what is trained for each depth and seed, and in which order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

from studies.growth.rows import adam_row, control_row, descent_row
from studies.shared.declaration import read_declaration
from studies.shared.runs import KeptRun
from studies.shared.study import Plan, StudyOptions

from seem.agents.td3 import TD3Config
from seem.checks import (
    check_choice,
    check_depth,
    check_number,
    check_rows,
    check_steps,
    check_unique,
    check_width,
    open_device,
)
from seem.config import RunConfig
from seem.datasets import Dataset, describe, load, resolve
from seem.files import read_bytes
from seem.networks import MLPConfig
from seem.records import digest, read_run
from seem.sweep import run_folder
from seem.training import train

CONTROL_FACTORS: dict[str, float] = read_declaration("growth").thresholds["control_factors"]
"""A control run must outlive this multiple of the plain run's crash step."""
KINDS = ("plain", "layer-norm", "low-discount", "adam")


@dataclass(frozen=True)
class GrowthOptions(StudyOptions):
    """Command line of the growth study.

    Attributes:
        env: hopper, walker2d or halfcheetah; not needed where a data set is named.
        dataset: A D4RL name such as hopper-medium-v2, v0 windows such as hopper-medium-v0, or a file of any task.
        data_dir: The only folder to look for data in.
        device: Torch device; cuda uses a GPU.
        dtype: float64 or float32, of the training; readings are float64.
        depths: Numbers L of weight matrices of the critics.
        width: Units of each hidden layer.
        batch: Transitions M, trained on in full batch.
        lr: Learning rate of the critics under SGD.
        adam_lr: Learning rate of the critics under Adam.
        adam_steps: Steps of the Adam runs.
        discount: Discount γ of the plain runs.
        control_discount: Discount of the control that should not diverge.
        budget: Steps after which a plain run that has not crashed is censored.
        normalise_states: Shift and scale states, as the paper's figures do.
        controls: Follow every plain run by its LayerNorm and low-discount controls.
        adam: Run Adam too.
    """

    env: str | None = None
    dataset: str | None = None
    data_dir: Path | None = None
    device: str = "cpu"
    dtype: str = "float64"
    depths: tuple[int, ...] = (2, 3, 4)
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

    def shortened(self) -> Self:
        """A first look: one seed, and the two deepest critics, which crash soonest."""
        return replace(
            self,
            depths=self.depths[-2:],
            seeds=self.seeds[:1],
            batch=min(self.batch, 128),
            budget=min(self.budget, 150),
            adam_steps=min(self.adam_steps, 200),
        )


def run_config(options: GrowthOptions, kind: str, depth: int, seed: int, budget: int) -> RunConfig:
    """The configuration of one run.

    Args:
        options: What all runs share.
        kind: One of `KINDS`.
        depth: Number L of weight matrices.
        seed: Seed.
        budget: Steps after which the run is censored.

    Returns:
        TD3 with its target copied and its actor moved at every step, no target noise and no behaviour
        cloning, in full batch.
    """
    critic = MLPConfig(depth=depth, width=options.width, normalisation="layer" if kind == "layer-norm" else "none")
    agent = TD3Config(
        critic=critic,
        actor=MLPConfig(width=options.width),
        discount=options.control_discount if kind == "low-discount" else options.discount,
        critic_optimiser="adam" if kind == "adam" else "sgd",
        critic_lr=options.adam_lr if kind == "adam" else options.lr,
        actor_interval=1,
        target_rate=1.0,
        target_interval=1,
        target_noise=0.0,
    )
    return RunConfig(
        agent=agent,
        rows=options.batch,
        normalise_states=options.normalise_states,
        seed=seed,
        dtype=options.dtype,
        budget=budget,
    )


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


def plan(options: GrowthOptions) -> Plan:
    """The groups of runs of a study.

    Raises:
        InputError: When a run's configuration is impossible, or more rows are asked for than there are.
    """
    for depth in check_unique("--depths", options.depths):
        check_depth("--depths", depth)
    check_width("--width", options.width)
    for name in ("lr", "adam_lr"):
        check_number(f"--{name.replace('_', '-')}", getattr(options, name), above=0)
    for name in ("discount", "control_discount"):
        check_number(f"--{name.replace('_', '-')}", getattr(options, name), least=0, most=1)
    for name in ("adam_steps", "budget"):
        check_steps(f"--{name.replace('_', '-')}", getattr(options, name))
    check_choice("--dtype", options.dtype, ("float64", "float32"))
    open_device(options.device, "--device")
    dataset = resolve(options.env, options.dataset, options.data_dir)
    check_rows("--batch", options.batch, len(dataset.transitions), dataset.name)
    for depth in options.depths:
        for kind in KINDS if depth > 1 else ("plain", "low-discount", "adam"):
            run_config(options, kind, depth, options.seeds[0], options.budget)
    optimisers: Sequence[Literal["sgd", "adam"]] = ("sgd", "adam") if options.adam else ("sgd",)
    groups = [Group(name, depth, seed) for name in optimisers for depth in options.depths for seed in options.seeds]
    told = (describe(options.env, dataset),)
    return Plan(groups, partial(run_group, options, dataset.path), (dataset,), told, options.device)


def run_group(options: GrowthOptions, data: Path, out: Path, group: Group) -> list[KeptRun]:
    """Do the runs of one group.

    A plain run that did not crash has nothing to prevent, so no controls follow it; a linear critic (depth 1) has no
    layer to normalise.

    Args:
        options: What all runs share.
        data: The data set's file.
        out: The folder of all runs.
        group: Which runs.

    Returns:
        What is kept of them: the Adam run, or the plain run and the controls that must outlive it.
    """
    run = partial(_run, options, load(data), out, group)
    if group.optimiser == "adam":
        return [kept(run("adam", options.adam_steps))]
    plain = kept(run("plain", options.budget))
    if plain["crash_step"] is None or not options.controls:
        return [plain]
    kinds = [kind for kind in CONTROL_FACTORS if group.depth > 1 or kind != "layer-norm"]
    return [plain, *(kept(run(k, math.ceil(CONTROL_FACTORS[k] * plain["crash_step"])), plain) for k in kinds)]


def _run(options: GrowthOptions, dataset: Dataset, out: Path, group: Group, kind: str, budget: int) -> Path:
    config = run_config(options, kind, group.depth, group.seed, budget)
    folder = run_folder(out, f"{kind}-L{group.depth}-seed{group.seed}", config, dataset, options.device)
    train(config, dataset, folder, device=options.device)
    return folder


def kept(folder: Path, plain: KeptRun | None = None) -> KeptRun:
    """What is kept of a finished run; its kind is the beginning of its folder's name.

    Args:
        folder: The run's folder.
        plain: What is kept of the plain run of the same depth and seed, for a control.
    """
    record, kind = read_run(folder), folder.name.partition("-L")[0]
    run, data = record.outcome["run"], record.outcome["data"]
    row: KeptRun = {"kind": kind, "depth": run["agent"]["critic"]["depth"], "seed": run["seed"]}
    row |= {"data": data["name"], "label": data["label"], "folder": folder.name}
    row |= {"outcome_sha256": digest(read_bytes(folder / "outcome.json"))}
    if plain is not None:
        return row | control_row(record, plain)
    return row | (adam_row(record) if kind == "adam" else descent_row(record))


def kept_again(folder: Path, runs: Sequence[KeptRun]) -> list[KeptRun]:
    """What is kept of runs, made again from their folders.

    Args:
        folder: The folder of all runs.
        runs: What was kept of them.

    Raises:
        InputError: When a run is missing or was changed.
    """
    again: list[KeptRun] = []
    plain: dict[tuple[int, int], KeptRun] = {}
    for run in sorted(runs, key=lambda run: run["kind"] != "plain"):
        own, control = (run["depth"], run["seed"]), run["kind"] in CONTROL_FACTORS
        row = kept(folder / run["folder"], plain[own] if control else None)
        if run["kind"] == "plain":
            plain[own] = row
        again.append(row)
    order = [run["folder"] for run in runs]
    return sorted(again, key=lambda row: order.index(row["folder"]))
