"""Blended targets and intervals: what moves at which step, and by how much.

Hypotheses: none for the blend, which takes any finite numbers, or overflowed sources where the rate is 0 or 1. That
something moves at its step needs a gradient that is not zero.
"""

import math
from fractions import Fraction

import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import nn

from properties.strategies.agents import AgentCase, agent_cases, any_config, followed, numbers, shapes
from properties.strategies.batches import Batch
from seem.agents.common import blend
from seem.agents.sac import SAC
from seem.agents.td3 import TD3Config
from seem.networks import MLPConfig

finite = st.floats(-1e300, 1e300)
pairs = st.lists(st.tuples(finite, finite), min_size=1, max_size=4)
anything = st.sampled_from((math.inf, -math.inf, math.nan)) | finite
overflowed = st.lists(st.tuples(finite, anything), min_size=1, max_size=4)


def module(values: list[float]) -> nn.ParameterList:
    """A module with one parameter a value."""
    return nn.ParameterList([nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in values])


def bits(*modules: nn.Module) -> list[int]:
    """All parameters as their bits: nan equals nan, and 0 is not -0."""
    return numbers(*modules).view(torch.int64).tolist()


@given(pairs=pairs, rate=st.floats(0.0, 1.0))
def test_a_blend_is_the_convex_combination(pairs, rate):
    old, source = (list(column) for column in zip(*pairs, strict=True))
    target, followed_module = module(old), module(source)
    blend(target, followed_module, rate)
    for found, (before, towards) in zip(numbers(target).tolist(), pairs, strict=True):
        exact = (1 - Fraction(rate)) * Fraction(before) + Fraction(rate) * Fraction(towards)
        # 1 - τ, two products and a sum: four roundings, of 2^-53 or below float64's range of 2^-1074.
        slack = 4 * (Fraction(2) ** -53 * max(abs(Fraction(before)), abs(Fraction(towards))) + Fraction(2) ** -1074)
        assert abs(Fraction(found) - exact) <= slack, f"{found!r} is not {float(exact)!r}"
    assert numbers(followed_module).tolist() == source


@given(pairs=overflowed)
def test_rate_one_copies_bitwise_and_rate_zero_leaves_bitwise(pairs):
    old, source = (list(column) for column in zip(*pairs, strict=True))
    copied, kept, followed_module = module(old), module(old), module(source)
    blend(copied, followed_module, 1.0)
    blend(kept, followed_module, 0.0)
    assert bits(copied) == bits(module(source))
    assert bits(kept) == bits(module(old))


@given(case=agent_cases(any_config(target_rate=1.0, target_interval=1), updates=(1, 3)))
def test_with_rate_one_the_targets_are_copies_after_every_update(case):
    agent = case.build()
    for batch in case.draw():
        agent.update(batch)
        for target, source in followed(agent):
            assert bits(target) == bits(source)


# BatchNorm and the spectral norm have buffers beside their parameters; a group holds two units or more.
NORMALISED = [MLPConfig(depth=2, width=4, normalisation=kind) for kind in ("batch", "spectral", "weight", "group:2")]


@given(case=agent_cases(any_config(critic=st.sampled_from(NORMALISED), target_rate=1.0), updates=(3, 4), rows=(2, 3)))
def test_a_copied_target_is_the_same_function_under_every_normalisation(case):
    agent = case.build()
    for batch in case.draw():
        agent.update(batch)
        if agent.steps % case.config.target_interval == 0:
            states = zip(agent.target_critics.state_dict().values(), agent.critics.state_dict().values(), strict=True)
            assert all(torch.equal(target, source) for target, source in states)


@given(case=agent_cases(any_config(target_rate=0.0), updates=(1, 3)))
def test_with_rate_zero_the_targets_are_the_initial_networks_for_ever(case):
    agent = case.build()
    targets = [target for target, _ in followed(agent)]
    before = bits(*targets)
    assert before == bits(*(source for _, source in followed(agent)))
    for batch in case.draw():
        agent.update(batch)
        assert bits(*targets) == before


# No dead unit, and no LayerNorm, which makes a single unit a constant: every gradient is non-zero.
smooth = shapes(activation="tanh", normalisation="none")


@given(case=agent_cases(any_config(critic=smooth, actor=smooth, target_rate=0.5), updates=(3, 4), rows=(1, 2)))
def test_actor_and_targets_move_at_their_steps_only(case):
    agent, config = case.build(), case.config
    for step, batch in enumerate(case.draw(), start=1):
        actor, critics = bits(agent.actor), bits(agent.critics)
        targets = [numbers(target) for target, _ in followed(agent)]
        temperature = bits(agent.temperature) if isinstance(agent, SAC) else None
        agent.update(batch)
        assert agent.steps == step
        assert bits(agent.critics) != critics
        moves = step % config.actor_interval == 0
        assert (bits(agent.actor) != actor) == moves, f"step {step}, interval {config.actor_interval}"
        if isinstance(agent, SAC):
            assert (bits(agent.temperature) != temperature) == (moves and config.tune_temperature)
        for before, (target, source) in zip(targets, followed(agent), strict=True):
            # At rate 1/2 the blend has one rounding in whatever order: bitwise, and of this step's networks.
            blended = 0.5 * before + 0.5 * numbers(source) if step % config.target_interval == 0 else before
            assert torch.equal(numbers(target), blended), f"step {step}, interval {config.target_interval}"
    event(f"intervals {config.actor_interval} and {config.target_interval}")


def test_a_layernorm_of_one_unit_stops_what_lies_before_it():
    """The hypothesis of the property above, dropped: a single unit is normalised to 0, and nothing learns."""
    shape = MLPConfig(depth=2, width=1, activation="tanh", bias=False, normalisation="layer", affine=False)
    row = Batch(1, 1, terminals=(False,), saturated=(False,), repeats=(0,), seed=0)
    case = AgentCase(TD3Config(critic=shape, actor=shape), seed=0, batches=(row,))
    agent, before = case.build(), bits(case.build().critics)
    agent.update(*case.draw())
    assert bits(agent.critics) == before
