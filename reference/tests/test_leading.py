"""The certified leading eigenvalue against all eigenvalues, where it is isolated and where it hides."""

import numpy as np
import pytest
import torch

from seem import leading
from seem.errors import InputError
from seem.leading import attempt, leading_eigenvalue, split_off
from seem.leading_operator import leading_of_operator
from seem.networks import Critic, MLPConfig
from seem.operators import operator_of

ROWS = 120


def similar(eigenvalues, seed=0, condition=10.0):
    """A non-normal real matrix with given blocks: numbers, or pairs (real, imaginary)."""
    rng = np.random.default_rng(seed)
    size = sum(2 if isinstance(value, tuple) else 1 for value in eigenvalues)
    matrix, at = np.zeros((size, size)), 0
    for value in eigenvalues:
        if isinstance(value, tuple):
            (real, imaginary), rows = value, slice(at, at + 2)
            matrix[rows, rows] = [[real, imaginary], [-imaginary, real]]
            at += 2
        else:
            matrix[at, at] = value
            at += 1
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
    change = left @ np.diag(np.geomspace(1, condition, size)) @ right
    return change @ matrix @ np.linalg.inv(change)


def dense_leading(matrix):
    values = np.linalg.eigvals(matrix)
    value = values[np.argmax(values.real)]
    return complex(value.real, abs(value.imag))


REST = list(-np.geomspace(1e-3, 1, ROWS - 2))
ISOLATED = {
    "real": [100.0, 30.0, *REST],
    "complex pair": [(100.0, 40.0), *REST],
    "two near each other": [100.0, 99.9, *REST],
    "beside a large negative one": [100.0, -300.0, *REST],
}
HIDDEN = {
    "small beside a large negative part": [0.7, 0.5, *(-np.geomspace(1e-2, 3600, ROWS - 2))],
    "all negative over twelve decades": [*(-np.geomspace(1e-9, 1e3, ROWS))],
    "clustered pairs": [(1.0 + 1e-3 * k, 50.0 - k) for k in range(ROWS // 2)],
    "zero": [0.0] * ROWS,
}


@pytest.mark.parametrize("name", ISOLATED)
def test_an_isolated_leading_eigenvalue_is_certified(name):
    matrix = similar(ISOLATED[name])
    found = leading_eigenvalue(matrix)
    assert found.method == "iterative"
    # Condition 10 of the eigenvectors times a backward error of some hundred roundings.
    assert abs(found.value - dense_leading(matrix)) <= 1e-10 * abs(found.value)
    assert found.others_below < found.value.real
    assert found.backward_error <= leading.TOLERANCE


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_leading_eigenvalue_is_never_guessed(name):
    matrix = similar(HIDDEN[name])
    assert attempt(matrix) is None
    found = leading_eigenvalue(matrix)
    assert found.method == "dense"
    assert found.value == dense_leading(matrix)


def test_the_bound_holds_for_every_other_eigenvalue():
    matrix = similar([100.0, 30.0, 20.0, *REST])
    found = attempt(matrix, wanted=1)
    assert found is not None
    others = sorted(np.linalg.eigvals(matrix).real)[:-1]
    assert max(others) <= found.others_below


def test_a_converged_eigenvalue_that_is_not_the_rightmost_is_refused():
    # Largest modulus belongs to the negative end: everything converges, and the answer would be wrong.
    matrix = similar([1.0, *(-1000.0 - np.arange(ROWS - 1))])
    split = split_off(matrix.__matmul__, ROWS, float(np.linalg.norm(matrix)), wanted=4)
    assert split is None or split.value.real < 0
    assert attempt(matrix, wanted=4) is None


def test_a_warm_start_gives_the_same_value_in_no_more_products():
    matrix = similar(ISOLATED["real"])
    cold = attempt(matrix)
    warm = attempt(matrix * 1.01, start=cold.start)
    assert warm.value == pytest.approx(cold.value * 1.01, rel=1e-10)
    assert warm.products <= cold.products


def test_small_matrices_and_exact_invariant_subspaces_are_read_too():
    assert leading_eigenvalue(np.array([[2.0]])).value == 2
    assert leading_eigenvalue(np.diag([3.0, 1.0])).others_below == 1
    rank_one = np.zeros((ROWS, ROWS))
    rank_one[0, 0] = 5.0
    assert leading_eigenvalue(rank_one).value == pytest.approx(5.0)


def test_a_small_change_of_the_matrix_moves_the_value_by_its_first_order():
    matrix = np.diag([100.0, *REST, -1.0])
    assert leading_eigenvalue(2 * matrix).value == pytest.approx(200.0, rel=1e-12)
    assert leading_eigenvalue(matrix * 1e200).value == pytest.approx(1e202, rel=1e-12)
    assert leading_eigenvalue(matrix * 1e-200).value == pytest.approx(1e-198, rel=1e-12)


def operator_and_critic(scale, rows=ROWS, dtype=torch.float64):
    """A critic whose X* lies ``scale`` times as far out as X: far enough and it diverges."""
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 2, MLPConfig(width=16), generator=generator, dtype=dtype)
    x, x_next = torch.rand(2, rows, 5, generator=generator, dtype=torch.float64).to(dtype)
    options = {"discount": 0.99, "terminals": torch.zeros(rows, dtype=dtype)}
    return operator_of(critic, x, scale * x_next, **options), critic


def test_of_an_operator_it_is_that_of_its_matrix():
    operator, _ = operator_and_critic(30.0)
    found = leading_of_operator(operator)
    assert found.method == "iterative"
    assert found.value == pytest.approx(dense_leading(operator.matrix().numpy()), rel=1e-9)
    assert leading_of_operator(operator, start=found.start).products <= found.products


def test_of_an_operator_nothing_is_guessed():
    assert leading_of_operator(operator_and_critic(0.5)[0]) is None
    assert leading_of_operator(operator_and_critic(30.0, rows=20)[0]) is None


def test_an_operator_in_single_precision_is_refused():
    with pytest.raises(InputError, match="float64"):
        leading_of_operator(operator_and_critic(30.0, dtype=torch.float32)[0])


def test_an_overflowed_operator_has_no_leading_eigenvalue():
    operator, critic = operator_and_critic(30.0)
    with torch.no_grad():
        critic.linears[1].weight *= np.inf
    x = torch.rand(ROWS, 5, dtype=torch.float64)
    assert leading_of_operator(operator_of(critic, x, x, discount=0.9, terminals=torch.zeros(ROWS).double())) is None
    assert leading_of_operator(operator) is not None


def test_a_subspace_that_is_invariant_to_a_part_in_a_billion_only_is_refused():
    """Products that err by that much: an eigenvalue found from them is no certificate of the matrix itself."""
    matrix, rng = similar(ISOLATED["real"]), np.random.default_rng(3)
    norm = float(np.linalg.norm(matrix))

    def product(vectors, error):
        drift = rng.standard_normal(vectors.shape)
        return matrix @ vectors + error * norm * drift / np.linalg.norm(drift) * np.linalg.norm(vectors)

    for error, refused in ((0.0, False), (1e-9, True)):
        split = split_off(lambda vectors, error=error: product(vectors, error), ROWS, norm)
        assert (split is None) is refused


@pytest.mark.parametrize(("residual", "certified"), [(0.0, True), (0.05, True), (0.1, False), (0.2, False)])
def test_what_is_left_over_counts_against_a_certificate(residual, certified):
    """The eigenvalue 1 beside a bound of .9: of the matrix itself each may lie off by the residual."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 1)))[0]
    split = leading.Split(basis, np.array([1.0 + 0j]), residual, 3)
    found = leading._certified(split, 2.0, 0.9)
    assert (found is not None) is certified
    assert found is None or found.backward_error == residual / 2
