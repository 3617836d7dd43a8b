"""The TD iteration of twin critics that both learn from the smaller of their targets.

Hypotheses: as in test_td_iteration.py, and no tie of the twins at X* is broken within the step. Twins of equal
parameters tie everywhere and for ever, which is harmless.
"""

import pytest
import torch
from hypothesis import event, given

from properties.margins import target_share
from properties.strategies.networks import EVERY_KIND, Case
from properties.strategies.problems import Problem, ProblemCase, problems, quartering
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix, twin_seem_matrix


@pytest.mark.claim("TWIN-BLOCK")
@given(case=problems(twins=True, **EVERY_KIND))
def test_halving_the_step_quarters_the_residual_of_both(case):
    problem = case.draw()
    share = problem.first_is_smaller.mean().item()
    event(f"the first is smaller: {'everywhere' if share == 1 else 'nowhere' if share == 0 else 'in part'}")
    gap, bound = quartering(problem.errors, problem.matrix() @ problem.errors(0.0), problem.small_step())
    target_share(gap / bound, "residual / bound")
    assert gap <= bound, f"residual(η) - 4·residual(η/2) is {gap:.3g}, at most {bound:.3g} if of second order"


@given(case=problems(twins=True, depth=(1, 3), width=(2, 4), normalised=False))
def test_the_difference_of_twins_is_driven_by_their_own_kernels(case):
    """u_1 - u_2 moves by -η(G_1 u_1 - G_2 u_2), whatever the shared target is: bootstrapping drops out."""
    problem = case.draw()
    (gram, _), (gram_twin, _) = (gram_blocks(critic, problem.x, problem.x_next) for critic in problem.critics)
    u, u_twin = problem.errors(0.0).chunk(2)
    first_order = gram_twin @ u_twin - gram @ u
    gap, bound = quartering(lambda eta: torch.sub(*problem.errors(eta).chunk(2)), first_order, problem.small_step())
    assert gap <= bound


def single(problem: Problem, index: int) -> torch.Tensor:
    """The matrix of one critic alone, as if its own values were the target."""
    blocks = gram_blocks(problem.critics[index], problem.x, problem.x_next)
    return seem_matrix(*blocks, problem.discount, problem.terminals)


def block(problem: Problem, chosen: torch.Tensor) -> torch.Tensor:
    """The matrix of twins whose target is the first where ``chosen`` is 1."""
    blocks = [gram_blocks(critic, problem.x, problem.x_next) for critic in problem.critics]
    return twin_seem_matrix(*zip(*blocks, strict=True), problem.discount, problem.terminals, chosen)


WRONG = {
    "each for itself": lambda p: torch.block_diag(single(p, 0), single(p, 1)),
    "the first only": lambda p: block(p, torch.ones_like(p.rewards)),
    "the larger": lambda p: block(p, 1 - p.first_is_smaller),
    "the mean": lambda p: block(p, torch.full_like(p.rewards, 0.5)),
}
"""Matrices that leave out how the target is chosen; the paper's code reads the first critic only."""


TWINS = ProblemCase(
    Case(MLPConfig(depth=1, width=2, bias=False), inputs=1, rows=2, seed=0),
    terminals=(False, False),
    discount=0.99,
    twin_seed=1,
)
"""Linear twins of one input; each is the smaller on one of the two rows."""


@pytest.mark.claim("TWIN-Q1-ONLY")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_matrix_leaves_a_residual_of_first_order(wrong):
    problem = TWINS.draw()
    u = problem.errors(0.0)
    gap, bound = quartering(problem.errors, WRONG[wrong](problem) @ u, eta=2.0**-8)
    assert gap > 1e6 * bound


def test_a_tie_that_the_step_breaks_leaves_a_residual_of_first_order():
    """Twins of equal values at x* but unequal errors: the one that falls faster becomes the smaller.

    f_1 = θ·x with θ = (0, 1), its twin with θ = (1, 0), x = (1, 0), x* = (1, 1), r = 0, γ = 1: u = (-1, 0), and the
    twin rises more slowly.
    """
    critics = []
    for weights in ((0.0, 1.0), (1.0, 0.0)):
        network = MLP(2, 1, MLPConfig(depth=1, bias=False), generator=torch.Generator(), dtype=torch.float64)
        network.linears[0].weight.data.copy_(torch.tensor([weights]))
        critics.append(network)
    x, x_next = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64).split(1)
    zero = torch.zeros(1, dtype=torch.float64)
    problem = Problem(tuple(critics), x, x_next, rewards=zero, terminals=zero, discount=1.0)
    u = problem.errors(0.0)
    gap, bound = quartering(problem.errors, problem.matrix() @ u, eta=2.0**-8)
    assert gap > 1e6 * bound
    # To the right of 0 it does hold with the twin that becomes the smaller.
    gap, bound = quartering(problem.errors, block(problem, zero) @ u, eta=2.0**-8)
    assert gap <= bound


def test_a_missing_block_is_refused_and_not_broadcast():
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="shorter"):
        twin_seem_matrix((one, one), (one,), 0.99, one[0], one[0])  # type: ignore[arg-type]
