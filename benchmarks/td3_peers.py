"""TD3 as single-file implementations write it: one module and one optimiser per network, a number logged per step."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def perceptron(inputs: int, outputs: int, *last: nn.Module) -> nn.Sequential:
    """Two hidden layers of 256 units."""
    return nn.Sequential(
        nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs), *last
    )


class EagerTD3:
    """The loop of CORL's td3_bc.py (Tarasov et al. 2022, 2210.07105) without its cloning term, re-told in its order."""

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        self.actor = perceptron(observation_dim, action_dim, nn.Tanh())
        self.critics = [perceptron(observation_dim + action_dim, 1) for _ in range(2)]
        self.actor_target, self.critic_targets = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
        self.critic_optimisers = [torch.optim.Adam(critic.parameters(), lr=3e-4) for critic in self.critics]
        self.steps, self.rng = 0, np.random.default_rng(0)

    def sample(self, data: list[Tensor], batch: int) -> list[Tensor]:
        """A minibatch, indices drawn by numpy."""
        indices = self.rng.integers(0, len(data[0]), size=batch)
        return [part[indices] for part in data]

    def train(self, batch: list[Tensor]) -> dict[str, float]:
        """One step; the losses are read every time, as the loggers of such loops do."""
        self.steps += 1
        states, actions, rewards, next_states, terminals = batch
        with torch.no_grad():
            noise = (torch.randn_like(actions) * 0.2).clamp(-0.5, 0.5)
            next_actions = (self.actor_target(next_states) + noise).clamp(-1, 1)
            pairs = torch.cat((next_states, next_actions), 1)
            next_values = torch.min(self.critic_targets[0](pairs), self.critic_targets[1](pairs))
            target = rewards + (1 - terminals) * 0.99 * next_values
        values = [critic(torch.cat((states, actions), 1)) for critic in self.critics]
        loss = functional.mse_loss(values[0], target) + functional.mse_loss(values[1], target)
        logged = {"critic_loss": loss.item()}
        for optimiser in self.critic_optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in self.critic_optimisers:
            optimiser.step()
        if self.steps % 2 == 0:
            chosen = self.actor(states)
            values = self.critics[0](torch.cat((states, chosen), 1))
            scale = 2.5 / values.abs().mean().detach()
            actor_loss = -scale * values.mean()
            logged["actor_loss"] = actor_loss.item()
            self.actor_optimiser.zero_grad()
            actor_loss.backward()
            self.actor_optimiser.step()
            for moved, followed in zip(
                [self.actor_target, *self.critic_targets], [self.actor, *self.critics], strict=True
            ):
                for old, new in zip(moved.parameters(), followed.parameters(), strict=True):
                    old.data.copy_(0.995 * old.data + 0.005 * new.data)
        return logged
