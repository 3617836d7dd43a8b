"""TD3: every update is that of the papers, target noise stays in its bounds, and the actor's loss has its symmetries.

The update needs no hypothesis: any small network, optimiser, interval, target rate, noise and cloning weight.
"""

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.following import assert_follows
from properties.slow_agents import SlowTD3
from properties.strategies.agents import AgentCase, agent_cases, gradients, shapes, td3_configs
from properties.strategies.batches import Batch
from properties.strategies.networks import powers_of_two
from seem.agents.td3 import TD3Config
from seem.networks import MLPConfig

ONE_ROW = Batch(observation_dim=1, action_dim=1, terminals=(False,), saturated=(False,), repeats=(0,), seed=0)


@pytest.mark.claim("AGENT-TD3")
@given(case=agent_cases(td3_configs(), updates=(1, 3), rows=(1, 3)))
def test_updates_are_those_of_the_papers(case):
    assert_follows(SlowTD3, case)


def actions_seen(agent, batch, *, noisy: bool = True) -> torch.Tensor:
    """The successors' actions that the target critics are asked about, (M, action_dim)."""
    seen = []
    hook = agent.target_critics[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    agent.td_target(batch, noisy=noisy)
    hook.remove()
    return seen[0][:, batch.observation_dim :]


@given(case=agent_cases(td3_configs(target_noise=st.floats(0.0, 16.0))))
def test_target_noise_stays_within_its_clip_and_the_box(case):
    (batch,), agent = case.draw(), case.build()
    bare, noisy = actions_seen(agent, batch, noisy=False), actions_seen(agent, batch)
    assert torch.equal(bare, agent.next_actions(batch))
    assert noisy.abs().max() <= 1
    # One rounding of the sum, of a number of at most 2.
    assert (noisy - bare).abs().max() <= case.config.noise_clip + 2.0**-52
    event("some action is at the box" if (noisy.abs() == 1).any() else "no action is at the box")


def actor_gradient(case, scale: float = 1.0, other_twin: float = 0.0) -> torch.Tensor:
    """Gradient of the actor's loss with the first critic's values scaled, and the second's shifted."""
    agent, (batch,) = case.build(), case.draw()
    with torch.no_grad():
        for parameter in agent.critics[0].linears[-1].parameters():
            parameter *= scale
        for parameter in agent.critics[1].parameters():
            parameter += other_twin
    agent.update_actor(batch)
    return gradients(agent.actor)


@given(case=agent_cases(td3_configs(critic=shapes(bias=True, activation="tanh"))), scale=powers_of_two())
def test_the_actors_step_does_not_depend_on_the_scale_of_the_value(case, scale):
    """Hypothesis: the mean |Q| stays above `SMALLEST_Q`, as any biased critic's does; then powers of two are exact."""
    assert torch.equal(actor_gradient(case, scale), actor_gradient(case))


@given(case=agent_cases(td3_configs()), shift=st.floats(-10.0, 10.0))
def test_the_actor_follows_the_first_critic_only(case, shift):
    assert torch.equal(actor_gradient(case, other_twin=shift), actor_gradient(case))


def test_below_the_smallest_value_the_actors_step_does_depend_on_the_scale():
    case = AgentCase(TD3Config(critic=MLPConfig(depth=1), actor=MLPConfig(depth=1)), seed=0, batches=(ONE_ROW,))
    tiny = 2.0**-40  # times a value of size one it is below SMALLEST_Q = 1e-8
    assert 0 < actor_gradient(case, tiny).norm() < 1e-3 * actor_gradient(case).norm()
