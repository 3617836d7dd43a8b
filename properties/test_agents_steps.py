"""One step of the critics and of the actor: its size, its symmetry in the rows, and the cloning term's two limits.

Hypotheses of the symmetries: no noise in what is learnt, since noise is drawn row by row. The critics of SAC have
noise in their targets unless the discount is 0; its actor always has noise.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.margins import target_share
from properties.strategies.agents import (
    AgentCase,
    agent_cases,
    any_config,
    gradients,
    numbers,
    sac_configs,
    shapes,
    td3_configs,
)
from properties.strategies.batches import Batch
from seem.agents.sac import SACConfig
from seem.agents.td3 import SMALLEST_Q, TD3Config
from seem.networks import MLPConfig
from seem.ntk import gram_blocks

quiet_critics = td3_configs(target_noise=0.0) | sac_configs(discount=0.0)
linear = shapes(depth=1)


def linear_move(case: AgentCase, errors: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """How far one step moves the values of linear critics, (2, M)."""
    return -2 * case.config.critic_lr / len(gram) * errors @ gram


@given(case=agent_cases(any_config(critic=linear, critic_optimiser="sgd", momentum=0.0)))
def test_a_linear_critic_steps_by_twice_the_rate_over_the_rows(case):
    """The values are linear in θ, so f(X) moves by exactly -η G(X, X) u with η = 2·lr/M, for either twin."""
    (batch,), agent = case.draw(), case.build()
    values, td_target = agent.update(batch)
    x = torch.cat((batch.observations, batch.actions), dim=1)
    gram = x @ x.T + float(case.config.critic.bias)
    moved = agent.values(batch).detach() - values
    expected = linear_move(case, values - td_target, gram)
    # 1e-13: about a hundred roundings of numbers up to the values, their errors and the kernel's largest entry.
    slack = 1e-13 * float((1 + values.abs().max() + td_target.abs().max()) * (1 + gram.abs().max()))
    target_share(float((moved - expected).abs().max()) / slack, "difference / rounding")
    assert (moved - expected).abs().max() <= slack


def critic_gradients(case: AgentCase, order: list[int]) -> tuple[torch.Tensor, float]:
    """Gradients of the critics' loss on the rows in this order, and the size of their terms."""
    agent, batch = case.build(), case.draw()[0].select(torch.tensor(order))
    values, td_target = agent.update(batch)
    size = 1 + values.abs().max() + td_target.abs().max() + batch.observations.abs().max()
    return gradients(agent.critics), float(size**2)


@given(case=agent_cases(quiet_critics), data=st.data(), times=st.integers(1, 3))
def test_the_critics_step_depends_on_the_shares_of_the_rows_only(case, data, times):
    """Neither their order nor their number enters: the loss is a mean."""
    rows = list(range(case.batches[0].rows))
    order = data.draw(st.permutations(rows * times), label="order")
    (before, size), (after, _) = critic_gradients(case, rows), critic_gradients(case, order)
    # 1e-12: a few thousand roundings of 1e-16, among them LayerNorm's, which enlarges them by up to 8 a layer.
    assert (after - before).abs().max() <= 1e-12 * size * (1 + before.abs().max())


@given(case=agent_cases(td3_configs()), data=st.data(), times=st.integers(1, 3))
def test_the_actors_step_of_td3_depends_on_the_shares_of_the_rows_only(case, data, times):
    (batch,) = case.draw()
    order = data.draw(st.permutations(list(range(len(batch))) * times), label="order")
    agent, other = case.build(), case.build()
    with torch.no_grad():
        values = agent.critics[0].q(batch.observations, agent.actor(batch.observations))
    agent.update_actor(batch)
    other.update_actor(batch.select(torch.tensor(order)))
    weight = 1 / max(float(values.abs().mean()), SMALLEST_Q)
    # 1e-12 as above; the normalised value's gradient grows by 1/mean|Q|, and so does the rounding of that mean.
    size = (1 + weight) ** 2 * float(1 + batch.observations.abs().max()) ** 2 * (1 + case.config.behaviour_cloning)
    assert (gradients(other.actor) - gradients(agent.actor)).abs().max() <= 1e-12 * size


def actor_gradient(case: AgentCase, weight: float, actions: torch.Tensor | None = None) -> torch.Tensor:
    """Gradient of the actor's loss with this cloning weight, on the first batch or on other actions of the data."""
    agent, (batch,) = case.build(behaviour_cloning=weight), case.draw()
    agent.update_actor(batch if actions is None else replace(batch, actions=actions))
    return gradients(agent.actor)


@given(case=agent_cases(any_config()), other=st.floats(-1.0, 1.0))
def test_without_cloning_the_actor_does_not_see_the_datas_actions(case, other):
    (batch,) = case.draw()
    elsewhere = torch.full_like(batch.actions, other)
    assert torch.equal(actor_gradient(case, 0.0), actor_gradient(case, 0.0, elsewhere))


@given(case=agent_cases(any_config()), weight=st.floats(2.0**-6, 2.0**20))
def test_cloning_adds_its_weight_times_the_gradient_of_the_distance_to_the_data(case, weight):
    """So that a large weight turns the step towards the data's actions, by whatever the value wants."""
    (batch,), agent = case.draw(), case.build()
    distance = (agent.actor(batch.observations) - batch.actions).square().mean()
    # An actor that has no gradient in a parameter (SAC's standard deviation) leaves zeros there.
    parts = torch.autograd.grad(distance, list(agent.actor.parameters()), materialize_grads=True)
    towards = torch.cat([part.flatten() for part in parts])
    bare, cloned = actor_gradient(case, 0.0), actor_gradient(case, weight)
    # 1e-12 of the terms' sizes: roundings of the sum and of the two backward passes.
    slack = 1e-12 * (1 + bare.abs().max() + weight * (1 + towards.abs().max()))
    assert (cloned - bare - weight * towards).abs().max() <= slack
    if weight * towards.norm() > 2 * (bare.norm() + len(bare) * slack):
        # The angle of b + w·t to t has a sine of at most |b|/(w|t|) < 1/2, so the cosine is above √3/2.
        assert torch.cosine_similarity(cloned, towards, dim=0) > 0.86


def test_a_critic_of_two_layers_does_not_move_by_its_kernel_alone():
    """The hypothesis of linearity, dropped: what is left is of second order in the step."""
    shape = MLPConfig(depth=2, width=1, activation="identity", bias=False)
    config = TD3Config(critic=shape, actor=LINEAR, critic_optimiser="sgd", critic_lr=0.5)
    case = AgentCase(config, seed=0, batches=(ROWS,))
    (batch,), agent = case.draw(), case.build()
    x = torch.cat((batch.observations, batch.actions), dim=1)
    gram, _ = gram_blocks(agent.critics[0], x, x)
    values, td_target = agent.update(batch)
    moved = agent.values(batch).detach() - values
    assert (moved - linear_move(case, values - td_target, gram))[0].abs().max() > 0.01


ROWS = Batch(1, 1, terminals=(False, False), saturated=(False, False), repeats=(0, 0), seed=0)
LINEAR = MLPConfig(depth=1)
NOISY = {
    "TD3, noise on target actions": AgentCase(TD3Config(critic=LINEAR, actor=LINEAR), seed=0, batches=(ROWS,)),
    "SAC, noise in the target": AgentCase(SACConfig(critic=LINEAR, actor=LINEAR), seed=0, batches=(ROWS,)),
}


@pytest.mark.parametrize("dropped", NOISY)
def test_with_noise_the_order_of_the_rows_matters(dropped):
    (before, _), (after, _) = (critic_gradients(NOISY[dropped], order) for order in ([0, 1], [1, 0]))
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("agent", NOISY)
def test_with_cloning_the_actor_does_see_the_datas_actions(agent):
    (batch,) = NOISY[agent].draw()
    seen, elsewhere = (actor_gradient(NOISY[agent], 1.0, actions) for actions in (batch.actions, -batch.actions))
    assert (seen - elsewhere).abs().max() > 1e-3
    assert numbers(NOISY[agent].build().actor).numel() == seen.numel()
