"""What training, readings and records need of an agent, and of its configuration."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seem.networks import MLPConfig
from seem.transitions import Transitions


@runtime_checkable
class Agent(Protocol):
    """An agent whose critics are trained by temporal differences.

    What decides its future is in its attributes: modules, optimisers of torch, generators of torch, and ``steps``.
    So `seem.agents.common.state_of` can save any agent, and `seem.agents.common.evaluating` look at it.

    Attributes:
        config: Its configuration.
        steps: Critic steps taken so far.
        critics: Modules of one argument, the rows (s, a), with one output per row.
    """

    steps: int
    critics: nn.ModuleList

    @property
    def config(self) -> "AgentConfig":
        """Its configuration."""
        ...

    def update(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """Take one critic step, and what follows it; the values before it, (critics, M), and their targets, (M,)."""
        ...

    def values(self, batch: Transitions) -> Tensor:
        """The critics on the batch's own actions, shape (critics, M)."""
        ...

    def td_target(self, batch: Transitions, *, noisy: bool = True) -> Tensor:
        """The critics' common target, shape (M,); without noise it draws nothing."""
        ...

    def next_actions(self, batch: Transitions) -> Tensor:
        """The actions in s' that the target takes, without noise, shape (M, action_dim)."""
        ...


@runtime_checkable
class AgentConfig(Protocol):
    """An agent's hyper-parameters, a frozen dataclass; `Kind` gives it the first of these.

    Attributes:
        kind: Which agent it configures; part of a run's key.
        critic: Shape of the critics.
        discount: Discount γ, in [0, 1].
        critic_optimiser: "sgd" or "adam".
        critic_lr: Learning rate of the critics, each of which descends the mean of its squared errors.
        momentum: Heavy-ball coefficient of "sgd".
        target_rate: Share τ of the critics that is blended into their targets.
        target_interval: Critic steps from one blend to the next.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - the attributes are documented above
    @property
    def critic(self) -> MLPConfig: ...  # noqa: D102
    @property
    def discount(self) -> float: ...  # noqa: D102
    @property
    def critic_optimiser(self) -> str: ...  # noqa: D102
    @property
    def critic_lr(self) -> float: ...  # noqa: D102
    @property
    def momentum(self) -> float: ...  # noqa: D102
    @property
    def target_rate(self) -> float: ...  # noqa: D102
    @property
    def target_interval(self) -> int: ...  # noqa: D102

    def build(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Agent:
        """A fresh agent.

        Args:
            observation_dim: Number of state components.
            action_dim: Number of action components.
            seed: Draws the initial networks and the agent's noise.
            dtype: Floating dtype of the networks.
            device: Device of the networks.
        """
        ...


@dataclass(frozen=True)
class Kind:
    """Writes into a configuration which agent it is of, so that no two kinds share a run's key.

    Attributes:
        kind: The name of the class, less "Config".
    """

    kind: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Of the object's own class: a subclass that builds another agent is another kind.
        object.__setattr__(self, "kind", type(self).__name__.removesuffix("Config"))
