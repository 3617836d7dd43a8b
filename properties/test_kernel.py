"""The empirical kernel: three ways to the same Gram block, its symmetry and its sign, for every network drawn.

Hypotheses: the rows of a batch do not meet inside the network, which has one output. With BatchNorm in training
mode they meet; the counterexample at the end shows what a per-sample gradient would then leave out.
"""

import pytest
import torch
from hypothesis import given
from torch import nn

from properties.oracles import assert_within, gram_by_loop, sizes
from properties.strategies.networks import EVERY_KIND, cases
from seem.errors import InputError
from seem.networks import MLP, DeterministicActor, MLPConfig
from seem.ntk import evaluate, gram_blocks, gram_by_jacobians

EPSILON = torch.finfo(torch.float64).eps


@pytest.mark.claim("NTK-CLOSED-FORM")
@given(case=cases(**EVERY_KIND))
def test_closed_form_equals_a_loop_over_rows(case):
    network, x, x_next = case.draw()
    gram, gram_next = gram_blocks(network, x, x_next)
    of_x, of_x_next = sizes(network, x), sizes(network, x_next)
    # Both sides round.
    assert_within(
        (gram, gram_by_loop(network, x, x), 2 * EPSILON * of_x.of_gram(of_x)),
        (gram_next, gram_by_loop(network, x_next, x), 2 * EPSILON * of_x_next.of_gram(of_x)),
    )


@pytest.mark.claim("NTK-CLOSED-FORM")
@given(case=cases(**EVERY_KIND, rows=(1, 3)))
def test_torch_func_equals_a_loop_over_rows(case):
    network, x, x_next = case.draw()
    # In chunks of 2 rows: a block is put together from several pieces.
    block = gram_by_jacobians(network, x_next, x, chunk=2)
    bound = 2 * EPSILON * sizes(network, x_next).of_gram(sizes(network, x))
    assert_within((block, gram_by_loop(network, x_next, x), bound))


@pytest.mark.claim("NTK-CLOSED-FORM")
@given(case=cases(**EVERY_KIND))
def test_block_times_vector_is_a_directional_derivative(case):
    network, x, x_next = case.draw()
    error = evaluate(network, x).detach() + 1  # any vector; this one is the TD error of reward -1 and γ = 0
    parameters = list(network.parameters())
    semi_gradient = torch.autograd.grad(evaluate(network, x) @ error, parameters)
    # f(X*) moves along Φ(X)ᵀu by G(X*, X)u: the sense in which the kernel drives the TD error. The derivative
    # along a direction is the derivative by w of ⟨∇(wᵀf), direction⟩.
    weights = torch.zeros(case.rows, dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(evaluate(network, x_next) @ weights, parameters, create_graph=True)
    along = sum((g * direction).sum() for g, direction in zip(gradients, semi_gradient, strict=True))
    (derivative,) = torch.autograd.grad(along, weights)
    bound = 2 * EPSILON * sizes(network, x_next).of_gram(sizes(network, x)) @ error.abs()
    assert_within((gram_blocks(network, x, x_next)[1] @ error, derivative, bound))


@pytest.mark.claim("NTK-PSD")
@given(case=cases(**EVERY_KIND))
def test_symmetric_and_positive_semidefinite(case):
    network, x, x_next = case.draw()
    gram, _ = gram_blocks(network, x, x_next)
    bound = 2 * EPSILON * sizes(network, x).of_gram(sizes(network, x))
    assert ((gram - gram.T).abs() <= bound).all(), f"not symmetric: {gram}"
    # An eigenvalue moves by at most the Frobenius norm of the matrix's error.
    smallest = torch.linalg.eigvalsh(gram).min()
    assert smallest >= -bound.norm(), f"an eigenvalue is {smallest}"


@given(case=cases(**EVERY_KIND))
def test_neither_way_moves_the_network(case):
    network, x, x_next = case.draw()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gram_blocks(network, x, x_next)
    gram_by_jacobians(network, x, x)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())


@given(case=cases(**EVERY_KIND))
def test_a_perceptron_with_a_forward_of_its_own_has_its_own_kernel(case):
    actor = DeterministicActor(
        case.inputs, 1, case.config, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64
    ).eval()
    _, x, x_next = case.draw()
    of_x, of_x_next = sizes(actor, x), sizes(actor, x_next)
    # tanh at the end: |tanh'| <= 1, and |tanh''| < 1 times the output's rounding.
    worst = (1 + of_x.output.max()) * (1 + of_x_next.output.max())
    gram, gram_next = gram_blocks(actor, x, x_next)
    assert_within(
        (gram, gram_by_loop(actor, x, x), 2 * EPSILON * worst * of_x.of_gram(of_x)),
        (gram_next, gram_by_loop(actor, x_next, x), 2 * EPSILON * worst * of_x_next.of_gram(of_x)),
    )


def test_rows_that_meet_in_batchnorm_have_no_kernel():
    config = MLPConfig(depth=2, width=2, normalisation="batch")
    network = MLP(1, 1, config, generator=torch.Generator().manual_seed(0), dtype=torch.float64).train()
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)

    def first_value(other: float) -> float:
        return evaluate(network, torch.tensor([[0.0], [other]], dtype=torch.float64))[0].item()

    # Row 0 changes with row 1: no gradient of its own says how.
    assert abs(first_value(1.0) - first_value(-1.0)) > 0.1
    for read in (gram_blocks, gram_by_jacobians):
        with pytest.raises(InputError, match="eval"):
            read(network, x, x)


def test_several_outputs_have_no_kernel():
    network, x = nn.Linear(1, 2, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for read in (gram_blocks, gram_by_jacobians):
        with pytest.raises(InputError, match="one output"):
            read(network, x, x)
