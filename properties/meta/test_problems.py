"""Problems are what their recipe says, and `quartering` tells a second-order residual from one of first order."""

from dataclasses import replace

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st

from properties.oracles import gradient_rows
from properties.strategies.networks import EVERY_KIND, Case
from properties.strategies.problems import SMOOTH, ProblemCase, problems, quartering
from seem.networks import MLPConfig


@given(case=problems(twins=True, **EVERY_KIND))
def test_errors_and_gradients_are_those_of_a_loop(case):
    """Row by row u = f(X) - r - γ(1-d) min f(X*), and the mean loss has the gradient (2/M)Φᵀu."""
    problem, rows = case.draw(), case.critic.rows
    u = problem.errors(0.0).view(2, rows)
    for k, critic in enumerate(problem.critics):
        for i in range(rows):
            following = min(other(problem.x_next[i : i + 1]).item() for other in problem.critics)
            bootstrap = 0.0 if case.terminals[i] else case.discount * following
            expected = critic(problem.x[i : i + 1]).item() - problem.rewards[i].item() - bootstrap
            # 1e-9: one row and several take other orders of summation, which normalisations may enlarge.
            assert u[k, i].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        for name, phi in gradient_rows(critic, problem.x).items():
            expected = 2 / rows * phi.T @ u[k]
            unit = phi.abs().sum() * u[k].abs().max() + 1e-12
            assert (problem.gradients[k][name].flatten() - expected).abs().max() <= 1e-9 * unit


@given(case=problems(twins=True))
def test_a_recipe_draws_the_same_twice_and_survives_its_repr(case):
    names = {"ProblemCase": ProblemCase, "Case": Case, "MLPConfig": MLPConfig}
    again = eval(repr(case), names)  # noqa: S307 - the repr is what a failure prints
    assert again == case
    assert torch.equal(again.draw().errors(0.0), case.draw().errors(0.0))


@given(coefficients=st.tuples(*[st.floats(-2, 2)] * 4), eta=st.floats(2.0**-12, 2.0**-4))
def test_quartering_bounds_every_cubic(coefficients, eta):
    """The gap of a cubic is exactly 2/3 of its third difference."""
    constant, linear, square, cube = (torch.tensor([value], dtype=torch.float64) for value in coefficients)
    gap, bound = quartering(lambda t: constant + t * (linear + t * (square + t * cube)), linear, eta)
    assert gap <= bound / 2


def test_quartering_notices_a_tenth_of_a_percent():
    gap, bound = quartering(
        lambda t: torch.tensor([t + t**2], dtype=torch.float64), torch.tensor([1.001]).double(), 2.0**-8
    )
    assert gap > 1e6 * bound


KINDS = {
    "terminal and not": lambda case: len(set(case.terminals)) == 2,
    "no discount": lambda case: case.discount == 0,
    "full discount": lambda case: case.discount == 1,
    "equal twins": lambda case: case.twin_seed == case.critic.seed,
    "unequal twins": lambda case: case.twin_seed != case.critic.seed,
    "smooth": lambda case: case.critic.config.activation in SMOOTH and case.critic.config.depth > 2,
    "with kinks": lambda case: case.critic.config.activation == "relu" and case.critic.config.depth > 2,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found(kind):
    # find raises when the profile's number of examples does not hold one.
    assert KINDS[kind](find(problems(twins=True), KINDS[kind]))


def test_shrinks_to_one_row_of_a_linear_critic():
    smallest = find(problems(), lambda _: True)
    assert smallest == ProblemCase(smallest.critic, terminals=(False,), discount=0.0)
    assert (smallest.critic.config.depth, smallest.critic.rows, smallest.critic.inputs) == (1, 1, 1)


def test_pieces_change_where_a_unit_or_the_smaller_twin_does():
    case = find(
        problems(twins=True), lambda case: case.critic.config.activation == "relu" and case.critic.config.depth == 2
    )
    problem = case.draw()
    before = problem.pieces(0.0)
    flipped = replace(problem, x=-problem.x, x_next=-problem.x_next)
    assert any(not torch.equal(was, now) for was, now in zip(before, flipped.pieces(0.0), strict=True))
    assert len(before) == 3  # one hidden layer of each critic, and the order of the twins
