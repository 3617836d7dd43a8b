"""TD3 (Fujimoto et al. 2018, 1802.09477), with an optional behaviour-cloning term (TD3+BC, 2106.06860)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seem.agents.common import blend, build_optimiser, check_optimiser, check_unit_interval, critic_values
from seem.agents.protocol import Kind
from seem.errors import InputError
from seem.networks import Critic, DeterministicActor, MLPConfig
from seem.transitions import Transitions

ACTOR_SCALE = 2.5
"""Weight of the normalised value in the actor's loss (TD3+BC's alpha; the paper's figures, printed)."""

SMALLEST_Q = 1e-8
"""Least mean |Q| that the actor's loss is divided by, for a critic that is zero everywhere."""


@dataclass(frozen=True)
class TD3Config(Kind):
    """Hyper-parameters of TD3.

    Attributes:
        critic: Shape of both critics.
        actor: Shape of the actor.
        discount: Discount γ, in [0, 1].
        critic_optimiser: "sgd" (with ``momentum``) or "adam".
        critic_lr: Learning rate of the critics.
        momentum: Heavy-ball coefficient β of "sgd".
        actor_lr: Learning rate of the actor (Adam).
        actor_interval: The actor moves at every ``actor_interval``-th critic step.
        target_rate: Share τ of the current networks blended into the targets; 1 copies them.
        target_interval: The targets move at every ``target_interval``-th critic step.
        target_noise: Standard deviation of the noise on target actions.
        noise_clip: Largest absolute value of that noise.
        behaviour_cloning: Weight of the mean squared distance to the data's actions; 0 leaves it out.
        hold_norms: Scale each weight matrix of the critics back to its first norm after every step, a control for
            what normalisation does to the effective learning rate (Lyle et al. 2024, 2407.01800).
    """

    critic: MLPConfig = MLPConfig()
    actor: MLPConfig = MLPConfig()
    discount: float = 0.99
    critic_optimiser: Literal["sgd", "adam"] = "adam"
    critic_lr: float = 3e-4
    momentum: float = 0.0
    actor_lr: float = 3e-4
    actor_interval: int = 2
    target_rate: float = 0.005
    target_interval: int = 2
    target_noise: float = 0.2
    noise_clip: float = 0.5
    behaviour_cloning: float = 0.0
    hold_norms: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_unit_interval("discount", self.discount)
        check_unit_interval("target_rate", self.target_rate)
        check_optimiser(self.critic_optimiser, self.critic_lr, self.momentum)
        check_optimiser("adam", self.actor_lr)
        if min(self.actor_interval, self.target_interval) < 1:
            raise InputError("actor_interval and target_interval count critic steps: pass 1 or more")
        if not all(weight >= 0 for weight in (self.target_noise, self.noise_clip, self.behaviour_cloning)):
            raise InputError("target_noise, noise_clip and behaviour_cloning are weights: pass 0 or more")

    def build(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "TD3":
        """A fresh agent; arguments as of `TD3`."""
        return TD3(self, observation_dim, action_dim, seed=seed, dtype=dtype, device=device)


class TD3:
    """Twin critics, a deterministic actor, and their target networks.

    Args:
        config: Hyper-parameters.
        observation_dim: Number of state components.
        action_dim: Number of action components.
        seed: Draws the initial networks and the target noise.
        dtype: Floating dtype of the networks.
        device: Device of the networks.
    """

    def __init__(
        self,
        config: TD3Config,
        observation_dim: int,
        action_dim: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.steps = 0
        drawn = {"generator": torch.Generator().manual_seed(seed), "dtype": dtype, "device": device}
        self.actor = DeterministicActor(observation_dim, action_dim, config.actor, **drawn)
        self.critics = nn.ModuleList(Critic(observation_dim, action_dim, config.critic, **drawn) for _ in range(2))
        self.target_actor = DeterministicActor(observation_dim, action_dim, config.actor, **drawn)
        self.target_critics = nn.ModuleList(
            Critic(observation_dim, action_dim, config.critic, **drawn) for _ in range(2)
        )
        blend(self.target_actor, self.actor, 1.0)
        blend(self.target_critics, self.critics, 1.0)
        for target in (self.target_actor, self.target_critics):
            target.requires_grad_(False)
        self.critic_optimiser = build_optimiser(
            self.critics, config.critic_optimiser, config.critic_lr, config.momentum
        )
        self.actor_optimiser = build_optimiser(self.actor, "adam", config.actor_lr)
        self.noise = torch.Generator(device).manual_seed(seed + 1)
        # Decided by the seed, so that a resumed agent has them too.
        self.held = [weight.detach().norm() for weight in self.critic_weights()] if config.hold_norms else []

    def update(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """Take one critic step and, at its intervals, one actor step and one target step.

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
        with torch.no_grad():
            for weight, norm in zip(self.critic_weights(), self.held, strict=False):
                weight.mul_(norm / weight.norm())

        if self.steps % self.config.actor_interval == 0:
            self.update_actor(batch)
        if self.steps % self.config.target_interval == 0:
            blend(self.target_actor, self.actor, self.config.target_rate)
            blend(self.target_critics, self.critics, self.config.target_rate)
        return values.detach(), target

    def critic_weights(self) -> list[nn.Parameter]:
        """The weight matrices of both critics."""
        return [parameter for parameter in self.critics.parameters() if parameter.ndim == 2]

    def values(self, batch: Transitions) -> Tensor:
        """The two critics on the batch's own actions, shape (2, M)."""
        return critic_values(self.critics, batch.observations, batch.actions)

    @torch.no_grad()
    def td_target(self, batch: Transitions, *, noisy: bool = True) -> Tensor:
        """Targets r + γ(1 - d) min over twins of Q'(s', π'(s') + clipped noise), shape (M,).

        Args:
            batch: M transitions.
            noisy: Whether target actions get their noise; a reading looks without, and draws nothing.
        """
        actions = self.next_actions(batch)
        if noisy and self.config.target_noise > 0:
            noise = torch.randn(actions.shape, generator=self.noise, dtype=actions.dtype, device=actions.device)
            noise = (noise * self.config.target_noise).clamp(-self.config.noise_clip, self.config.noise_clip)
            actions = (actions + noise).clamp(-1, 1)
        next_values = critic_values(self.target_critics, batch.next_observations, actions).amin(0)
        return batch.rewards + self.config.discount * (1 - batch.terminals) * next_values

    @torch.no_grad()
    def next_actions(self, batch: Transitions) -> Tensor:
        """Noiseless actions π'(s') of the target policy, shape (M, action_dim)."""
        return self.target_actor(batch.next_observations)

    def update_actor(self, batch: Transitions) -> None:
        """Move the actor up the first critic's value, scaled by its mean size, and towards the data."""
        actions = self.actor(batch.observations)
        values = critic_values(self.critics[:1], batch.observations, actions)
        loss = -ACTOR_SCALE * values.mean() / values.detach().abs().mean().clamp_min(SMALLEST_Q)
        if self.config.behaviour_cloning > 0:
            loss = loss + self.config.behaviour_cloning * (actions - batch.actions).square().mean()
        self.actor_optimiser.zero_grad()
        # Only the actor's gradients: the critics' own would be discarded.
        loss.backward(inputs=list(self.actor.parameters()))
        self.actor_optimiser.step()
