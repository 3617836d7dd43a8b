"""Slow transcriptions of TD3, SAC and Adam: one row at a time, every chain rule written out, in numpy.

They share with the agents only the initial numbers and the noise. Every step returns a bound on what rounding can
make of it, and `SlowAgent.follow` starts every stage of an update from the agent's own numbers: Adam may enlarge an
error by 1/ε = 1e8, so that only a single stage has a bound worth having.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from properties.slow_networks import Numbers, SlowNetwork, SlowOptimiser, Vector, misfit
from seem.agents.sac import SAC
from seem.agents.td3 import TD3
from seem.transitions import Transitions

ROUNDING = 1e-13
"""Error of a gradient of size one: about a thousand float64 roundings of 1e-16, more than its operations."""


def rows_of(batch: Transitions) -> Iterator[tuple[Vector, Vector, float, Vector, float]]:
    """The rows (s, a, r, s', d) of a batch, one after the other."""
    columns = (batch.observations, batch.actions, batch.rewards, batch.next_observations, batch.terminals)
    return zip(*(column.numpy() for column in columns), strict=True)


class SlowAgent(ABC):
    """What TD3 and SAC have in common."""

    def __init__(self, agent: TD3 | SAC) -> None:
        self.critics = [SlowNetwork(critic) for critic in agent.critics]
        self.critic_targets = [SlowNetwork(critic) for critic in agent.target_critics]
        self.actor = SlowNetwork(agent.actor)
        self.noise = torch.Generator()
        self.noise.set_state(agent.noise.get_state())
        c = agent.config
        self.critic_optimisers = [
            SlowOptimiser(critic.parameters, c.critic_optimiser, c.critic_lr, c.momentum) for critic in self.critics
        ]
        self.actor_optimiser = SlowOptimiser(self.actor.parameters, "adam", c.actor_lr)
        self.config, self.steps = c, 0

    @abstractmethod
    def target(self, batch: Transitions) -> Vector:
        """The targets y, (M,)."""

    @abstractmethod
    def follow_actor(self, agent: Any, batch: Transitions) -> list[float]:
        """Move the actor and what moves with it; returns the misfits to the agent's."""

    def followers(self, agent: Any) -> list[tuple[nn.Module, SlowNetwork, SlowNetwork]]:
        """Target networks: the agent's, its mirror, and what the mirror follows."""
        return list(zip(agent.target_critics, self.critic_targets, self.critics, strict=True))

    def follow(self, agent: Any, batch: Transitions, target: Vector) -> float:
        """Repeat the update that ``agent`` has just taken; returns the largest misfit, above 1 for another update."""
        self.steps += 1
        stages = zip(agent.critics, self.critics, self.step_critics(batch, target), strict=True)
        misfits = [misfit(critic, mirror.parameters, errors) for critic, mirror, errors in stages]
        for critic, mirror in zip(agent.critics, self.critics, strict=True):
            mirror.take(critic)
        moves = self.steps % self.config.actor_interval == 0
        misfits += self.follow_actor(agent, batch) if moves else [misfit(agent.actor, self.actor.parameters)]
        self.actor.take(agent.actor)
        for module, mirror, source in self.followers(agent):
            rate = self.config.target_rate if self.steps % self.config.target_interval == 0 else 0.0
            for name, value in source.parameters.items():
                mirror.parameters[name] = (1 - rate) * mirror.parameters[name] + rate * value
            misfits.append(misfit(module, mirror.parameters))
            mirror.take(module)
        return max(misfits)

    def draw_noise(self, batch: Transitions) -> Vector:
        """Standard normal noise, (M, action_dim)."""
        return torch.randn(batch.actions.shape, generator=self.noise, dtype=torch.float64).numpy()

    def values(self, batch: Transitions) -> Vector:
        """f_i(s, a), (2, M)."""
        return np.array([[critic(np.append(s, a))[0] for s, a, *_ in rows_of(batch)] for critic in self.critics])

    def step_critics(self, batch: Transitions, target: Vector) -> list[Numbers]:
        """Descend the mean over the rows of (f_i(s, a) - y)², each critic its own."""
        errors = []
        for critic, optimiser in zip(self.critics, self.critic_optimisers, strict=True):
            total, size = {name: np.zeros_like(value) for name, value in critic.parameters.items()}, 0.0
            for (s, a, *_), y in zip(rows_of(batch), target, strict=True):
                value = critic(np.append(s, a))[0]
                slope, _ = critic.gradients(np.append(s, a), np.ones(1))
                total = {name: total[name] + 2 / len(batch) * (value - y) * slope[name] for name in total}
                steepest = max(abs(part).max() for part in slope.values())
                size += 2 / len(batch) * (1 + abs(value) + abs(y)) * (1 + steepest)
            errors.append(optimiser.step(critic.parameters, total, ROUNDING * size))
        return errors

    def step_actor_by(self, batch: Transitions, upstream: Vector, size: float) -> Numbers:
        """Descend the actor along gradients (M, outputs) in its raw outputs; ``size`` is that of their terms."""
        total = {name: np.zeros_like(value) for name, value in self.actor.parameters.items()}
        steepest = 0.0
        for (s, *_), row in zip(rows_of(batch), upstream, strict=True):
            gradient, _ = self.actor.gradients(s, row)
            total = {name: total[name] + gradient[name] for name in total}
            steepest = max(steepest, max(abs(part).max() for part in gradient.values()) / (abs(row).max() or 1.0))
        return self.actor_optimiser.step(self.actor.parameters, total, ROUNDING * size * (1 + steepest))


class SlowTD3(SlowAgent):
    """Fujimoto et al. 2018 (1802.09477), algorithm 1; the actor's loss is of Fujimoto and Gu 2021 (2106.06860)."""

    def __init__(self, agent: TD3) -> None:
        super().__init__(agent)
        self.actor_target = SlowNetwork(agent.target_actor)

    def followers(self, agent: TD3) -> list[tuple[nn.Module, SlowNetwork, SlowNetwork]]:
        """The critics' targets and the actor's."""
        return [*super().followers(agent), (agent.target_actor, self.actor_target, self.actor)]

    def target(self, batch: Transitions) -> Vector:
        """Targets y = r + γ(1 - d) min_i Q'_i(s', clip(π'(s') + clip(ε, -c, c), -1, 1)), (M,)."""
        c, found = self.config, []
        for (_, _, r, s_next, d), noise in zip(rows_of(batch), self.draw_noise(batch), strict=True):
            noise = np.clip(c.target_noise * noise, -c.noise_clip, c.noise_clip)
            action = np.clip(np.tanh(self.actor_target(s_next)) + noise, -1.0, 1.0)
            first, second = (critic(np.append(s_next, action))[0] for critic in self.critic_targets)
            found.append(r if d else r + c.discount * min(first, second))
        return np.array(found)

    def follow_actor(self, agent: TD3, batch: Transitions) -> list[float]:
        """The actor alone."""
        errors = self.step_actor(batch)
        return [misfit(agent.actor, self.actor.parameters, errors)]

    def step_actor(self, batch: Transitions) -> Numbers:
        """Descend -2.5·mean(Q_1)/mean|Q_1| + bc·mean (π(s) - a)², the mean |Q_1| held fixed."""
        rows = [(s, a, np.tanh(self.actor(s))) for s, a, *_ in rows_of(batch)]
        size = max(np.mean([abs(self.critics[0](np.append(s, action))[0]) for s, _, action in rows]), 1e-8)
        weight, cloning = 2.5 / size, self.config.behaviour_cloning
        upstream, steepest = [], 0.0
        for s, a, action in rows:
            _, slope = self.critics[0].gradients(np.append(s, action), np.ones(1))
            ascent = -weight * slope[len(s) :] / len(rows)
            upstream.append((ascent + cloning * 2 * (action - a) / (len(rows) * len(a))) * (1 - action**2))
            steepest = max(steepest, abs(slope).max())
        # The weight carries the rounding of mean |Q|, relative to its size.
        return self.step_actor_by(batch, np.array(upstream), (weight * (1 + 1 / size) * steepest + cloning) + 1)


class SlowSAC(SlowAgent):
    """Haarnoja et al. 2018 (1812.05905), equations (5), (7) and (18), and the density of its appendix C."""

    def __init__(self, agent: SAC) -> None:
        super().__init__(agent)
        self.temperature = {"log": agent.temperature.log.detach().numpy().copy()}
        self.temperature_optimiser = SlowOptimiser(self.temperature, "adam", self.config.temperature_lr)
        wanted = self.config.target_entropy
        self.target_entropy = -agent.action_dim if wanted is None else wanted  # appendix D: -dim(A)

    def sample(self, s: Vector, noise: Vector) -> tuple[Vector, float, Vector, Vector, Vector]:
        """Action, its log-density, tanh of the mean, standard deviation, and whether that is inside its range."""
        mean, log_std = np.split(self.actor(s), 2)
        inside, log_std = (log_std >= -20) & (log_std <= 2), np.clip(log_std, -20, 2)
        raw = mean + np.exp(log_std) * noise
        # 1 - tanh² = 1/cosh², and log(2 cosh x) = log(e^x + e^-x).
        squash = -2 * (np.logaddexp(raw, -raw) - math.log(2))
        density = (-(noise**2) / 2 - log_std - math.log(2 * math.pi) / 2 - squash).sum()
        return np.tanh(raw), float(density), np.tanh(mean), np.exp(log_std), inside

    def target(self, batch: Transitions) -> Vector:
        """Targets y = r + γ(1 - d)(min_i Q'_i(s', a') - α log π(a' | s')), (M,)."""
        found = []
        for (_, _, r, s_next, d), noise in zip(rows_of(batch), self.draw_noise(batch), strict=True):
            action, log_density, *_ = self.sample(s_next, noise)
            value = min(critic(np.append(s_next, action))[0] for critic in self.critic_targets)
            soft = value - math.exp(self.temperature["log"]) * log_density
            found.append(r if d else r + self.config.discount * soft)
        return np.array(found)

    def follow_actor(self, agent: SAC, batch: Transitions) -> list[float]:
        """The actor, then the temperature by the densities of before."""
        errors, log_density = self.step_actor(batch)
        misfits = [misfit(agent.actor, self.actor.parameters, errors)]
        errors = self.step_temperature(log_density) if self.config.tune_temperature else None
        misfits.append(misfit(agent.temperature, self.temperature, errors))
        self.temperature["log"] = agent.temperature.log.detach().numpy().copy()
        return misfits

    def step_actor(self, batch: Transitions) -> tuple[Numbers, float]:
        """Descend mean(α log π - min_i Q_i) + bc·mean (tanh(mean) - a)²; also returns mean log π."""
        cloning, alpha, rows = self.config.behaviour_cloning, math.exp(self.temperature["log"]), len(batch)
        upstream, densities, steepest = [], [], 0.0
        for (s, a, *_), noise in zip(rows_of(batch), self.draw_noise(batch), strict=True):
            action, log_density, most_likely, std, inside = self.sample(s, noise)
            critic = min(self.critics, key=lambda critic: critic(np.append(s, action))[0])
            _, slope = critic.gradients(np.append(s, action), np.ones(1))
            # d log π / d raw is 2·tanh(raw); log σ also stands in log π itself.
            by_raw = (2 * alpha * action - slope[len(s) :] * (1 - action**2)) / rows
            by_mean = by_raw + cloning * 2 * (most_likely - a) / (rows * len(a)) * (1 - most_likely**2)
            upstream.append(np.append(by_mean, inside * (by_raw * std * noise - alpha / rows)))
            densities.append(log_density)
            steepest = max(steepest, abs(slope).max(), (std * abs(noise)).max())
        errors = self.step_actor_by(batch, np.array(upstream), (1 + alpha + steepest + cloning) ** 2)
        return errors, float(np.mean(densities))

    def step_temperature(self, log_density: float) -> Numbers:
        """Descend -α(mean log π + H̄) in log α."""
        gradient = -np.exp(self.temperature["log"]) * (log_density + self.target_entropy)
        size = math.exp(self.temperature["log"]) * (1 + abs(log_density) + abs(self.target_entropy))
        return self.temperature_optimiser.step(self.temperature, {"log": gradient}, ROUNDING * size)
