"""The operator against the matrix that it stands for."""

import pytest
import torch

from seem import operators
from seem.errors import InputError
from seem.networks import MLP, Critic, MLPConfig
from seem.ntk import gram_by_jacobians
from seem.operators import ModuleOperator, SEEMOperator, operator_of
from seem.spectrum import seem_matrix
from seem.stacked import StackedMLP

ROWS, DISCOUNT = 33, 0.9
KINDS = ("none", "layer", "rms", "group:4", "batch", "weight", "spectral", "scale")
TOLERANCE = 1e-12
"""Two orders of summation of some hundred float64 products."""


def case(normalisation="none", **shape):
    generator = torch.Generator().manual_seed(0)
    config = MLPConfig(**({"depth": 4, "width": 16, "normalisation": normalisation} | shape))
    critic = Critic(3, 2, config, generator=generator, dtype=torch.float64).eval()
    x, x_next = torch.randn(2, ROWS, 5, generator=generator, dtype=torch.float64)
    terminals = (torch.rand(ROWS, generator=generator, dtype=torch.float64) < 0.3).double()
    gram, gram_next = gram_by_jacobians(critic, x, x), gram_by_jacobians(critic, x_next, x)
    matrix = seem_matrix(gram, gram_next, DISCOUNT, terminals)
    return SEEMOperator.of(critic, x, x_next, discount=DISCOUNT, terminals=terminals), matrix


def assert_near(value, expected):
    assert (value - expected).norm() <= TOLERANCE * expected.norm()


@pytest.fixture(params=[1, 7 * ROWS, 10**6], ids=["a row at a time", "a few rows", "one block"])
def block(request, monkeypatch):
    monkeypatch.setattr(operators, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("normalisation", KINDS)
def test_matrix_and_norm(normalisation):
    operator, matrix = case(normalisation)
    assert_near(operator.matrix(), matrix)
    assert operator.norm().item() == pytest.approx(matrix.norm().item(), rel=TOLERANCE)


@pytest.mark.parametrize("shape", [{}, {"bias": False}, {"depth": 1}, {"activation": "gelu"}], ids=str)
@pytest.mark.parametrize("normalisation", KINDS)
def test_products(normalisation, shape):
    operator, matrix = case(normalisation, **shape)
    vectors = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_near(operator.product(vectors), matrix @ vectors)
    assert_near(operator.transposed(vectors), matrix.T @ vectors)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("normalisation", ["none", "layer"])
@pytest.mark.parametrize(
    "shape", [{}, {"bias": False, "affine": False}, {"depth": 1}, {"normalised_layers": (1,)}], ids=str
)
def test_a_stack_is_its_networks(normalisation, shape):
    generator = torch.Generator().manual_seed(0)
    config = MLPConfig(**({"depth": 3, "width": 8, "normalisation": normalisation} | shape))
    critics = [Critic(3, 2, config, generator=generator, dtype=torch.float64) for _ in range(3)]
    x, x_next = torch.randn(2, 3, ROWS, 5, generator=generator, dtype=torch.float64)
    terminals = (torch.rand(3, ROWS, generator=generator, dtype=torch.float64) < 0.3).double()
    discounts = torch.tensor([[0.0], [0.9], [1.0]], dtype=torch.float64)
    stack = SEEMOperator.of(StackedMLP(critics), x, x_next, discount=discounts, terminals=terminals)
    vectors = torch.randn(3, ROWS, 2, generator=generator, dtype=torch.float64)
    for index, critic in enumerate(critics):
        options = {"discount": discounts[index].item(), "terminals": terminals[index]}
        single = SEEMOperator.of(critic, x[index], x_next[index], **options)
        assert_near(stack.matrix()[index], single.matrix())
        assert_near(stack.product(vectors)[index], single.product(vectors[index]))
        assert_near(stack.transposed(vectors)[index], single.transposed(vectors[index]))
        assert_near(stack.norm()[index], single.norm())


def test_a_stack_of_several_outputs_is_refused():
    networks = [MLP(3, 2, MLPConfig(depth=2, width=4), generator=torch.Generator().manual_seed(0))]
    with pytest.raises(InputError, match="one-output networks"):
        StackedMLP(networks).features(torch.zeros(1, 5, 3))


class OfTwo(torch.nn.Module):
    """A critic of two arguments, which no closed form fits."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic

    def forward(self, state, action):
        return self.critic(torch.cat((state, action), dim=1))


@pytest.mark.parametrize("chunk", [5, 256])
@pytest.mark.parametrize("normalisation", ["none", "layer", "batch", "spectral"])
def test_any_module_has_the_same_operator(normalisation, chunk, monkeypatch):
    monkeypatch.setattr(operators, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    config = MLPConfig(depth=3, width=8, normalisation=normalisation, activation="tanh")
    critic = Critic(3, 2, config, generator=generator, dtype=torch.float64).eval()
    x, x_next = torch.randn(2, ROWS, 5, generator=generator, dtype=torch.float64)
    terminals = (torch.rand(ROWS, generator=generator, dtype=torch.float64) < 0.3).double()
    vectors = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    mine = operator_of(critic, x, x_next, discount=DISCOUNT, terminals=terminals)
    split = [(rows[:, :3], rows[:, 3:]) for rows in (x, x_next)]
    other = operator_of(OfTwo(critic), *split, discount=DISCOUNT, terminals=terminals)
    assert (type(mine), type(other)) == (SEEMOperator, ModuleOperator)
    assert_near(other.matrix(), mine.matrix())
    assert_near(other.norm(), mine.norm())
    assert_near(other.product(vectors), mine.product(vectors))
    assert_near(other.transposed(vectors), mine.transposed(vectors))


def test_rows_that_meet_have_no_operator():
    critic = Critic(3, 2, MLPConfig(normalisation="batch"), generator=torch.Generator().manual_seed(0))
    x = torch.zeros(4, 3), torch.zeros(4, 2)
    with pytest.raises(InputError, match="eval"):
        operator_of(OfTwo(critic), x, x, discount=DISCOUNT, terminals=torch.zeros(4))


def test_the_matrix_has_the_networks_precision_whatever_the_terminals_have():
    (critic, x, x_next), terminals = small(), torch.tensor([0.0, 1.0, 0.0])
    exact = operator_of(critic, x, x_next, discount=DISCOUNT, terminals=terminals.double()).matrix()
    for network, inputs in ((critic, (x, x_next)), (OfTwo(critic), [(z[:, :3], z[:, 3:]) for z in (x, x_next)])):
        matrix = operator_of(network, *inputs, discount=DISCOUNT, terminals=terminals).matrix()
        assert matrix.dtype == torch.float64
        assert_near(matrix, exact)


def small():
    """A critic in float64 with three rows."""
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 2, MLPConfig(width=8), generator=generator, dtype=torch.float64)
    return critic, *torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
