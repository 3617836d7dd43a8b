"""Strategies for agents: small networks, every setting that enters an update rule, and the batches of the updates."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from properties.strategies.batches import Batch, batches
from properties.strategies.scales import discounts
from seem.agents import Agent, AgentConfig
from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config
from seem.networks import MLPConfig
from seem.transitions import Transitions

SEEDS = st.integers(0, 2**32 - 2)
"""Seeds of agents: torch takes 32 bits, and an agent's noise has the seed after its own."""


@dataclass(frozen=True)
class AgentCase:
    """An agent and the batches of its first updates; its repr is the recipe.

    Attributes:
        config: Hyper-parameters.
        seed: Of the networks and the noise.
        batches: One an update, all of the same dimensions.
    """

    config: AgentConfig
    seed: int
    batches: tuple[Batch, ...]

    def build(self, **changes: Any) -> Agent:
        """A new agent, float64, of this configuration up to ``changes`` of its settings."""
        config, first = replace(self.config, **changes), self.batches[0]
        return config.build(first.observation_dim, first.action_dim, seed=self.seed, dtype=torch.float64)

    def draw(self) -> list[Transitions]:
        """The batches."""
        return [batch.draw() for batch in self.batches]


def numbers(*modules: nn.Module) -> Tensor:
    """A copy of all parameters of several modules, one vector."""
    return torch.cat([parameter.detach().flatten() for module in modules for parameter in module.parameters()])


def gradients(module: nn.Module) -> Tensor:
    """The gradients that the last step left in a module's parameters, one vector."""
    return torch.cat([parameter.grad.flatten().clone() for parameter in module.parameters()])


def networks(agent: Agent) -> Tensor:
    """A copy of all numbers that an agent learns or follows, one vector."""
    return numbers(*(part for part in vars(agent).values() if isinstance(part, nn.Module)))


def followed(agent: Agent) -> list[tuple[nn.Module, nn.Module]]:
    """Pairs of a target network and what it follows."""
    targets = {name: part for name, part in vars(agent).items() if name.startswith("target_")}
    pairs = {name: (part, getattr(agent, name.removeprefix("target_"), None)) for name, part in targets.items()}
    return [pair for pair in pairs.values() if all(isinstance(part, nn.Module) for part in pair)]


def shapes(**fixed: Any) -> st.SearchStrategy[MLPConfig]:
    """Shapes of small networks, of one to three weight matrices; ``fixed`` are settings that are not drawn."""
    drawn = {
        "depth": st.integers(1, 3),
        "width": st.integers(1, 4),
        "activation": st.sampled_from(("relu", "tanh")),
        "bias": st.booleans(),
        "normalisation": st.sampled_from(("none", "layer")),
        "affine": st.booleans(),
        # LayerNorm enlarges rounding by up to ε^(-1/2), so that bounds derived for networks of size one need ε ~ 1.
        "epsilon": st.sampled_from((1.0, 2.0**-6)),
    }
    return st.builds(MLPConfig, **{name: st.just(fixed[name]) if name in fixed else drawn[name] for name in drawn})


OPTIMISERS = {
    "sgd": {"critic_lr": st.floats(2.0**-10, 2.0**-3), "momentum": st.just(0.0) | st.floats(0.0, 0.95)},
    "adam": {"critic_lr": st.floats(2.0**-13, 2.0**-4), "momentum": st.just(0.0)},
}
COMMON = {
    "critic": shapes(),
    "actor": shapes(),
    "discount": discounts(),
    "actor_lr": st.floats(2.0**-13, 2.0**-4),
    "actor_interval": st.integers(1, 3),
    "target_rate": st.sampled_from((0.005, 0.5, 1.0, 0.0)) | st.floats(0.0, 1.0),
    "target_interval": st.integers(1, 3),
    "behaviour_cloning": st.just(0.0) | st.floats(2.0**-6, 8.0),
}


def _settings(draw: st.DrawFn, own: dict[str, st.SearchStrategy], wanted: dict[str, Any]) -> dict[str, Any]:
    name = wanted.get("critic_optimiser") or draw(st.sampled_from(tuple(OPTIMISERS)), label="critic_optimiser")
    drawn = COMMON | own | OPTIMISERS[name] | {"critic_optimiser": st.just(name)} | wanted
    return draw(
        st.fixed_dictionaries(
            {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in drawn.items()}
        ),
        label="settings",
    )


@st.composite
def td3_configs(draw: st.DrawFn, **wanted: Any) -> TD3Config:
    """Configurations of TD3; ``wanted`` are settings, or strategies of them, in place of the usual ones."""
    own = {"target_noise": st.sampled_from((0.0, 0.2)) | st.floats(0.0, 2.0), "noise_clip": st.floats(0.0, 1.0)}
    return TD3Config(**_settings(draw, own, wanted))


@st.composite
def sac_configs(draw: st.DrawFn, **wanted: Any) -> SACConfig:
    """Configurations of SAC; ``wanted`` as in `td3_configs`."""
    own = {
        "temperature": st.just(1.0) | st.floats(2.0**-6, 4.0),
        "tune_temperature": st.booleans(),
        "temperature_lr": st.floats(2.0**-13, 2.0**-4),
        "target_entropy": st.none() | st.floats(-4.0, 4.0),
    }
    settings = _settings(draw, own, wanted)
    if not settings["tune_temperature"] and "temperature" not in wanted and draw(st.booleans(), label="no entropy"):
        settings["temperature"] = 0.0  # cannot be tuned
    return SACConfig(**settings)


def any_config(**wanted: Any) -> st.SearchStrategy[AgentConfig]:
    """Configurations of either agent; ``wanted`` as in `td3_configs`, settings that both have."""
    return td3_configs(**wanted) | sac_configs(**wanted)


@st.composite
def agent_cases(
    draw: st.DrawFn,
    configs: st.SearchStrategy[AgentConfig],
    *,
    updates: tuple[int, int] = (1, 1),
    rows: tuple[int, int] = (1, 4),
    action_dim: int | None = None,
) -> AgentCase:
    """Agents with batches.

    Args:
        draw: Given by Hypothesis.
        configs: Configurations, from `td3_configs`, `sac_configs` or `any_config`.
        updates: Smallest and largest number of batches.
        rows: Smallest and largest number of rows of a batch.
        action_dim: Number of action components; None draws 1 or 2.
    """
    sizes = {
        "observation_dim": draw(st.integers(1, 3), label="observation_dim"),
        "action_dim": action_dim or draw(st.integers(1, 2), label="action_dim"),
    }
    count = draw(st.integers(*updates), label="updates")
    return AgentCase(
        config=draw(configs, label="config"),
        seed=draw(SEEDS, label="seed"),
        batches=tuple(draw(batches(rows=rows, **sizes), label="batch") for _ in range(count)),
    )
