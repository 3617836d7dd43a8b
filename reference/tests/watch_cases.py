"""Trainings of one's own that a watch looks at: twins and a policy in a plain loop, on embedded data."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seem.datasets.dataset import EMBEDDED, load
from seem.dynamics import Training
from seem.lookahead import value_bound
from seem.watch import Watch

DISCOUNT = 0.99
OPTIMISERS = {
    "SGD": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
    "Adam": lambda parameters, lr: torch.optim.Adam(parameters, lr=lr),
}


def network(inputs: int, outputs: int, width: int, norm: bool) -> nn.Sequential:
    """Three layers, with LayerNorm or without."""
    parts: list[nn.Module] = []
    for size in (inputs, width):
        parts += [nn.Linear(size, width), *([nn.LayerNorm(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, outputs))


class Loop:
    """Two critics with copied targets and a policy that climbs the first: it diverges without LayerNorm.

    Args:
        optimiser: "SGD" or "Adam".
        lr: Of the critics.
        norm: Whether the critics have LayerNorm.
        seed: Of the networks.
        width: Of the critics.
    """

    def __init__(
        self, optimiser: str = "Adam", lr: float = 1e-3, *, norm: bool = False, seed: int = 1, width: int = 48
    ) -> None:
        torch.manual_seed(seed)
        rows = load(EMBEDDED / "hopper-medium.hdf5").transitions.normalised()
        self.rows = rows.to(dtype=torch.float32).subset(96, torch.Generator().manual_seed(0))
        self.critics = [network(14, 1, width, norm) for _ in range(2)]
        self.policy = nn.Sequential(network(11, 3, 32, False), nn.Tanh())
        held = [p for critic in self.critics for p in critic.parameters()]
        self.optimiser = OPTIMISERS[optimiser](held, lr)
        self.policy_optimiser = torch.optim.Adam(self.policy.parameters(), lr=1e-3)
        self.training = Training(discount=DISCOUNT, optimizer=self.optimiser)
        self.bound = value_bound(self.rows.rewards, DISCOUNT)
        self.sizes: list[float] = []

    def step(self) -> None:
        """One step of critics and policy; it draws, so that a generator that was moved shows."""
        rows, x = self.rows, torch.cat((self.rows.observations, self.rows.actions), 1)
        noise = 1e-3 * torch.randn(rows.actions.shape) + 1e-3 * random.random() + 1e-3 * np.random.rand()  # noqa: S311, NPY002
        with torch.no_grad():
            x_next = torch.cat((rows.next_observations, (self.policy(rows.next_observations) + noise).float()), 1)
            smaller = torch.minimum(*(critic(x_next) for critic in self.critics))[:, 0]
            target = rows.rewards + DISCOUNT * (1 - rows.terminals) * smaller
        values = [critic(x)[:, 0] for critic in self.critics]
        self.sizes.append(torch.stack(values).detach().abs().mean().item())
        self.optimiser.zero_grad()
        sum((value - target).square().mean() for value in values).backward()  # type: ignore[union-attr]
        self.optimiser.step()
        value = self.critics[0](torch.cat((rows.observations, self.policy(rows.observations)), 1))
        self.policy_optimiser.zero_grad()
        (-value.mean() / value.abs().mean().detach()).backward()
        self.policy_optimiser.step()

    def train(self, steps: int, watch: Watch | None = None) -> "Loop":
        """Train, with a watch or without, until it asks to stop."""
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        for step in range(steps):
            if watch is not None and watch.due(step):
                watch.read(self.critics, self.rows, step, policy=self.policy)
                if watch.stop:
                    break
            self.step()
        return self

    def bits(self) -> list[Any]:
        """Everything that the training holds, gradients, modes and generators too."""
        found: list[Any] = [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
        for module in (*self.critics, self.policy):
            found += [module.training, *module.state_dict().values(), *(p.grad for p in module.parameters())]
        for one in (self.optimiser, self.policy_optimiser):
            found += [part for state in one.state_dict()["state"].values() for part in state.values()]
        return found


def same(first: list[Any], second: list[Any]) -> bool:
    """Whether two trainings ended in the same bits; NaN is NaN."""

    def equal(a: Any, b: Any) -> bool:
        if not isinstance(a, Tensor):
            return a == b
        return a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)

    return all(equal(a, b) for a, b in zip(first, second, strict=True))
