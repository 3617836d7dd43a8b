"""An agent is decided by its seed and its batches, and goes on bit for bit from a saved state.

Hypotheses: one machine and one thread, as everywhere in this suite; the same configuration on both sides.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given

from properties.strategies.agents import SEEDS, Agent, agent_cases, any_config, gradients, networks
from seem.agents.common import load_state, state_of
from seem.records import canonical_json, parse_json
from seem.transitions import Transitions


def run(agent: Agent, batches: list[Transitions]) -> list[torch.Tensor]:
    """Everything that updates return, the networks after them, and the state of the noise."""
    returned = [tensor for batch in batches for tensor in agent.update(batch)]
    return [*returned, networks(agent), agent.noise.get_state()]


def all_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Whether two lists of tensors are bitwise equal."""
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@given(case=agent_cases(any_config(), updates=(1, 2)), other_seed=SEEDS)
def test_a_seed_decides_everything_and_nothing_else_does(case, other_seed):
    assume(other_seed != case.seed)
    before = torch.get_rng_state()
    first, again = run(case.build(), case.draw()), run(case.build(), case.draw())
    assert all_equal(first, again)
    assert not torch.equal(networks(replace(case, seed=other_seed).build()), networks(case.build()))
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator was used"


@pytest.mark.claim("RUNS-RESUME")
@given(case=agent_cases(any_config(), updates=(2, 4)), other_seed=SEEDS)
def test_a_saved_agent_goes_on_bit_for_bit(case, other_seed):
    batches = case.draw()
    half = len(batches) // 2
    agent, other = case.build(), replace(case, seed=other_seed).build()
    run(agent, batches[:half])
    tensors, counters = state_of(agent)
    load_state(other, tensors, parse_json(canonical_json(counters)))
    assert other.steps == agent.steps == half
    assert all_equal(run(other, batches[half:]), run(agent, batches[half:]))
    assert torch.equal(gradients(other.critics), gradients(agent.critics))


@given(case=agent_cases(any_config(), updates=(2, 3)))
def test_a_saved_state_is_a_snapshot_and_saving_changes_nothing(case):
    batches, agent, unsaved = case.draw(), case.build(), case.build()
    agent.update(batches[0])
    unsaved.update(batches[0])
    tensors, counters = state_of(agent)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    other = case.build()
    load_state(other, tensors, counters)
    other.update(batches[0])
    assert all_equal(run(agent, batches[1:]), run(unsaved, batches[1:]))
    assert all_equal(list(tensors.values()), list(kept.values()))
