"""SAC: every update is that of the paper, and its density is the squashed Gaussian's.

The update needs no hypothesis: any small network, optimiser, interval, target rate, temperature and cloning weight.
"""

import math

import pytest
import torch
from hypothesis import event, example, given
from hypothesis import strategies as st

from properties.following import assert_follows
from properties.slow_agents import SlowSAC
from properties.strategies.agents import AgentCase, agent_cases, gradients, sac_configs, shapes
from properties.strategies.batches import Batch
from seem.agents.sac import SACConfig
from seem.networks import MLPConfig

LINEAR = MLPConfig(depth=1, width=1, bias=False)
FAR_OUT = Batch(1, 2, terminals=(False,), saturated=(False,), repeats=(0,), seed=1633650)


@pytest.mark.claim("AGENT-SAC")
@given(case=agent_cases(sac_configs(), updates=(1, 3), rows=(1, 3)))
@example(case=AgentCase(SACConfig(critic=LINEAR, actor=LINEAR), seed=14714, batches=(FAR_OUT,)))
def test_updates_are_those_of_the_paper(case):
    assert_follows(SlowSAC, case)


def drawn(case, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a new agent draws first: noise, raw actions, log σ, each (N, action_dim), and log-densities (N,)."""
    agent = case.build()
    shape = (len(observations), case.batches[0].action_dim)
    noise = torch.randn(shape, generator=agent.noise, dtype=torch.float64)
    with torch.no_grad():
        mean, log_std = agent.actor.moments(observations)
        _, log_densities = agent.actor.sample(observations, noise)
    return noise, mean + log_std.exp() * noise, log_std, log_densities


@given(case=agent_cases(sac_configs()), scale=st.floats(1.0, 1e3))
def test_the_density_is_the_gaussians_over_the_derivative_of_tanh(case, scale):
    """Also where tanh saturates: 1 - tanh² = 1/cosh², and log cosh x = |x| + log((1 + e^(-2|x|))/2)."""
    noise, raw, log_std, log_densities = drawn(case, scale * case.draw()[0].observations)
    log_cosh = raw.abs() + torch.log1p((-2 * raw.abs()).exp()) - math.log(2)
    expected = (-noise.square() / 2 - log_std - math.log(2 * math.pi) / 2 + 2 * log_cosh).sum(1)
    event(f"saturated: {bool((raw.abs() > 20).any())}")
    # 1e-14: a dozen roundings of numbers up to the largest term.
    size = 1 + noise.square().max() + log_std.abs().max() + 2 * raw.abs().max()
    assert ((log_densities - expected).abs() <= 1e-14 * len(noise.flatten()) * size).all()


NOISE = torch.linspace(-9.0, 9.0, 2401, dtype=torch.float64)[:, None]


@torch.no_grad()
def integral(case: AgentCase, head_scale: float, log_std: float = 0.0) -> float:
    """∫ π(a | s) da in the first state, the actor's head scaled and then log σ raised."""
    (batch,), agent = case.draw(), case.build()
    for parameter in agent.actor.linears[-1].parameters():
        parameter *= head_scale
    if log_std:
        agent.actor.linears[-1].bias[1] += log_std
    actions, log_densities = agent.actor.sample(batch.observations[:1].expand(len(NOISE), -1), NOISE)
    return float(torch.trapezoid(log_densities.exp(), actions[:, 0]))


@pytest.mark.claim("AGENT-SAC")
@given(case=agent_cases(sac_configs(actor=shapes(depth=2, activation="tanh")), action_dim=1))
def test_the_density_has_an_integral_of_one(case):
    """∫ π(a | s) da over the box, by the trapezoid rule at the actions of evenly spaced noise.

    Hypothesis: σ < 2, since where tanh rounds to 1 no two actions can be told apart.
    """
    # A quarter of the head of at most four units and a bias: mean and log σ are at most 0.63.
    # The rule's error is h²/12 times a second derivative of at most 50, with h = 0.0075; the tails hold e^(-81/2).
    assert abs(integral(case, 0.25) - 1) < 1e-3


def test_a_wide_density_is_lost_where_tanh_rounds_to_one():
    """The hypothesis σ < 2, dropped: a 170th of the probability lies on actions that are ±1 in float64."""
    shape = MLPConfig(depth=2, width=1, activation="tanh")
    row = Batch(1, 1, terminals=(False,), saturated=(False,), repeats=(0,), seed=0)
    case = AgentCase(SACConfig(critic=MLPConfig(depth=1), actor=shape), seed=0, batches=(row,))
    assert integral(case, 0.0, log_std=2.0) < 0.995


@given(case=agent_cases(sac_configs(temperature=st.floats(2.0**-6, 4.0), tune_temperature=False)))
def test_the_entropy_enters_the_target_with_its_sign_discount_and_mask(case):
    """target(α) = target(0) - γ(1 - d) α log π(a' | s'): an unlikely action is worth more."""
    (batch,) = case.draw()
    *_, log_densities = drawn(case, batch.next_observations)
    without, target_with = case.build(temperature=0.0).td_target(batch), case.build().td_target(batch)
    bonus = -case.config.discount * (1 - batch.terminals) * case.config.temperature * log_densities
    # 1e-14: a few dozen roundings of numbers up to the targets.
    slack = 1e-14 * float(1 + without.abs().max() + bonus.abs().max())
    assert (target_with - without - bonus).abs().max() <= slack


@given(case=agent_cases(sac_configs(tune_temperature=True)))
def test_the_temperature_rises_exactly_while_the_entropy_is_below_its_target(case):
    """In Adam's first step, whose direction is the gradient's; the entropy is the mean of -log π over the rows."""
    (batch,), agent = case.draw(), case.build()
    *_, log_densities = drawn(case, batch.observations)
    surplus = float(-log_densities.mean()) - agent.target_entropy
    before = agent.temperature.log.item()
    agent.update_actor(batch)
    moved = agent.temperature.log.item() - before
    event("entropy above its target" if surplus > 0 else "entropy below its target")
    # 1e-12: where the entropy is at its target up to rounding, neither direction is wrong.
    assert abs(surplus) < 1e-12 or moved * surplus < 0
    assert abs(moved) <= case.config.temperature_lr * (1 + 1e-15) + 1e-15, "Adam's first step is at most its rate"


@given(case=agent_cases(sac_configs(tune_temperature=False), updates=(1, 2)))
def test_a_fixed_temperature_stays(case):
    agent = case.build()
    before = agent.temperature.log.item()
    for batch in case.draw():
        agent.update(batch)
    assert agent.temperature.log.item() == before
    # exp(log α) is α up to rounding of a logarithm of size 5.
    assert math.isclose(agent.temperature().item(), case.config.temperature, rel_tol=1e-15)


@given(case=agent_cases(sac_configs(temperature=0.0, tune_temperature=False, behaviour_cloning=0.0)))
def test_the_actor_follows_both_twins_alike(case):
    """Swapping the critics leaves the actor's step: it climbs their minimum."""
    (batch,), agent, other = case.draw(), case.build(), case.build()
    other.critics = torch.nn.ModuleList(reversed(other.critics))
    agent.update_actor(batch)
    other.update_actor(batch)
    assert torch.equal(gradients(agent.actor), gradients(other.actor))
