"""What all benchmarks share: critics, rows, and the rows of the table."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from interleave import Timing
from torch import Tensor

from seem.networks import Critic, MLPConfig

OBSERVATIONS, ACTIONS = 11, 3
"""Shapes of hopper."""
DISCOUNT = 0.99


@dataclass(frozen=True)
class Row:
    """One line of the table: this project against one other way.

    Attributes:
        group: Which benchmark.
        setting: Sizes and dtype.
        peer: What a user would pick instead.
        milliseconds: This project's median, in milliseconds; only its ratios mean anything elsewhere.
        ratio: How many times longer the peer takes, median over the rounds; None when it was not there.
        low: Lower quartile of that ratio.
        high: Upper quartile.
        target: Smallest ratio that is aimed at, or None.
        note: What else belongs to the line.
    """

    group: str
    setting: str
    peer: str
    milliseconds: float
    ratio: float | None
    low: float | None
    high: float | None
    target: float | None = None
    note: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return asdict(self)


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
    rows = []
    for peer, target in peers:
        if isinstance(peer, str):
            missing = "not installed: run `nox -s peers` first"
            rows.append(Row(group, setting, peer, 1e3 * ours.median / per, None, None, None, target, missing))
        else:
            ratio, low, high = ours.ratio(peer)
            rows.append(Row(group, setting, peer.name, 1e3 * ours.median / per, ratio, low, high, target, note))
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
