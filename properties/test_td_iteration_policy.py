"""The TD iteration when X* moves, or is chosen anew after the step.

Hypotheses: as in test_td_iteration.py, but for the one that X* is fixed. When X* moves by ηv the first-order term
gains -γ(1-d) ∂f/∂x*·v. When X* is the best of finitely many actions it stays where it is, up to ties, and the
iteration holds as it is.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.margins import target_share
from properties.strategies.networks import EVERY_KIND, Case
from properties.strategies.problems import STEPS, Problem, ProblemCase, problems, quartering
from seem.networks import MLP, MLPConfig


def with_motion(problem: Problem, seed: int) -> Problem:
    """X* moves in a random direction, as fast as the parameters do."""
    direction = torch.randn(problem.x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return replace(problem, motion=problem.speed * direction / direction.norm())


def excess(problem: Problem) -> torch.Tensor:
    """What the motion of X* adds to u'(0): -γ(1 - d_i) ∂f/∂x*_i·v_i."""
    x_next = problem.x_next.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(problem.critics[0](x_next).sum(), x_next)
    return -problem.discount * (1 - problem.terminals) * (slopes * problem.motion).sum(1)


@pytest.mark.claim("TD-POLICY-TERM")
@given(case=problems(**EVERY_KIND), seed=st.integers(0, 2**32 - 1))
def test_moving_actions_add_their_own_first_order_term(case, seed):
    problem = with_motion(case.draw(), seed)
    first_order = problem.matrix() @ problem.errors(0.0) + excess(problem)
    gap, bound = quartering(problem.errors, first_order, problem.small_step())
    target_share(gap / bound, "residual / bound")
    assert gap <= bound, f"residual(η) - 4·residual(η/2) is {gap:.3g}, at most {bound:.3g} if of second order"


@pytest.mark.claim("TD-MOVING-POLICY")
def test_without_that_term_the_residual_is_of_first_order():
    case = ProblemCase(Case(MLPConfig(depth=1, width=2), inputs=1, rows=1, seed=0), terminals=(False,), discount=0.99)
    problem = with_motion(case.draw(), seed=0)
    gap, bound = quartering(problem.errors, problem.matrix() @ problem.errors(0.0), eta=2.0**-8)
    assert gap > 1e6 * bound


@pytest.mark.claim("TD-POLICY-TERM")
@given(case=problems(**EVERY_KIND, rows=(1, 3)), others=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_the_best_of_several_actions_counts_as_fixed(case, others, seed):
    """Q-learning: f(X*) is a maximum over candidates, taken anew after the step; A is built at the best ones."""
    problem = case.draw()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(others, *problem.x.shape, generator=generator, dtype=torch.float64)
    candidates = torch.cat((problem.x_next[None], drawn))
    best = best_of(problem, candidates, 0.0)
    event(f"the best are {'others' if best.all() else 'the first' if not best.any() else 'mixed'}")
    problem = replace(problem, x_next=candidates[best, torch.arange(len(best))])
    etas = (problem.small_step() / 2**k for k in range(50))
    eta = next(eta for eta in etas if all(torch.equal(best_of(problem, candidates, k * eta / 2), best) for k in STEPS))
    first_order = problem.matrix() @ problem.errors(0.0)
    gap, bound = quartering(lambda eta: greedy_errors(problem, candidates, eta), first_order, eta)
    target_share(gap / bound, "residual / bound")
    assert gap <= bound


def best_of(problem: Problem, candidates: torch.Tensor, eta: float) -> torch.Tensor:
    """Number of the best candidate of every row after a step, shape (M,)."""
    return problem.values(candidates.flatten(0, 1), eta).view(candidates.shape[:2]).argmax(0)


def greedy_errors(problem: Problem, candidates: torch.Tensor, eta: float) -> torch.Tensor:
    """TD errors of one critic after a step of size η, the best candidate chosen after it."""
    best_values = problem.values(candidates.flatten(0, 1), eta).view(candidates.shape[:2]).amax(0)
    bootstrap = problem.discount * (1 - problem.terminals) * best_values
    return problem.values(problem.x, eta)[0] - problem.rewards - bootstrap


@pytest.mark.claim("TD-KINK")
def test_a_tie_of_actions_leaves_a_residual_of_first_order():
    """With f = θ·x, θ = (1, 1), x = (1, 0), u = -1: of the tied (1, 0) and (0, 1) only the first rises."""
    network = MLP(2, 1, MLPConfig(depth=1, bias=False), generator=torch.Generator(), dtype=torch.float64)
    torch.nn.init.ones_(network.linears[0].weight)
    candidates = torch.eye(2, dtype=torch.float64)[:, None]
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    problem = Problem((network,), x=candidates[0], x_next=candidates[1], rewards=one, terminals=zero, discount=1.0)
    u = problem.errors(0.0)
    gap, bound = quartering(lambda eta: greedy_errors(problem, candidates, eta), problem.matrix() @ u, eta=2.0**-8)
    assert gap > 1e6 * bound
