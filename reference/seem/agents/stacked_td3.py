"""TD3 for many seeds at once: the updates of `seem.agents.td3`, batched over the seeds and over the twins.

Every member follows the run that a `TD3` of its seed would follow, to the rounding of its dtype; nothing waits
for the device between steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from seem.agents.td3 import ACTOR_SCALE, SMALLEST_Q, TD3
from seem.errors import InputError
from seem.networks import MLP
from seem.stacked import StackedMLP
from seem.transitions import Transitions

SAMPLED_STEPS = 64
"""Steps whose rows are drawn together: drawing costs a call per block instead of a call per step."""


class FlatOptimiser:
    """One of torch's optimisers over all parameters of a stack as one tensor.

    Args:
        stack: Whose parameters move.
        name: "sgd" or "adam".
        lr: Learning rate.
        momentum: Heavy-ball coefficient of "sgd".
    """

    def __init__(self, stack: StackedMLP, name: str, lr: float, momentum: float = 0.0) -> None:
        stack.parameters.grad = torch.zeros_like(stack.parameters)
        self.layers = stack.views(stack.parameters.grad)
        flat = [stack.parameters]
        self.step = (
            torch.optim.Adam(flat, lr=lr, fused=True).step
            if name == "adam"
            else torch.optim.SGD(flat, lr=lr, momentum=momentum, fused=True).step
        )


class StackedTD3:
    """S agents of one configuration that take their steps together.

    Args:
        agents: Fresh agents, one a seed; they may differ in their discount. Their parameters are copied, their
            noise generators are used.

    Raises:
        InputError: When the agents differ otherwise, or have already been trained.

    Example:
        >>> import torch
        >>> from seem.agents.td3 import TD3, TD3Config
        >>> from seem.networks import MLPConfig
        >>> config = TD3Config(critic=MLPConfig(width=8), actor=MLPConfig(width=8))
        >>> stack = StackedTD3([TD3(config, 3, 1, seed=seed) for seed in range(4)])
        >>> rows = torch.zeros(4, 5, 3 + 1 + 3 + 2)
        >>> values, targets = stack.update(rows)
        >>> values.shape, targets.shape
        (torch.Size([4, 2, 5]), torch.Size([4, 5]))
    """

    def __init__(self, agents: Sequence[TD3]) -> None:
        config = agents[0].config
        if any(replace(agent.config, discount=config.discount) != config for agent in agents):
            raise InputError("stacked agents share their configuration, only the discount may differ")
        if config.hold_norms:
            raise InputError("stacked agents do not hold norms: train these agents one by one")
        if any(agent.steps for agent in agents):
            raise InputError("stacked agents start together: stack agents that have not been trained")
        self.config, self.count, self.steps = config, len(agents), 0
        self.noise = [agent.noise for agent in agents]
        self.critics = StackedMLP([critic for agent in agents for critic in _perceptrons(agent.critics)])
        self.target_critics = StackedMLP([critic for agent in agents for critic in _perceptrons(agent.target_critics)])
        self.actor = StackedMLP([agent.actor for agent in agents])
        self.target_actor = StackedMLP([agent.target_actor for agent in agents])
        self.critic_optimiser = FlatOptimiser(self.critics, config.critic_optimiser, config.critic_lr, config.momentum)
        self.actor_optimiser = FlatOptimiser(self.actor, "adam", config.actor_lr)
        self.observation_dim, self.action_dim = self.actor.sizes[0], self.actor.sizes[-1]
        like = self.critics.parameters
        discounts = [agent.config.discount for agent in agents]
        self.discount = torch.tensor(discounts, dtype=like.dtype, device=like.device)[:, None]

    def table(self, transitions: Transitions) -> Float[Tensor, "rows columns"]:
        """Transitions as one table (s, a, s', r, d), so that a batch is one gather."""
        columns = (transitions.observations, transitions.actions, transitions.next_observations)
        flags = (transitions.rewards[:, None], transitions.terminals[:, None])
        return torch.cat((*columns, *flags), dim=1).to(self.critics.parameters)

    @torch.no_grad()
    def update(self, rows: Float[Tensor, "S N columns"]) -> tuple[Float[Tensor, "S 2 N"], Float[Tensor, "S N"]]:
        """One critic step of every member and, at their intervals, one actor step and one target step.

        Args:
            rows: Rows of `table` for every member, shape (S, N, columns).

        Returns:
            The critics' values before the step and their targets.
        """
        self.steps += 1
        split = self.observation_dim + self.action_dim
        pairs, states = rows[..., :split], rows[..., : self.observation_dim]
        target = self.td_target(rows)
        outputs, traces = self.critics.forward(_twice(pairs))
        values = outputs.view(self.count, 2, -1)
        # The derivative of each critic's own mean over its rows.
        delta = (values - target[:, None]).mul_(2 / rows.shape[1]).view_as(outputs)
        self.critics.backward(delta, traces, self.critic_optimiser.layers)
        self.critic_optimiser.step()
        if self.steps % self.config.actor_interval == 0:
            self.update_actor(states, pairs[..., self.observation_dim :])
        if self.steps % self.config.target_interval == 0:
            for moved, followed in ((self.target_actor, self.actor), (self.target_critics, self.critics)):
                _blend(moved.parameters, followed.parameters, self.config.target_rate)
        return values, target

    def td_target(self, rows: Float[Tensor, "S N columns"]) -> Float[Tensor, "S N"]:
        """Targets r + γ(1 - d) min over twins of Q'(s', π'(s') + clipped noise)."""
        next_states = rows[..., self.observation_dim + self.action_dim : -2]
        actions = self.target_actor.forward(next_states)[0].tanh_()
        if self.config.target_noise > 0:
            options = {"dtype": actions.dtype, "device": actions.device}
            noise = torch.stack([torch.randn(actions.shape[1:], generator=drawn, **options) for drawn in self.noise])
            clip = self.config.noise_clip
            actions.add_(noise.mul_(self.config.target_noise).clamp_(-clip, clip)).clamp_(-1, 1)
        outputs, _ = self.target_critics.forward(_twice(torch.cat((next_states, actions), dim=-1)))
        next_values = outputs.view(self.count, 2, -1).amin(1)
        return rows[..., -2] + self.discount * (1 - rows[..., -1]) * next_values

    def update_actor(self, states: Float[Tensor, "S N observation"], actions: Float[Tensor, "S N action"]) -> None:
        """Move every actor up its first critic's value, scaled by its mean size, and towards the data."""
        outputs, actor_traces = self.actor.forward(states)
        chosen = outputs.tanh()
        values, traces = self.critics.forward(torch.cat((states, chosen), dim=-1), every=2)
        scale = values.abs().mean(1, keepdim=True).clamp_min_(SMALLEST_Q)
        delta = (-ACTOR_SCALE / values.shape[1] / scale).expand_as(values)
        pushed = self.critics.backward(delta, traces, None, every=2, inputs=True)
        assert pushed is not None
        delta = pushed[..., self.observation_dim :]
        if self.config.behaviour_cloning > 0:
            delta = delta + self.config.behaviour_cloning * 2 / chosen[0].numel() * (chosen - actions)
        delta = torch.ops.aten.tanh_backward(delta, chosen)
        self.actor.backward(delta, actor_traces, self.actor_optimiser.layers)
        self.actor_optimiser.step()

    def train(
        self, table: Float[Tensor, "rows columns"], batch: int, steps: int, generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Take steps on minibatches drawn with replacement, each member's from its own generator.

        Args:
            table: What `table` gives, on the agents' device.
            batch: Rows of a minibatch.
            steps: Number of critic steps.
            generators: One CPU generator a member; the same draws as one ``torch.randint`` a step.

        Yields:
            What `update` returns, after every step.
        """
        for begun in range(0, steps, SAMPLED_STEPS):
            count = min(SAMPLED_STEPS, steps - begun)
            drawn = [torch.randint(len(table), (count, batch), generator=generator) for generator in generators]
            indices = torch.stack(drawn, dim=1).to(table.device, non_blocking=True)
            for index in indices:
                yield self.update(table[index])

    def store(self, index: int, agent: TD3) -> None:
        """Copy one member's networks into an agent of the same configuration, to be read or evaluated.

        Args:
            index: Which member.
            agent: What is overwritten; its optimisers and its noise are left alone.
        """
        agent.steps = self.steps
        self.actor.store(index, agent.actor)
        self.target_actor.store(index, agent.target_actor)
        for twin in range(2):
            self.critics.store(2 * index + twin, agent.critics[twin])  # type: ignore[arg-type]
            self.target_critics.store(2 * index + twin, agent.target_critics[twin])  # type: ignore[arg-type]


def _perceptrons(modules: torch.nn.ModuleList) -> list[MLP]:
    return [module for module in modules if isinstance(module, MLP)]


def _twice(x: Float[Tensor, "S N inputs"]) -> Float[Tensor, "K N inputs"]:
    """Every member's rows for both of its critics; K = 2S."""
    return x.expand(2, -1, -1) if len(x) == 1 else x.repeat_interleave(2, dim=0)


def _blend(target: Tensor, source: Tensor, rate: float) -> None:
    if rate == 1:
        target.copy_(source)
    elif rate > 0:  # 0 times an overflowed source would be nan
        target.mul_(1 - rate).add_(source, alpha=rate)
