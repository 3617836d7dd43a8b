"""The TD iteration of TD3's own critic step: η is 2·lr/M for each twin.

Hypotheses: as in test_td_iteration_twins.py; plain gradient descent, targets copied after every step (τ = 1), no
target noise, an actor that stands still.
"""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.strategies.batches import Batch, batches
from properties.strategies.networks import configs
from properties.strategies.problems import Problem, quartering
from properties.strategies.scales import discounts
from seem.agents.common import blend
from seem.agents.td3 import TD3, TD3Config
from seem.networks import MLPConfig
from seem.normalisation import RECORDS

NEVER = 10**9
STILL = TD3Config(
    actor=MLPConfig(depth=1),
    critic_optimiser="sgd",
    actor_interval=NEVER,
    target_rate=1.0,
    target_interval=1,
    target_noise=0.0,
)


@dataclass
class Steps:
    """TD errors of an agent after one update from its initial state, by step size."""

    config: TD3Config
    batch: Batch
    seed: int

    def __post_init__(self) -> None:
        self.transitions = t = self.batch.draw()
        self.agent = TD3(self.config, t.observation_dim, t.action_dim, seed=self.seed, dtype=torch.float64)
        self.start = copy.deepcopy(self.agent.critics)
        x = torch.cat((t.observations, t.actions), dim=1)
        x_next = torch.cat((t.next_observations, self.agent.next_actions(t)), dim=1)
        self.problem = Problem(tuple(self.start), x, x_next, t.rewards, t.terminals, self.config.discount)

    def errors(self, eta: float) -> torch.Tensor:
        """Both critics' errors after one update with lr = ηM/2, shape (2M,)."""
        for critics in (self.agent.critics, self.agent.target_critics):
            blend(critics, self.start, 1.0)
        self.agent.steps = 0
        self.agent.critic_optimiser.state.clear()
        self.agent.critic_optimiser.param_groups[0]["lr"] = eta * self.batch.rows / 2
        self.agent.update(self.transitions)
        errors = self.agent.values(self.transitions) - self.agent.td_target(self.transitions, noisy=False)
        return errors.detach().flatten()


ETAS = st.floats(-12, 1).map(lambda exponent: 2.0**exponent)
BY_ROW = tuple(kind.name for kind in RECORDS.values() if kind.by_row)
"""Normalisations that act the same way in training, where the agent's critics are, and in evaluation."""
SEEDS = st.integers(0, 2**32 - 2)


@pytest.mark.claim("TD-LINEAR")
@given(batch=batches(), discount=discounts(), seed=SEEDS, bias=st.booleans(), eta=ETAS)
def test_an_update_of_linear_critics_is_the_iteration(batch, discount, seed, bias, eta):
    """Linear critics have no residual: u becomes (I + ηA)u, A the block matrix of twins, while no tie is broken."""
    steps = Steps(replace(STILL, critic=MLPConfig(depth=1, bias=bias), discount=discount), batch, seed)
    problem = steps.problem
    while not all(torch.equal(*pair) for pair in zip(problem.pieces(0.0), problem.pieces(eta), strict=True)):
        eta /= 2
    before, after = problem.errors(0.0), steps.errors(eta)
    predicted = before + eta * problem.matrix() @ before
    size = before.norm() + eta * problem.matrix().norm() * before.norm() + problem.rewards.norm()
    event("grows" if after.norm() > before.norm() else "shrinks")
    # 1e-13: sums of at most ten float64 products; the motion of the parameters passes through θ.
    assert (after - predicted).norm() <= 1e-13 * (1 + size)


@pytest.mark.claim("TD-ITERATION")
@given(
    batch=batches(),
    critic=configs(depth=(1, 3), normalisations=BY_ROW, epsilons=(1.0,)),
    discount=discounts(),
    seed=SEEDS,
    eta=ETAS,
)
def test_an_update_is_the_step_whose_residual_is_of_second_order(batch, critic, discount, seed, eta):
    """The same step as that of test_td_iteration_twins.py, whatever its size and the kinks on its way."""
    steps = Steps(replace(STILL, critic=critic, discount=discount), batch, seed)
    after, expected = steps.errors(eta), steps.problem.errors(eta)
    # 1e-12: some hundred roundings; their like in the gradient is enlarged by the step, which moves what it enters.
    assert (after - expected).norm() <= 1e-12 * (1 + eta * steps.problem.speed) ** 3 * (1 + expected.norm())


TWO_ROWS = Batch(1, 1, terminals=(False, False), saturated=(False, False), repeats=(0, 0), seed=0)
LINEAR = replace(STILL, critic=MLPConfig(depth=1, bias=False))
DROPPED = {
    "targets copied": replace(LINEAR, target_rate=0.5),
    "copied after every step": replace(LINEAR, target_interval=2),
    "plain gradient descent": replace(LINEAR, critic_optimiser="adam"),
}


@pytest.mark.parametrize("dropped", DROPPED)
def test_without_its_hypothesis_the_residual_is_of_first_order(dropped):
    steps = Steps(DROPPED[dropped], TWO_ROWS, seed=0)
    gap, bound = quartering(steps.errors, steps.problem.matrix() @ steps.problem.errors(0.0), 2.0**-8)
    assert gap > 1e6 * bound


@pytest.mark.parametrize("factor", [0.5, 2.0], ids=["half of it", "twice it"])
def test_another_step_size_leaves_a_residual_of_first_order(factor):
    steps = Steps(LINEAR, TWO_ROWS, seed=0)
    gap, bound = quartering(steps.errors, factor * steps.problem.matrix() @ steps.problem.errors(0.0), 2.0**-8)
    assert gap > 1e6 * bound
