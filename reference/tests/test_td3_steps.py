"""TD3's steps: the actor's between value and data, the critics' against their first-order theory."""

from dataclasses import replace

import pytest
import torch

from reference.tests.agent_cases import draw_batch
from reference.tests.td3_cases import COPIED, CROSSING, SMOOTH, build, numbers, small
from seem.agents.common import blend
from seem.agents.td3 import TD3
from seem.networks import Critic
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix, twin_seem_matrix
from seem.transitions import Transitions


def test_cloning_weight_zero_leaves_the_data_out():
    """Bit for bit the gradient of the bare loss; the data's actions are not even looked at."""
    agent, batch = build(small(behaviour_cloning=0.0)), draw_batch()
    reference = build(small())
    values = reference.critics[0].q(batch.observations, reference.actor(batch.observations))
    loss = -2.5 * values.mean() / values.detach().abs().mean()
    expected = torch.autograd.grad(loss, list(reference.actor.parameters()))
    agent.update_actor(replace(batch, actions=torch.full_like(batch.actions, 1e200)))  # their squares overflow
    assert all(torch.equal(p.grad, g) for p, g in zip(agent.actor.parameters(), expected, strict=True))
    assert all(parameter.grad is None for parameter in agent.critics.parameters())


def test_a_huge_cloning_weight_turns_the_actors_gradient_to_the_data():
    batch = draw_batch()
    reference = build(small())
    distance = (reference.actor(batch.observations) - batch.actions).square().mean()
    towards = torch.cat([g.flatten() for g in torch.autograd.grad(distance, list(reference.actor.parameters()))])

    def gradient(weight):
        agent = build(small(behaviour_cloning=weight))
        agent.update_actor(batch)
        return torch.cat([parameter.grad.flatten() for parameter in agent.actor.parameters()])

    def angle(weight):
        return 1 - torch.cosine_similarity(gradient(weight), towards, dim=0)

    # The gradient is a sum, of which the value's share is fixed and of size 1 to 10; rounding 1e-16 of 1e6 is 1e-10.
    torch.testing.assert_close(gradient(1e6) - gradient(0.0), 1e6 * towards, rtol=0, atol=1e-9)
    assert angle(1e6) < 1e-9 < 1e-3 < angle(0.0)


def test_cloning_brings_the_actor_to_the_data():
    agent, batch = build(small(behaviour_cloning=1e6, actor_lr=1e-2)), draw_batch(rows=4)
    start = (agent.actor(batch.observations) - batch.actions).square().mean()
    for _ in range(150):
        agent.update_actor(batch)
    assert (agent.actor(batch.observations) - batch.actions).square().mean() < 0.05 * start


def per_sample_gradients(critic: Critic, batch: Transitions) -> torch.Tensor:
    """Φ, one backward pass per row."""
    x = torch.cat((batch.observations, batch.actions), 1)
    rows = [torch.autograd.grad(critic(row[None]).sum(), list(critic.parameters())) for row in x]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_every_critic_steps_by_twice_the_rate_over_the_rows(rows):
    """θ' = θ - (2·lr/M)·Φᵀu: torch's mean-squared loss gives η = 2·lr/M, for both twins."""
    agent, batch = build(COPIED), draw_batch(rows)
    errors = agent.values(batch).detach() - agent.td_target(batch)
    steps = [2 * 0.01 / rows * per_sample_gradients(c, batch).T @ u for c, u in zip(agent.critics, errors, strict=True)]
    expected = [numbers(critic) - step for critic, step in zip(agent.critics, steps, strict=True)]
    agent.update(batch)
    for critic, parameters, step in zip(agent.critics, expected, steps, strict=True):
        assert step.norm() > 1e-3
        # 1e-14: a sum over nine rows of float64 products of size 1.
        torch.testing.assert_close(numbers(critic), parameters, rtol=0, atol=1e-14)


def pair(agent: TD3, batch: Transitions) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.cat((batch.observations, batch.actions), 1),
        torch.cat((batch.next_observations, agent.next_actions(batch)), 1),
    )


def remainder(lr: float, identical: bool) -> float:
    """‖u' - (I + ηA)u‖ after one step, for identical twins (one critic) or different ones (the 2M × 2M matrix)."""
    agent, batch = build(replace(COPIED, critic_lr=lr), CROSSING), draw_batch()
    if identical:
        agent.critics[1].load_state_dict(agent.critics[0].state_dict())
        blend(agent.target_critics, agent.critics, 1.0)
    x, x_next = pair(agent, batch)
    grams, grams_next = zip(*(gram_blocks(critic, x, x_next) for critic in agent.critics), strict=True)
    if identical:
        matrix, rows = seem_matrix(grams[0], grams_next[0], 0.99, batch.terminals), 1
    else:
        first, second = (critic.q(*x_next.split((3, 2), 1)) for critic in agent.critics)
        smaller = (first <= second).double()
        assert set(smaller[batch.terminals == 0].tolist()) == {0.0, 1.0}
        matrix, rows = twin_seem_matrix(grams, grams_next, 0.99, batch.terminals, smaller), 2

    def error():
        return (agent.values(batch).detach() - agent.td_target(batch))[:rows].flatten()

    before = error()
    predicted = before + 2 * lr / len(batch) * (matrix @ before)
    agent.update(batch)
    assert torch.equal(numbers(agent.critics[0]), numbers(agent.critics[1])) == identical
    return (error() - predicted).norm().item()


@pytest.mark.parametrize("identical", [True, False], ids=["one critic", "twins"])
def test_the_td_iteration_is_exact_to_first_order(identical):
    """Halving η quarters what (I + ηA)u leaves over: the matrix is the derivative, not merely close to it."""
    coarse, fine = remainder(2e-3, identical), remainder(1e-3, identical)
    # Third-order terms are of relative size lr·‖A‖ ≈ 1e-3 times a constant.
    assert coarse / fine == pytest.approx(4, rel=0.03)
    assert fine > 1e-9  # far above rounding, so the ratio means something


def test_held_norms_stay_and_directions_move():
    agent = build(replace(COPIED, hold_norms=True, critic_lr=0.1))
    before = [weight.detach().clone() for weight in agent.critic_weights()]
    assert len(before) == 2 * SMOOTH.depth
    for _ in range(5):
        agent.update(draw_batch())
    for old, new in zip(before, agent.critic_weights(), strict=True):
        assert new.norm().item() == pytest.approx(old.norm().item(), rel=1e-14)
        assert (new - old).norm() > 1e-3 * old.norm()
