"""SAC (Haarnoja et al. 2018, 1812.05905) with a tuned temperature and an optional behaviour-cloning term."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seem.agents.common import blend, build_optimiser, check_optimiser, check_unit_interval, critic_values
from seem.agents.protocol import Kind
from seem.errors import InputError
from seem.networks import Critic, GaussianActor, MLPConfig
from seem.transitions import Transitions


@dataclass(frozen=True)
class SACConfig(Kind):
    """Hyper-parameters of SAC.

    Attributes:
        critic: Shape of both critics.
        actor: Shape of the actor.
        discount: Discount γ, in [0, 1].
        critic_optimiser: "sgd" (with ``momentum``) or "adam".
        critic_lr: Learning rate of the critics.
        momentum: Heavy-ball coefficient β of "sgd".
        actor_lr: Learning rate of the actor (Adam).
        actor_interval: Actor and temperature move at every ``actor_interval``-th critic step.
        target_rate: Share τ of the current critics blended into the targets; 1 copies them.
        target_interval: The targets move at every ``target_interval``-th critic step.
        temperature: Initial temperature α, or the fixed one; 0 drops the entropy and must be fixed.
        tune_temperature: Whether α is tuned towards ``target_entropy``.
        temperature_lr: Learning rate of log α (Adam).
        target_entropy: Entropy in nats that the tuned α aims at; None means minus the number of action components.
        behaviour_cloning: Weight of the mean squared distance of tanh(mean(s)) to the data's actions, the term of
            TD3+BC (2106.06860); 0 leaves it out.

    Raises:
        InputError: When a value is impossible.
    """

    critic: MLPConfig = MLPConfig()
    actor: MLPConfig = MLPConfig()
    discount: float = 0.99
    critic_optimiser: Literal["sgd", "adam"] = "adam"
    critic_lr: float = 3e-4
    momentum: float = 0.0
    actor_lr: float = 3e-4
    actor_interval: int = 1
    target_rate: float = 0.005
    target_interval: int = 1
    temperature: float = 1.0
    tune_temperature: bool = True
    temperature_lr: float = 3e-4
    target_entropy: float | None = None
    behaviour_cloning: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_unit_interval("discount", self.discount)
        check_unit_interval("target_rate", self.target_rate)
        check_optimiser(self.critic_optimiser, self.critic_lr, self.momentum)
        check_optimiser("adam", self.actor_lr)
        check_optimiser("adam", self.temperature_lr)
        if min(self.actor_interval, self.target_interval) < 1:
            raise InputError("actor_interval and target_interval count critic steps: pass 1 or more")
        if not (self.temperature >= 0 and self.behaviour_cloning >= 0):
            raise InputError("temperature and behaviour_cloning are weights: pass 0 or more")
        if self.tune_temperature and self.temperature == 0:
            raise InputError("a temperature of 0 cannot be tuned: pass a positive one, or tune_temperature False")

    def build(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "SAC":
        """A fresh agent; arguments as of `SAC`."""
        return SAC(self, observation_dim, action_dim, seed=seed, dtype=dtype, device=device)


class Temperature(nn.Module):
    """The weight α = exp(log α) of the entropy, held as its logarithm so that it stays positive.

    Args:
        initial: Initial α, 0 or more.
        dtype: Floating dtype of log α.
        device: Device of log α.
    """

    def __init__(self, initial: float, *, dtype: torch.dtype, device: torch.device | str) -> None:
        super().__init__()
        log = math.log(initial) if initial else -math.inf
        self.log = nn.Parameter(torch.tensor(log, dtype=dtype, device=device))

    def forward(self) -> Tensor:
        """The temperature α, shape ()."""
        return self.log.exp()


class SAC:
    """Twin critics, their target networks, a squashed Gaussian actor and a temperature.

    Args:
        config: Hyper-parameters.
        observation_dim: Number of state components.
        action_dim: Number of action components.
        seed: Draws the initial networks and the actions' noise.
        dtype: Floating dtype of the networks.
        device: Device of the networks.
    """

    def __init__(
        self,
        config: SACConfig,
        observation_dim: int,
        action_dim: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.steps = 0
        self.action_dim = action_dim
        drawn = {"generator": torch.Generator().manual_seed(seed), "dtype": dtype, "device": device}
        self.actor = GaussianActor(observation_dim, action_dim, config.actor, **drawn)
        self.critics = nn.ModuleList(Critic(observation_dim, action_dim, config.critic, **drawn) for _ in range(2))
        self.target_critics = nn.ModuleList(
            Critic(observation_dim, action_dim, config.critic, **drawn) for _ in range(2)
        )
        blend(self.target_critics, self.critics, 1.0)
        self.target_critics.requires_grad_(False)
        self.temperature = Temperature(config.temperature, dtype=dtype, device=device)
        self.target_entropy = -float(action_dim) if config.target_entropy is None else config.target_entropy
        self.critic_optimiser = build_optimiser(
            self.critics, config.critic_optimiser, config.critic_lr, config.momentum
        )
        self.actor_optimiser = build_optimiser(self.actor, "adam", config.actor_lr)
        self.temperature_optimiser = build_optimiser(self.temperature, "adam", config.temperature_lr)
        self.noise = torch.Generator(device).manual_seed(seed + 1)

    def update(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """Take one critic step and, at their intervals, one actor and temperature step and one target step.

        Args:
            batch: M transitions of the networks' dtype and device.

        Returns:
            The two critics' values on the batch before the step, shape (2, M), and their targets, shape (M,).
        """
        self.steps += 1
        target = self.td_target(batch)
        values = self.values(batch)
        # Each critic's loss is its own mean over the rows, so η = 2·lr/M for both.
        loss = (values - target).square().mean(1).sum()
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()

        if self.steps % self.config.actor_interval == 0:
            self.update_actor(batch)
        if self.steps % self.config.target_interval == 0:
            blend(self.target_critics, self.critics, self.config.target_rate)
        return values.detach(), target

    def values(self, batch: Transitions) -> Tensor:
        """The two critics on the batch's own actions, shape (2, M)."""
        return critic_values(self.critics, batch.observations, batch.actions)

    @torch.no_grad()
    def td_target(self, batch: Transitions, *, noisy: bool = True) -> Tensor:
        r"""Targets :math:`r + γ(1 - d)(\min_i Q'_i(s', a') - α \log π(a' | s'))`, a' drawn from π(s'), shape (M,).

        Args:
            batch: M transitions.
            noisy: Whether a' is drawn; a reading takes a' = tanh(mean(s')) and draws nothing.

        Source: Haarnoja et al. 2018 (1812.05905), equations (3) and (5) (recalled); the minimum over twins, section 6.
        """
        actions, log_densities = self._sample(batch.next_observations, noisy=noisy)
        next_values = critic_values(self.target_critics, batch.next_observations, actions).amin(0)
        soft_values = next_values - self.temperature() * log_densities
        return batch.rewards + self.config.discount * (1 - batch.terminals) * soft_values

    @torch.no_grad()
    def next_actions(self, batch: Transitions) -> Tensor:
        """Noiseless actions tanh(mean(s')) of the current policy, shape (M, action_dim); SAC has no target actor."""
        return self.actor(batch.next_observations)

    def update_actor(self, batch: Transitions) -> None:
        r"""Move the actor down :math:`α \log π - \min_i Q_i` and towards the data, then tune the temperature.

        Source: Haarnoja et al. 2018 (1812.05905), equation (7) (recalled).
        """
        actions, log_densities = self._sample(batch.observations)
        values = critic_values(self.critics, batch.observations, actions).amin(0)
        loss = (self.temperature().detach() * log_densities - values).mean()
        if self.config.behaviour_cloning > 0:
            distances = (self.actor(batch.observations) - batch.actions).square()
            loss = loss + self.config.behaviour_cloning * distances.mean()
        self.actor_optimiser.zero_grad()
        # Only the actor's gradients: the critics' own would be discarded.
        loss.backward(inputs=list(self.actor.parameters()))
        self.actor_optimiser.step()
        if self.config.tune_temperature:
            self._tune_temperature(log_densities.detach())

    def _tune_temperature(self, log_densities: Tensor) -> None:
        r"""Move log α down :math:`-α (\log π + \bar H)`: up while the policy's entropy is below its target.

        Source: Haarnoja et al. 2018 (1812.05905), equation (18) (recalled).
        """
        loss = -(self.temperature() * (log_densities + self.target_entropy)).mean()
        self.temperature_optimiser.zero_grad()
        loss.backward()
        self.temperature_optimiser.step()

    def _sample(self, observations: Tensor, *, noisy: bool = True) -> tuple[Tensor, Tensor]:
        """Actions drawn with the agent's own noise, (N, action_dim), and their log-densities, (N,)."""
        shape = (len(observations), self.action_dim)
        if not noisy:
            return self.actor.sample(
                observations, torch.zeros(shape, dtype=observations.dtype, device=observations.device)
            )
        noise = torch.randn(shape, generator=self.noise, dtype=observations.dtype, device=observations.device)
        return self.actor.sample(observations, noise)
