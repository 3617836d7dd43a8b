"""What SAC's critics are taught and what its policy follows: entropy, temperature, cloning, densities."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from reference.tests.agent_cases import draw_batch
from reference.tests.sac_cases import SMALL, all_equal, build, parameters
from seem.networks import GaussianActor, MLPConfig


def test_terminal_rows_have_their_reward_as_target():
    batch = draw_batch()
    target = build().td_target(batch)
    terminal = batch.terminals == 1
    assert torch.equal(target[terminal], batch.rewards[terminal])
    assert not (target == batch.rewards)[~terminal].any()
    assert torch.equal(build(replace(SMALL, discount=0.0)).td_target(batch), batch.rewards)


@pytest.mark.parametrize("lower", [0, 1])
def test_target_takes_the_lower_twin_less_the_entropy_term(lower):
    agent, batch = build(replace(SMALL, discount=0.5, temperature=0.25)), draw_batch()
    with torch.no_grad():
        agent.target_critics[lower].linears[-1].bias.sub_(100)
    noise = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions, log_densities = agent.actor.sample(batch.next_observations, noise)
    lowest = agent.target_critics[lower].q(batch.next_observations, actions)
    expected = batch.rewards + 0.5 * (1 - batch.terminals) * (lowest - 0.25 * log_densities)
    assert torch.equal(agent.td_target(batch), expected)  # 0.25 and 0.5 are exact


def test_temperature_zero_drops_the_entropy():
    agent, batch = build(replace(SMALL, temperature=0.0, tune_temperature=False)), draw_batch()
    noise = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions, _ = agent.actor.sample(batch.next_observations, noise)
    lowest = torch.minimum(*(critic.q(batch.next_observations, actions) for critic in agent.target_critics))
    assert torch.equal(agent.td_target(batch), batch.rewards + 0.99 * (1 - batch.terminals) * lowest)
    agent.update(batch)
    assert agent.temperature() == 0
    assert all(parameter.isfinite().all() for parameter in agent.actor.parameters())


def test_temperature_rises_while_the_entropy_is_below_its_target_and_falls_above_it():
    risen = build(replace(SMALL, target_entropy=100.0))
    fallen = build(replace(SMALL, target_entropy=-100.0))
    fixed = build(replace(SMALL, target_entropy=100.0, temperature=0.5, tune_temperature=False))
    for agent in (risen, fallen, fixed):
        agent.update(draw_batch())
    assert risen.temperature() > 1 > fallen.temperature()
    assert fixed.temperature() == 0.5
    assert build().target_entropy == -2


def test_behaviour_cloning_of_weight_zero_is_bitwise_absent():
    batch = draw_batch(rows=32)
    # A weight of 1e-300 runs the term and is lost in every gradient's rounding.
    agents = [build(), build(replace(SMALL, behaviour_cloning=0.0)), build(replace(SMALL, behaviour_cloning=1e-300))]
    for agent in agents:
        for _ in range(3):
            agent.update(batch)
    assert all_equal(parameters(agents[0]), parameters(agents[1]))
    assert all_equal(parameters(agents[0]), parameters(agents[2]))


def test_behaviour_cloning_pulls_the_most_likely_action_to_the_data():
    batch = draw_batch(rows=32)
    distances = []
    for weight in (0.0, 1000.0):
        agent = build(replace(SMALL, behaviour_cloning=weight, actor_lr=0.01))
        for _ in range(20):
            agent.update(batch)
        distances.append((agent.actor(batch.observations) - batch.actions).square().mean())
    assert distances[1] < distances[0]


def test_next_actions_are_noiseless_and_draw_nothing():
    agent, batch = build(), draw_batch()
    state = agent.noise.get_state()
    mean, _ = agent.actor.moments(batch.next_observations)
    actions = agent.next_actions(batch)
    assert torch.equal(actions, mean.tanh())
    assert not actions.requires_grad
    assert torch.equal(agent.noise.get_state(), state)


def test_noiseless_target_is_that_of_the_most_likely_action_and_draws_nothing():
    agent, batch = build(replace(SMALL, discount=0.5, temperature=0.25)), draw_batch()
    state = agent.noise.get_state()
    actions, log_densities = agent.actor.sample(batch.next_observations, torch.zeros(9, 2, dtype=torch.float64))
    assert torch.equal(actions, agent.next_actions(batch))
    lowest = torch.minimum(*(critic.q(batch.next_observations, actions) for critic in agent.target_critics))
    expected = batch.rewards + 0.5 * (1 - batch.terminals) * (lowest - 0.25 * log_densities)
    assert torch.equal(agent.td_target(batch, noisy=False), expected)  # 0.25 and 0.5 are exact
    assert torch.equal(agent.noise.get_state(), state)


def test_log_density_is_that_of_the_squashed_gaussian():
    generator = torch.Generator().manual_seed(0)
    actor = GaussianActor(3, 2, MLPConfig(width=8), generator=generator, dtype=torch.float64)
    observations = torch.randn(200, 3, generator=generator, dtype=torch.float64) * 3
    noise = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    actions, log_densities = actor.sample(observations, noise)
    mean, log_std = actor.moments(observations)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
    # atanh loses up to 1 / (1 - a^2) ulp; the actions here stay below 0.9999
    torch.testing.assert_close(log_densities, Independent(squashed, 1).log_prob(actions), rtol=1e-9, atol=1e-9)


def test_log_density_stays_finite_where_the_action_saturates():
    actor = GaussianActor(1, 1, MLPConfig(depth=1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        actor.linears[0].weight.zero_()
        actor.linears[0].bias.copy_(torch.tensor([50.0, 0.0]))
    action, log_density = actor.sample(torch.zeros(1, 1), torch.zeros(1, 1))
    assert action == 1
    # log N(0) + 2 (50 - log 2): the density of the squashed variable where 1 - tanh^2 underflows float32
    assert log_density.item() == pytest.approx(-0.5 * math.log(2 * math.pi) + 100 - 2 * math.log(2), rel=1e-6)


def test_a_terminal_row_teaches_the_critics_its_reward():
    critic = MLPConfig(width=32, normalisation="layer")
    config = replace(SMALL, critic=critic, critic_lr=0.01, actor_interval=1000)
    agent, batch = build(config), draw_batch(rows=12)
    batch = replace(batch, terminals=torch.ones(12, dtype=torch.float64))
    for _ in range(150):
        values, _ = agent.update(batch)
    # twelve rows fitted by 32 units; a hundredth of the rewards' deviation of 1
    torch.testing.assert_close(values, batch.rewards.expand(2, 12), rtol=0, atol=0.01)
