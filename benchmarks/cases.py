"""What all benchmarks share: critics, rows, and the rows of the table."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from interleave import Timing
from torch import Tensor

from seem.agents.stacked_td3 import StackedTD3
from seem.agents.td3 import TD3, TD3Config
from seem.datasets.dataset import EMBEDDED, load
from seem.lookahead import value_bound
from seem.networks import Critic, MLPConfig
from seem.transitions import Transitions

OBSERVATIONS, ACTIONS = 11, 3
"""Shapes of hopper."""
DISCOUNT, LR, BATCH = 0.99, 3e-4, 256
"""TD3's usual settings."""
THREADS = 2
"""Threads that this project and every peer get."""


@dataclass(frozen=True)
class Row:
    """One line of the table: this project against one other way.

    Attributes:
        group: Which benchmark.
        setting: Sizes and dtype.
        peer: What a user would pick instead, or what a share is of.
        milliseconds: This project's median in milliseconds, or None; only ratios mean anything elsewhere.
        value: How many times longer the peer takes, median over the rounds, or a share; None without the peer.
        low: Lower quartile, or None.
        high: Upper quartile, or None.
        target: What is aimed at: at least that ratio, or at most that share; or None.
        kind: Whether ``value`` is a ratio ("times") or a share.
        note: What else belongs to the line.
    """

    group: str
    setting: str
    peer: str
    milliseconds: float | None
    value: float | None
    low: float | None = None
    high: float | None = None
    target: float | None = None
    kind: Literal["times", "share"] = "times"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.kind == "times" else self.value <= self.target


def compare(
    group: str,
    setting: str,
    ours: Timing,
    peers: list[tuple[Timing | str, float | None]],
    *,
    per: int = 1,
    note: str = "",
) -> list[Row]:
    """One row a peer; a name instead of a timing stands for a peer that is not installed.

    Args:
        group: Which benchmark.
        setting: Sizes and dtype.
        ours: This project's timing.
        peers: Each with its target.
        per: Repetitions inside one timing.
        note: What else belongs to the lines.
    """
    rows, milliseconds = [], 1e3 * ours.median / per
    for peer, target in peers:
        if isinstance(peer, str):
            missing = "not installed: run `nox -t peers` first"
            rows.append(Row(group, setting, peer, milliseconds, None, target=target, note=missing))
        else:
            ratios = ours.ratio(peer)
            rows.append(Row(group, setting, peer.name, milliseconds, *ratios, target=target, note=note))
    return rows


def critic_and_rows(
    rows: int, *, normalisation: str = "none", dtype: torch.dtype = torch.float32, width: int = 256, depth: int = 3
) -> tuple[Critic, Tensor, Tensor]:
    """A fresh critic of hopper's shape with X and X*, each (rows, 14)."""
    generator = torch.Generator().manual_seed(0)
    config = MLPConfig(depth=depth, width=width, normalisation=normalisation)  # type: ignore[arg-type]
    critic = Critic(OBSERVATIONS, ACTIONS, config, generator=generator, dtype=dtype)
    x, x_next = torch.randn(2, rows, OBSERVATIONS + ACTIONS, generator=generator, dtype=torch.float64).to(dtype)
    return critic, x, x_next


@dataclass(frozen=True)
class Trained:
    """A critic in training on the embedded hopper set, its targets copied at every second step.

    Attributes:
        stack: The training program, of one seed.
        agent: Where a member is stored to be read.
        table: Its data.
        generator: Draws the minibatches.
        rows: Transitions to read on.
        bound: What mean |Q| must not pass.
    """

    stack: StackedTD3
    agent: TD3
    table: Tensor
    generator: torch.Generator
    rows: Transitions
    bound: float

    @classmethod
    def start(cls, normalisation: str, rows: int, *, discount: float = DISCOUNT, seed: int = 0) -> "Trained":
        """A fresh critic: without normalisation it diverges within some thousand steps, with LayerNorm it does not."""
        config = TD3Config(critic=MLPConfig(normalisation=normalisation), target_rate=1.0, discount=discount)
        transitions = (
            load(EMBEDDED / "hopper-medium.hdf5").transitions.normalised().to(dtype=torch.float32, device="cpu")
        )
        agent = TD3(config, transitions.observation_dim, transitions.action_dim, seed=seed)
        stack = StackedTD3([agent])
        chosen = transitions.subset(min(rows, len(transitions)), torch.Generator().manual_seed(1))
        bound = value_bound(transitions.rewards, discount)
        return cls(stack, agent, stack.table(transitions), torch.Generator().manual_seed(seed), chosen, bound)

    def train(self, steps: int) -> None:
        """Take steps on minibatches of 256."""
        for _ in self.stack.train(self.table, BATCH, steps, [self.generator]):
            pass

    def inputs(self, dtype: torch.dtype = torch.float64) -> tuple[Critic, dict[str, Tensor]]:
        """The first critic as it is now, and what a reading wants."""
        self.stack.store(0, self.agent)
        rows, agent = self.rows, self.agent
        error = agent.values(rows).detach()[0] - agent.td_target(rows, noisy=False)
        critic = agent.critics[0]
        assert isinstance(critic, Critic)
        critic = critic if dtype == torch.float32 else copy.deepcopy(critic).to(dtype)
        x = torch.cat((rows.observations, rows.actions), 1)
        x_next = torch.cat((rows.next_observations, agent.next_actions(rows)), 1)
        read = {"x": x, "x_next": x_next, "td_error": error, "terminals": rows.terminals}
        return critic, {name: values.to(dtype) for name, values in read.items()}
