"""Temporal-difference targets of TD3 and SAC: terminals, minimum over the twins, discount, noise.

Hypotheses: finite values. Two agents of one seed draw the same noise, so that their targets compare bit for bit.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.strategies.agents import AgentCase, agent_cases, any_config, networks, sac_configs, shapes, td3_configs
from properties.strategies.batches import Batch
from seem.agents.common import critic_values
from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config
from seem.networks import MLPConfig

SHIFTS = st.floats(-1e6, 1e6)
FAR = 1e4
"""More than two small critics can differ by on states of size one."""
biased = shapes(bias=True)


def shifted_target(case: AgentCase, first: float, second: float) -> torch.Tensor:
    """The first batch's targets when the target critics' values are raised by these amounts."""
    agent = case.build()
    with torch.no_grad():
        for critic, shift in zip(agent.target_critics, (first, second), strict=True):
            critic.linears[-1].bias += shift
    return agent.td_target(case.draw()[0])


@pytest.mark.claim("TD-TERMINALS")
@given(case=agent_cases(any_config()), shift=SHIFTS)
def test_a_terminal_row_does_not_depend_on_its_successor(case, shift):
    (batch,) = case.draw()
    moved = batch.next_observations + shift * batch.terminals[:, None]
    agent, other = case.build(), case.build()
    _, target = agent.update(batch)
    _, other_target = other.update(replace(batch, next_observations=moved))
    assert torch.equal(target, other_target)
    assert torch.equal(networks(agent), networks(other))
    ended = batch.terminals == 1
    event(f"terminal rows: {int(ended.sum())}")
    assert torch.equal(target[ended], batch.rewards[ended])


@given(case=agent_cases(any_config(critic=biased)), shift=SHIFTS)
def test_raising_both_twins_raises_the_target_by_the_discount_where_the_episode_goes_on(case, shift):
    (batch,) = case.draw()
    before, after = shifted_target(case, 0.0, 0.0), shifted_target(case, shift, shift)
    expected = before + case.config.discount * (1 - batch.terminals) * shift
    # Six roundings of numbers up to the shift and the targets.
    torch.testing.assert_close(after, expected, rtol=0, atol=6 * 2.0**-52 * float(abs(shift) + before.abs().max() + 10))


@pytest.mark.claim("AGENT-TD3")
@given(case=agent_cases(any_config(critic=biased, discount=st.floats(0.5, 1.0)), rows=(2, 4)))
def test_the_target_is_of_the_smaller_twin_in_every_row(case):
    (batch,), agent = case.draw(), case.build()
    first, second = critic_values(agent.target_critics, batch.next_observations, agent.next_actions(batch))
    level = float((first - second).mean())  # with equal means either twin is the smaller one in some row
    both = shifted_target(case, 0.0, level)
    of_first, of_second = shifted_target(case, 0.0, level + FAR), shifted_target(case, FAR, level)
    # Rounding is monotone, so the minimum goes through sum and product exactly.
    assert torch.equal(both, torch.minimum(of_first, of_second))
    smaller = set((of_first < of_second)[of_first != of_second].tolist())
    event(("no row tells", "one twin in all rows", "either twin somewhere")[len(smaller)])


@given(case=agent_cases(any_config()))
def test_swapping_the_twins_leaves_the_target(case):
    (batch,) = case.draw()
    agent, other = case.build(), case.build()
    first, second = other.target_critics
    first_state = {name: value.clone() for name, value in first.state_dict().items()}
    first.load_state_dict(second.state_dict())
    second.load_state_dict(first_state)
    assert torch.equal(agent.td_target(batch), other.td_target(batch))


@given(case=agent_cases(any_config(discount=0.0), updates=(1, 2)), shift=SHIFTS)
def test_without_a_discount_the_target_is_the_reward_and_the_future_is_ignored(case, shift):
    agent, other = case.build(), case.build()
    for batch in case.draw():
        elsewhere = replace(batch, next_observations=batch.next_observations + shift, terminals=1 - batch.terminals)
        _, target = agent.update(batch)
        other.update(elsewhere)
        assert torch.equal(target, batch.rewards)
        assert torch.equal(networks(agent), networks(other))


@given(case=agent_cases(any_config()))
def test_a_look_without_noise_draws_nothing_and_is_of_the_next_actions(case):
    (batch,) = case.draw()
    agent = case.build(temperature=0.0, tune_temperature=False) if isinstance(case.config, SACConfig) else case.build()
    state = agent.noise.get_state()
    target = agent.td_target(batch, noisy=False)
    assert torch.equal(agent.noise.get_state(), state)
    actions = agent.next_actions(batch)
    assert torch.equal(agent.noise.get_state(), state)
    values = critic_values(agent.target_critics, batch.next_observations, actions).amin(0)
    assert torch.equal(target, batch.rewards + agent.config.discount * (1 - batch.terminals) * values)


@given(case=agent_cases(td3_configs(target_noise=0.0) | sac_configs()))
def test_targets_are_computed_row_by_row(case):
    (batch,) = case.draw()
    whole = case.build().td_target(batch, noisy=False)
    for row in range(len(batch)):
        alone = case.build().td_target(batch.select(torch.tensor([row])), noisy=False)
        # 1e-13: products of a matrix with one row or with several are summed in another order.
        torch.testing.assert_close(alone, whole[row : row + 1], rtol=1e-13, atol=1e-13)


LINEAR = MLPConfig(depth=1)
ONE_ROW = Batch(observation_dim=1, action_dim=1, terminals=(False,), saturated=(False,), repeats=(0,), seed=0)
CASES = {
    "TD3": AgentCase(TD3Config(critic=LINEAR, actor=LINEAR), seed=0, batches=(ONE_ROW,)),
    "SAC": AgentCase(SACConfig(critic=LINEAR, actor=LINEAR), seed=0, batches=(ONE_ROW,)),
}


@pytest.mark.claim("TD-TERMINALS")
@pytest.mark.parametrize("agent", CASES)
def test_a_row_that_is_no_terminal_does_depend_on_its_successor(agent):
    (batch,) = CASES[agent].draw()
    target, moved = (
        CASES[agent].build().td_target(replace(batch, next_observations=batch.next_observations + shift))
        for shift in (0.0, 1.0)
    )
    assert (target - moved).abs() > 0.01


@pytest.mark.parametrize("agent", CASES)
def test_a_noisy_look_draws(agent):
    (batch,) = CASES[agent].draw()
    built = CASES[agent].build()
    first, second = built.td_target(batch), built.td_target(batch)
    assert (first - second).abs() > 0.01
