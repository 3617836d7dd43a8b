"""An agent against its slow transcription, update by update."""

import torch

from properties.margins import target_share
from properties.slow_agents import SlowSAC, SlowTD3
from properties.strategies.agents import AgentCase


def assert_follows(transcription: type[SlowTD3] | type[SlowSAC], case: AgentCase) -> None:
    """Demand that every update of an agent is the transcription's; reports how much of the rounding is used.

    Args:
        transcription: The slow agent's class.
        case: The agent and its batches.

    Raises:
        AssertionError: When values, targets or any parameter differ by more than rounding.
    """
    agent = case.build()
    misfits, slow = [], transcription(agent)
    for batch in case.draw():
        expected, slow_target = slow.values(batch), slow.target(batch)
        values, td_target = agent.update(batch)
        # 1e-12: the same few hundred float64 operations in another order.
        torch.testing.assert_close(values, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(td_target, torch.from_numpy(slow_target), rtol=1e-12, atol=1e-12)
        misfits.append(slow.follow(agent, batch, slow_target))
    target_share(max(misfits), "misfit / rounding")
    assert max(misfits) <= 1, f"updates differ from the paper's by these multiples of rounding: {misfits}"
