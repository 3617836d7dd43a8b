"""Agents are what their recipes say, every kind of them is drawn, and the slow networks differentiate correctly."""

import numpy as np
import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st

from properties.meta.search import SEARCH
from properties.slow_networks import SlowNetwork, SlowOptimiser, misfit
from properties.strategies.agents import (
    AgentCase,
    agent_cases,
    any_config,
    followed,
    networks,
    numbers,
    sac_configs,
    td3_configs,
)
from properties.strategies.batches import Batch
from seem.agents.sac import SAC, SACConfig
from seem.agents.td3 import TD3, TD3Config
from seem.networks import MLPConfig

RECIPES = {kind.__name__: kind for kind in (AgentCase, Batch, MLPConfig, SACConfig, TD3Config)}


@given(case=agent_cases(any_config(), updates=(1, 3), rows=(2, 3)))
def test_the_recipe_says_what_is_built(case):
    agent, batches = case.build(), case.draw()
    assert isinstance(agent, TD3 if isinstance(case.config, TD3Config) else SAC)
    assert agent.config == case.config
    assert 1 <= len(batches) <= 3
    for batch in batches:
        assert 2 <= len(batch) <= 3
        assert agent.values(batch).shape == (2, len(batch))
        assert agent.next_actions(batch).shape == batch.actions.shape
    assert networks(agent).dtype == torch.float64


@given(case=agent_cases(any_config()))
def test_a_recipe_builds_the_same_twice_and_survives_its_repr(case):
    again = eval(repr(case), RECIPES)  # noqa: S307 - the repr is what a failure prints
    assert again == case
    assert torch.equal(networks(again.build()), networks(case.build()))


@given(case=agent_cases(any_config(target_interval=2, discount=st.floats(0.25, 0.5))))
def test_wanted_settings_are_kept_or_drawn_from(case):
    assert case.config.target_interval == 2
    assert 0.25 <= case.config.discount <= 0.5
    assert case.build(discount=0.75).config.discount == 0.75


@given(case=agent_cases(any_config(), action_dim=2))
def test_every_number_that_moves_is_compared(case):
    """All parameters of an agent are in `networks`, and every target network is `followed`."""
    agent = case.build()
    assert agent.actor.linears[-1].out_features == (2 if isinstance(agent, TD3) else 4)
    parts = [numbers(target).numel() + numbers(source).numel() for target, source in followed(agent)]
    rest = [agent.actor, agent.temperature] if isinstance(agent, SAC) else []
    assert sum(parts) + sum(numbers(module).numel() for module in rest) == networks(agent).numel()


@given(case=agent_cases(any_config()), seed=st.integers(0, 2**32 - 1))
def test_slow_gradients_are_autograds(case, seed):
    critic, (batch,) = case.build().critics[0], case.draw()
    x = torch.cat((batch.observations, batch.actions), dim=1)[:1].requires_grad_()
    upstream = torch.randn(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value = critic(x)[0]
    *expected, by_input = torch.autograd.grad(value @ upstream, [*critic.parameters(), x])
    slow = SlowNetwork(critic)
    found, found_by_input = slow.gradients(x[0].detach().numpy(), upstream.numpy())
    assert np.allclose(slow(x[0].detach().numpy()), value.detach().numpy(), rtol=1e-13, atol=1e-13)
    # 1e-12: roundings of two layers in another order, enlarged by LayerNorm's 1/√ε = 8 in each.
    for (name, _), gradient in zip(critic.named_parameters(), expected, strict=True):
        assert np.allclose(found[name], gradient.numpy(), rtol=1e-12, atol=1e-12), name
    assert np.allclose(found_by_input, by_input[0].numpy(), rtol=1e-12, atol=1e-12)


STEPS = {"sgd": (0.5, 0.0), "heavy ball": (0.5, 0.5), "adam": (0.5, 0.0)}


@pytest.mark.parametrize("name", STEPS)
def test_slow_steps_by_hand(name):
    """Two steps along gradients 1 and 3 from 0, worked out with pencil and paper."""
    lr, momentum = STEPS[name]
    parameters = {"x": np.zeros(1)}
    optimiser = SlowOptimiser(parameters, "adam" if name == "adam" else "sgd", lr, momentum)
    for gradient in (1.0, 3.0):
        optimiser.step(parameters, {"x": np.array([gradient])}, 0.0)
    first = 1.0  # m̂ = 1 and v̂ = 1
    second = ((0.09 + 0.3) / 0.19) / np.sqrt((0.000999 + 0.009) / 0.001999)
    expected = {"sgd": 0.5 * 4, "heavy ball": 0.5 * (1 + 3.5), "adam": 0.5 * (first + second)}[name]
    assert abs(parameters["x"].item() + expected) < 1e-7  # Adam's ε of 1e-8 beside a root of size one


def test_a_misfit_tells_rounding_from_a_mistake():
    module = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    value = module.weight.detach().numpy().copy()
    assert misfit(module, {"weight": value}) == 0
    assert 0 < misfit(module, {"weight": np.nextafter(value, 2)}) <= 1
    assert misfit(module, {"weight": value + 1e-12}) > 1
    assert misfit(module, {"weight": value + 1e-12}, {"weight": np.full((1, 1), 1e-11)}) <= 1


KINDS = {
    "TD3": (td3_configs, lambda c: isinstance(c, TD3Config)),
    "SAC": (sac_configs, lambda c: isinstance(c, SACConfig)),
    "momentum": (any_config, lambda c: c.momentum > 0),
    "Adam": (any_config, lambda c: c.critic_optimiser == "adam"),
    "copied targets": (any_config, lambda c: c.target_rate == 1),
    "frozen targets": (any_config, lambda c: c.target_rate == 0),
    "blended targets": (any_config, lambda c: 0 < c.target_rate < 1),
    "no discount": (any_config, lambda c: c.discount == 0),
    "cloning": (any_config, lambda c: c.behaviour_cloning > 0),
    "intervals of three and two": (any_config, lambda c: (c.actor_interval, c.target_interval) == (3, 2)),
    "no target noise": (td3_configs, lambda c: c.target_noise == 0),
    "noise beyond its clip": (td3_configs, lambda c: c.target_noise > c.noise_clip > 0),
    "no entropy": (sac_configs, lambda c: c.temperature == 0),
    "a fixed temperature": (sac_configs, lambda c: c.temperature > 0 and not c.tune_temperature),
    "an entropy to aim at": (sac_configs, lambda c: c.tune_temperature and c.target_entropy is not None),
    "a LayerNorm critic of three layers": (
        any_config,
        lambda c: c.critic.depth == 3 and c.critic.normalisation == "layer",
    ),
    "a linear actor": (any_config, lambda c: c.actor.depth == 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_configuration_is_found(kind):
    strategy, wanted = KINDS[kind]
    assert wanted(find(strategy(), wanted, settings=SEARCH))
