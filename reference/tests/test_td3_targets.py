"""TD3's targets and target networks: noise, rates, intervals, terminal rows, the smaller twin."""

from dataclasses import replace

import torch

from reference.tests.agent_cases import draw_batch
from reference.tests.td3_cases import COPIED, CROSSING, build, networks, numbers, small
from seem.agents.common import blend


def test_target_noise_is_drawn_from_the_agents_own_generator():
    agent, batch = build(small(target_noise=0.2, noise_clip=0.25)), draw_batch()
    generator = torch.Generator()
    generator.set_state(agent.noise.get_state())
    noise = (torch.randn(9, 2, generator=generator, dtype=torch.float64) * 0.2).clamp(-0.25, 0.25)
    assert (noise.abs() == 0.25).any(), "some noise is clipped"
    actions = (agent.target_actor(batch.next_observations) + noise).clamp(-1, 1)
    first, second = (critic.q(batch.next_observations, actions) for critic in agent.target_critics)
    expected = batch.rewards + 0.99 * (1 - batch.terminals) * torch.minimum(first, second)
    assert torch.equal(agent.td_target(batch), expected)
    assert torch.equal(agent.noise.get_state(), generator.get_state())


def test_a_look_without_noise_draws_nothing():
    agent, batch = build(small()), draw_batch()
    before = agent.noise.get_state()
    quiet = agent.td_target(batch, noisy=False)
    assert torch.equal(agent.noise.get_state(), before)
    assert torch.equal(quiet, build(small(target_noise=0.0)).td_target(batch))
    assert not torch.equal(quiet, agent.td_target(batch))


def test_the_clipped_noise_stays_in_the_box_of_actions():
    agent, batch = build(small(target_noise=100.0, noise_clip=100.0)), draw_batch(rows=40)
    seen = []
    agent.target_critics[0].register_forward_pre_hook(lambda _, rows: seen.append(rows[0][:, 3:]))
    agent.td_target(batch)
    assert (seen[0].abs() <= 1).all()
    assert (seen[0].abs() == 1).any()


def test_rate_one_copies_the_targets():
    agent = build(small(target_rate=1.0, target_interval=1, actor_interval=1))
    for seed in range(3):
        agent.update(draw_batch(seed=seed))
        assert torch.equal(numbers(agent.target_critics), numbers(agent.critics))
        assert torch.equal(numbers(agent.target_actor), numbers(agent.actor))


def test_rate_zero_leaves_the_targets_alone():
    agent = build(small(target_rate=0.0, target_interval=1, actor_interval=1, critic_lr=0.1))
    before = numbers(agent.target_critics, agent.target_actor)
    for seed in range(3):
        agent.update(draw_batch(seed=seed))
    assert torch.equal(numbers(agent.target_critics, agent.target_actor), before)
    assert not torch.equal(numbers(agent.critics), numbers(agent.target_critics))


def test_rate_zero_keeps_a_frozen_target_when_the_critic_has_overflowed():
    target, source = (torch.nn.Linear(2, 1).requires_grad_(False) for _ in range(2))
    before = numbers(target)
    source.weight.fill_(torch.inf)
    blend(target, source, 0.0)
    assert torch.equal(numbers(target), before)


def test_targets_and_actor_move_at_their_intervals_only():
    # With rate 1/2 the blend has one rounding, however it is computed: bitwise.
    agent = build(small(target_rate=0.5, target_interval=3, actor_interval=2))
    for step in range(1, 7):
        actor, targets = numbers(agent.actor), numbers(agent.target_critics, agent.target_actor)
        agent.update(draw_batch(seed=step))
        assert torch.equal(numbers(agent.actor), actor) == (step % 2 != 0)
        blended = 0.5 * targets + 0.5 * numbers(agent.critics, agent.actor)
        assert torch.equal(numbers(agent.target_critics, agent.target_actor), blended if step % 3 == 0 else targets)
        assert agent.steps == step


def test_a_terminal_row_ignores_its_successor():
    batch = draw_batch()
    shift = torch.where(batch.terminals == 1, 5.0, 0.0)[:, None]
    elsewhere = replace(batch, next_observations=batch.next_observations + shift)
    agent, other = build(small()), build(small())
    agent.update(batch)
    other.update(elsewhere)
    assert torch.equal(networks(agent), networks(other))
    target = agent.td_target(batch, noisy=False)
    assert torch.equal(target[batch.terminals == 1], batch.rewards[batch.terminals == 1])
    moved = agent.td_target(replace(batch, next_observations=batch.next_observations + 5), noisy=False)
    assert (moved != target).tolist() == (batch.terminals == 0).tolist()


def test_the_target_is_of_the_smaller_twin_row_by_row():
    agent, batch = build(COPIED, CROSSING), replace(draw_batch(), terminals=torch.zeros(9, dtype=torch.float64))
    actions = agent.next_actions(batch)
    first, second = (critic.q(batch.next_observations, actions).tolist() for critic in agent.target_critics)
    smaller = [min(pair) for pair in zip(first, second, strict=True)]
    assert {a < b for a, b in zip(first, second, strict=True)} == {True, False}, "both twins are the smaller somewhere"
    expected = batch.rewards + 0.99 * torch.tensor(smaller, dtype=torch.float64)
    assert torch.equal(agent.td_target(batch), expected)
