"""The TD iteration u_{t+1} = (I + ηA)u_t: its residual is of second order in η.

Hypotheses: X*, r and d stay fixed during the step; the step is plain gradient descent, η = 2·lr/M, with the
target frozen; the target comes from the critic itself; no kink of an activation is crossed.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.margins import target_share
from properties.strategies.networks import EVERY_KIND, Case
from properties.strategies.problems import Problem, ProblemCase, problems, quartering
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix

ONE_ROW = Case(MLPConfig(depth=1, width=2, bias=False), inputs=1, rows=1, seed=0)
TWO_ROWS = replace(ONE_ROW, rows=2)


@pytest.mark.claim("TD-ITERATION")
@given(case=problems(**EVERY_KIND))
def test_halving_the_step_quarters_the_residual(case):
    problem = case.draw()
    eta = problem.small_step()
    gap, bound = quartering(problem.errors, problem.matrix() @ problem.errors(0.0), eta)
    target_share(gap / bound, "residual / bound")
    assert gap <= bound, f"residual(η) - 4·residual(η/2) is {gap:.3g}, at most {bound:.3g} if of second order"


@pytest.mark.claim("TD-LINEAR")
@given(case=problems(depth=(1, 1)), log_eta=st.floats(-20, 2))
def test_a_linear_critic_has_no_residual(case, log_eta):
    problem, eta = case.draw(), 2.0**log_eta
    before, matrix = problem.errors(0.0), problem.matrix()
    after = problem.errors(eta)
    size = before.norm() + eta * (matrix.abs() @ before.abs()).norm() + problem.rewards.norm()
    event("grows" if after.norm() > before.norm() else "shrinks")
    # 1e-13: sums of at most ten float64 products, each rounded twice; the parameters' motion passes through θ.
    assert (after - before - eta * matrix @ before).norm() <= 1e-13 * (1 + size)


WRONG = {
    "transposed": (
        ProblemCase(TWO_ROWS, terminals=(False, False), discount=0.99),
        lambda gram, gram_next, discount, d: seem_matrix(gram, gram_next.T, discount, d),
    ),
    "columns masked": (
        ProblemCase(TWO_ROWS, terminals=(False, True), discount=0.99),
        lambda gram, gram_next, discount, d: discount * (1 - d) * gram_next - gram,
    ),
    "terminals not masked": (
        ProblemCase(ONE_ROW, terminals=(True,), discount=0.99),
        lambda gram, gram_next, discount, d: seem_matrix(gram, gram_next, discount, 0 * d),
    ),
    "not discounted": (
        ProblemCase(ONE_ROW, terminals=(False,), discount=0.0),
        lambda gram, gram_next, _, d: seem_matrix(gram, gram_next, 1.0, d),
    ),
    "no bootstrap": (
        ProblemCase(ONE_ROW, terminals=(False,), discount=0.99),
        lambda gram, gram_next, _, d: seem_matrix(gram, gram_next, 0.0, d),
    ),
}
"""The smallest problems, linear critics of one input, that tell a wrong matrix from A."""


@pytest.mark.claim("TD-MATRIX")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_matrix_leaves_a_residual_of_first_order(wrong):
    case, build = WRONG[wrong]
    problem = case.draw()
    u, blocks = problem.errors(0.0), gram_blocks(problem.critics[0], problem.x, problem.x_next)
    matrix = build(*blocks, problem.discount, problem.terminals)
    gap, bound = quartering(problem.errors, matrix @ u, eta=2.0**-8)
    assert gap > 1e6 * bound
    residuals = [problem.errors(eta) - u - eta * matrix @ u for eta in (2.0**-8, 2.0**-9)]
    # 1e-10: residuals of about 1e-4 of numbers of size one.
    torch.testing.assert_close(residuals[0], 2 * residuals[1], rtol=1e-10, atol=0)


def test_one_row_does_not_tell_the_transposed_matrix():
    problem = ProblemCase(ONE_ROW, terminals=(False,), discount=0.99).draw()
    gram, gram_next = gram_blocks(problem.critics[0], problem.x, problem.x_next)
    assert torch.equal(seem_matrix(gram, gram_next.T, 0.99, problem.terminals), problem.matrix())


def near_a_kink(offset: float) -> Problem:
    """One ReLU unit whose input is ``offset`` on the first row; the second row's error pushes it up at rate 1."""
    network = MLP(2, 1, MLPConfig(depth=2, width=1, bias=False), generator=torch.Generator(), dtype=torch.float64)
    with torch.no_grad():
        network.linears[0].weight.copy_(torch.tensor([[offset, 1.0]]))
        network.linears[1].weight.fill_(1.0)
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    rewards = network(x).squeeze(1).detach() + torch.tensor([0.0, 1.0], dtype=torch.float64)
    return Problem((network,), x, x, rewards, terminals=0 * rewards, discount=0.0)


@pytest.mark.claim("TD-KINK")
@pytest.mark.parametrize("offset", [0.0, -(2.0**-12)])
def test_on_a_kink_or_across_it_the_residual_is_of_first_order(offset):
    """At a kink u has no derivative; across it A no longer is the matrix."""
    problem = near_a_kink(offset)
    gap, bound = quartering(problem.errors, problem.matrix() @ problem.errors(0.0), eta=2.0**-8)
    assert gap > 2 * bound


@pytest.mark.parametrize("offset", [-(2.0**-12), 2.0**-12])
def test_beside_a_kink_a_small_enough_step_quarters_again(offset):
    problem = near_a_kink(offset)
    gap, bound = quartering(problem.errors, problem.matrix() @ problem.errors(0.0), problem.small_step())
    assert gap <= bound
