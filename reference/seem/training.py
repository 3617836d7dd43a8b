"""The training loop: steps, readings on a tightening schedule, forecasts written first, resume, divergence."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seem.agents import Agent, AgentConfig
from seem.agents.common import evaluating, load_state, state_of
from seem.checkpoints import NAME as CHECKPOINT
from seem.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from seem.checks import open_device
from seem.config import RunConfig, run_key, versions
from seem.datasets import Dataset
from seem.errors import InputError
from seem.files import canonical_json, make_folder, read_bytes, remove, write_atomically
from seem.forecasting import Forecast, forecast, mechanism, refuse, steps_to_doubling, steps_to_overshoot
from seem.locks import LOCK, FolderInUseError, lock_folder
from seem.records import (
    append_line,
    read_lines,
    read_outcome,
    write_outcome,
    write_tensors,
)
from seem.spectrum import CriticReading, take_reading
from seem.transitions import Transitions

TRACE_COLUMNS = ("mean_abs_q", "max_abs_q", "td_norm", "parameter_norm")
FLUSH_STEPS = 16
"""Steps between two looks at the device for non-finite values; the crash step itself is exact."""
ANOTHER_RUN = "{} holds another run: choose another output folder or delete this one"
LOCK_SECONDS = 10.0
"""Processes of a killed sweep end within this time, and so does a job that is queued again elsewhere."""
SATURATED = 0.95
"""A policy action counts as in a corner of the box when its size exceeds this."""


def train(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = 5.0,
    on_step: Callable[[int], None] | None = None,
    lock_seconds: float = LOCK_SECONDS,
) -> dict[str, Any]:
    """Run one training to its crash or its budget, or go on with one that was killed.

    Every forecast is on the disk before the training goes past the step it was made at. A finished run is
    read back instead of repeated. One process at a time trains in a folder.

    Args:
        config: What to run.
        dataset: The data.
        folder: The run's own folder, created when missing.
        device: A torch device.
        checkpoint_seconds: Least time between two checkpoints.
        on_step: Called with the number of steps taken after every block of steps.
        lock_seconds: How long to wait for another process that trains in the folder.

    Returns:
        The outcome: crash_step (None when censored), steps, mechanism, and what was run on what.

    Raises:
        InputError: When the folder cannot be written, is in use, holds another run, or its files were changed.
    """
    finished = read_outcome(folder)
    key = run_key(config, dataset, device)
    if finished is None:
        opened = open_device(device)
        with lock_folder(make_folder(folder), wait=lock_seconds):
            if read_outcome(folder) is None:  # else another process has finished it in the meantime
                Run(config, dataset, folder, opened, key).go(checkpoint_seconds, on_step)
            finished = read_outcome(folder)
    if finished is None or finished["key"] != key:
        raise InputError(ANOTHER_RUN.format(folder))
    _tidy(folder)
    return finished


def _tidy(folder: Path) -> None:
    """Remove what a kill after the outcome was written has left behind."""
    if not any((folder / name).exists() for name in (CHECKPOINT, LOCK)):
        return
    with suppress(FolderInUseError), lock_folder(folder):  # whoever holds it removes it
        remove(folder / CHECKPOINT)


def why_no_law(agent: AgentConfig) -> str | None:
    """Why readings do not forecast the crash of an agent's critics, or None where they do.

    Args:
        agent: Configuration of the agent.
    """
    if agent.critic_optimiser != "sgd" or agent.momentum > 0:
        return "the law of a finite crash step is of plain gradient descent"
    if agent.target_rate < 1 or agent.target_interval > 1:
        return "the law assumes targets that are copied at every step"
    return None


def read_agent(
    agent: Agent, rows: Transitions, step: int, dtype: torch.dtype | None = None
) -> tuple[list[CriticReading | None], Tensor]:
    """Readings of all critics of an agent, taken in evaluation mode.

    Args:
        agent: The agent.
        rows: M transitions of its dtype and device.
        step: Critic steps taken so far.
        dtype: Of the kernel blocks; None takes the training's own, as recorded studies do.

    Returns:
        One reading per critic, None where its kernel, its value or its target has overflowed, and the target policy's
        actions π(s') without noise, shape (M, action_dim).
    """
    with evaluating(agent):
        x = torch.cat((rows.observations, rows.actions), dim=1)
        actions = agent.next_actions(rows)
        x_next = torch.cat((rows.next_observations, actions), dim=1)
        errors = agent.values(rows).detach() - agent.td_target(rows, noisy=False)
        settings = {"discount": agent.config.discount, "lr": agent.config.critic_lr, "step": step}
        taken = [
            # The data are finite here: an error that is not is what the training has come to.
            take_reading(critic, x, x_next, error, rows.terminals, index=index, dtype=dtype, **settings)
            if torch.isfinite(error).all()
            else None
            for index, (critic, error) in enumerate(zip(agent.critics, errors, strict=True))
        ]
    return taken, actions


def start(
    config: RunConfig, dataset: Dataset, device: torch.device | None = None
) -> tuple[Transitions, Transitions, torch.Generator, Agent]:
    """What a training begins with; all of it follows from the configuration and the data.

    Args:
        config: What to run.
        dataset: The data.
        device: An open torch device; the CPU without it.

    Returns:
        The transitions as they are trained on, the M of them that are read, the generator of the minibatches, and a
        fresh agent.
    """
    dtype, device = getattr(torch, config.dtype), device or torch.device("cpu")
    transitions = dataset.transitions.normalised() if config.normalise_states else dataset.transitions
    transitions = transitions.to(device=device, dtype=dtype)
    rows = transitions.subset(config.rows, torch.Generator().manual_seed(config.seed))
    sizes = (transitions.observation_dim, transitions.action_dim)
    agent = config.agent.build(*sizes, seed=config.seed, dtype=dtype, device=device)
    return transitions, rows, torch.Generator().manual_seed(config.seed), agent


class Run:
    """One training in progress; `train` is its way in.

    Args:
        config: What to run.
        dataset: The data.
        folder: The run's own folder.
        device: An open torch device.
        key: The run's key.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, folder: Path, device: torch.device, key: str) -> None:
        self.config, self.folder, self.key = config, folder, key
        data = {name: getattr(dataset, name) for name in ("name", "label", "sha256")}
        self.description = {"key": key, "run": config, "data": {**data, "transitions": len(dataset.transitions)}}
        self.transitions, self.rows, self.batches, self.agent = start(config, dataset, device)
        self.step, self.next_reading, self.seconds = 0, 0, 0.0
        self.trace = torch.empty(0, len(TRACE_COLUMNS), dtype=torch.float64)
        self.previous_actions: Tensor | None = None
        self.readings: tuple[list[CriticReading], ...] = tuple([] for _ in self.agent.critics)
        self._resume()

    def go(self, checkpoint_seconds: float, on_step: Callable[[int], None] | None) -> None:
        """Train until the crash or the budget, and write the outcome."""
        crash_step, pending, checked = None, [], time.monotonic()
        started = time.monotonic() - self.seconds
        while self.step < self.config.budget:
            if self.step == self.next_reading:
                self._read()
                if time.monotonic() - checked >= checkpoint_seconds:
                    self.seconds, checked = time.monotonic() - started, time.monotonic()
                    self._checkpoint()
            pending.append(self._advance())
            self.step += 1
            if len(pending) == FLUSH_STEPS or self.step in (self.next_reading, self.config.budget):
                crash_step = self._flush(pending)
                pending = []
                if on_step:
                    on_step(self.step)
                if crash_step is not None:
                    break
        self.seconds = time.monotonic() - started
        self._finish(crash_step)

    def _advance(self) -> Tensor:
        """One critic step; returns the trace's row for the state before it, still on the device."""
        batch = self.rows if self.config.batch is None else self.transitions.draw(self.config.batch, self.batches)
        parameter_norm = nn.utils.get_total_norm(self.agent.critics[0].parameters())
        values, target = self.agent.update(batch)
        sizes = values.abs()
        return torch.stack((sizes.mean(), sizes.max(), (values[0] - target).norm(), parameter_norm)).detach()

    def _flush(self, pending: list[Tensor]) -> int | None:
        """Append rows to the trace; returns the step of the first non-finite value."""
        rows = torch.stack(pending).to("cpu", torch.float64)
        self.trace = torch.cat((self.trace, rows))
        # Only the values decide: a norm overflows earlier, in its own squares.
        alive = torch.isfinite(self.trace[:, TRACE_COLUMNS.index("max_abs_q")])
        return None if alive.all() else int((~alive).int().argmax())

    def _read(self) -> None:
        """Take readings, write them, then their forecast, and set the next reading's step."""
        line = self._readings()
        append_line(self.folder / "readings.jsonl", line)
        for history, reading in zip(self.readings, line["critics"], strict=True):
            history.extend([] if reading is None else [reading])
        made = self._forecast(line["critics"])
        append_line(self.folder / "forecasts.jsonl", made)
        self.next_reading = self.step + self._steps_until_next_reading(made)

    def _readings(self) -> dict[str, Any]:
        taken, actions = read_agent(self.agent, self.rows, self.step)
        before = actions if self.previous_actions is None else self.previous_actions
        motion = (actions - before).norm() / actions.norm().clamp_min(1e-12)
        self.previous_actions = actions
        saturation = (actions.abs() > SATURATED).double().mean()
        line = {"step": self.step, "critics": taken, "action_motion": motion.item()}
        return line | {"action_saturation": saturation.item()}

    def _forecast(self, taken: list[CriticReading | None]) -> Forecast:
        reason = why_no_law(self.config.agent)
        if reason is not None:
            return refuse(self.step, reason)
        # A critic that has overflowed says so by a reading that is None.
        pairs = zip(self.readings, taken, strict=True)
        histories = [history if reading is not None else [*history, None] for history, reading in pairs]
        return forecast(histories, depth=self.config.agent.critic.depth, dtype=self.config.dtype, step=self.step)

    def _steps_until_next_reading(self, made: Forecast) -> int:
        """At most the interval; doubling from the start on; u never doubles unread; a share of what threatens first."""
        longest = min(self.config.reading_interval, max(self.step, 1))
        if why_no_law(self.config.agent) is not None:
            return longest
        remaining = min(made.earliest - self.step, steps_to_overshoot(self.readings))
        return max(1, int(min(longest, steps_to_doubling(self.readings), self.config.tightening * remaining)))

    def _checkpoint(self) -> None:
        tensors, counters = state_of(self.agent)
        tensors |= {"trace": self.trace, "batches": self.batches.get_state()}
        tensors |= {} if self.previous_actions is None else {"actions": self.previous_actions}
        state = {"next_reading": self.next_reading, "seconds": self.seconds, "agent": counters}
        write_checkpoint(self.folder, Checkpoint(self.key, versions(), self.step, tensors, state))

    def _resume(self) -> None:
        """Take up the last checkpoint; lines written after it are dropped and will be made again, bit for bit."""
        begun, description = self.folder / "config.json", canonical_json(self.description) + "\n"
        if begun.exists() and read_bytes(begun) != description.encode():
            raise InputError(ANOTHER_RUN.format(self.folder))
        saved = read_checkpoint(self.folder, self.key, versions())
        if saved is None:
            for name in ("readings.jsonl", "forecasts.jsonl"):
                remove(self.folder / name)
            write_atomically(begun, description)
            return
        self.step, self.next_reading = saved.step, saved.state["next_reading"]
        self.seconds, tensors = saved.state["seconds"], dict(saved.tensors)
        device = self.transitions.rewards.device
        self.trace, self.previous_actions = tensors.pop("trace"), tensors.pop("actions").to(device)
        self.batches.set_state(tensors.pop("batches"))
        load_state(self.agent, tensors, saved.state["agent"])
        for line in read_lines(self.folder / "readings.jsonl"):
            for history, reading in zip(self.readings, line["critics"], strict=True):
                history.extend([] if reading is None else [CriticReading(**reading)])

    def _finish(self, crash_step: int | None) -> None:
        outcome = {
            **self.description,
            "crash_step": crash_step,
            "censored": crash_step is None,
            "steps": self.step if crash_step is None else crash_step,
            "mechanism": mechanism(self.readings) if crash_step is not None else None,
            "parameters": sum(p.numel() for p in self.agent.critics[0].parameters()),
            "active_parameters": self._active_parameters(),
            "seconds": round(self.seconds, 3),
            "device": str(self.transitions.rewards.device),
            "versions": versions(),
        }
        end = self.trace if crash_step is None else self.trace[: crash_step + 1]
        write_tensors(self.folder / "trace.safetensors", {"trace": end}, {"columns": TRACE_COLUMNS})
        files = ("config.json", "readings.jsonl", "forecasts.jsonl", "trace.safetensors")
        write_outcome(self.folder, outcome, files)
        remove(self.folder / CHECKPOINT)

    def _active_parameters(self) -> int:
        """Parameters of the first critic whose last gradient is not zero; what Adam's √P counts."""
        gradients = [p.grad for p in self.agent.critics[0].parameters() if p.grad is not None]
        return int(sum((gradient != 0).sum().item() for gradient in gradients))
