"""The SEEM matrix of one critic and of twins, and its eigenvalues, against loops and numbers by hand."""

import pytest
import torch

from reference.tests.spectrum_cases import SHAPES, critic_of, generator, randn
from seem.networks import Critic
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix, twin_seem_matrix


def test_the_matrix_has_rows_of_successors_and_drops_terminal_ones():
    gram, gram_next = randn(2, 4, 4)
    terminals = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    matrix = seem_matrix(gram, gram_next, 0.5, terminals)
    for i in range(4):  # the error of row i; pushed by row j
        for j in range(4):
            bootstrap = 0.0 if terminals[i] == 1 else 0.5 * gram_next[i, j]  # a power of two: bitwise
            assert matrix[i, j] == bootstrap - gram[i, j]


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_the_matrix_equals_dot_products_of_per_sample_gradients(config):
    """A_ij = γ(1 - d_i)∇f(x*_i)·∇f(x_j) - ∇f(x_i)·∇f(x_j): the row is the sample whose error changes."""
    critic, x, x_next = critic_of(config), randn(4, 5), randn(4, 5, seed=1)
    terminals = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)

    def gradient(row):
        parts = torch.autograd.grad(critic(row[None]).sum(), list(critic.parameters()))
        return torch.cat([part.flatten() for part in parts])

    phi, phi_next = ([gradient(row) for row in rows] for rows in (x, x_next))
    expected = [
        [0.9 * (1 - d) * (q @ p) - o @ p for p in phi] for d, q, o in zip(terminals, phi_next, phi, strict=True)
    ]
    matrix = seem_matrix(*gram_blocks(critic, x, x_next), 0.9, terminals)
    # 1e-12: sums of a hundred float64 products of size 1.
    torch.testing.assert_close(matrix, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not torch.allclose(matrix, matrix.T)


def test_eigenvalues_fall_and_complex_pairs_stay_together():
    block = torch.block_diag(
        torch.tensor([[-1.0, -2.0], [2.0, -1.0]]), torch.tensor([[3.0]]), torch.tensor([[0.0, -5.0], [5.0, 0.0]])
    ).double()
    values = eigenvalues(block)
    # 1e-14: a 2 × 2 block's eigenvalues in float64, of size 5.
    expected = torch.tensor([3, 5j, -5j, -1 + 2j, -1 - 2j], dtype=torch.complex128)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)
    assert values.device.type == "cpu"


def test_eigenvalues_keep_their_trace_and_determinant_under_any_scale():
    matrix = randn(6, 6)
    for scale in (1.0, 2.0**500, 2.0**-500):
        values = eigenvalues(matrix * scale) / scale
        assert (values.real.diff() <= 0).all()
        # 1e-12: six eigenvalues of size 1 to 4, each good to about 1e-15 times its condition number.
        assert abs(values.sum() - matrix.trace()) < 1e-12
        assert abs(values.prod() - torch.linalg.det(matrix)) < 1e-12


def test_eigenvalues_of_the_zero_matrix_are_zero():
    assert torch.equal(eigenvalues(torch.zeros(3, 3)), torch.zeros(3, dtype=torch.complex128))


def blocks():
    """Gram blocks of two different critics, a discount and a terminal mask."""
    x, x_next = randn(4, 5), randn(4, 5, seed=1)
    critics = [Critic(3, 2, SHAPES[2], generator=generator(seed), dtype=torch.float64) for seed in (0, 1)]
    grams, grams_next = zip(*(gram_blocks(critic, x, x_next) for critic in critics), strict=True)
    return grams, grams_next, 0.9, torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)


def test_twins_of_which_the_first_is_always_smaller_are_a_single_critic_and_a_follower():
    grams, grams_next, discount, terminals = blocks()
    matrix = twin_seem_matrix(grams, grams_next, discount, terminals, torch.ones(4, dtype=torch.float64))
    single = seem_matrix(grams[0], grams_next[0], discount, terminals)
    assert torch.equal(matrix[:4, :4], single)
    assert torch.equal(matrix[:4, 4:], torch.zeros(4, 4, dtype=torch.float64))
    # 1e-15: minus G1 and plus G1 again, entries of order 1.
    assert torch.allclose(matrix[4:, :4], single + grams[0], rtol=0, atol=1e-15)
    assert torch.equal(matrix[4:, 4:], -grams[1])
    mirrored = twin_seem_matrix(grams[::-1], grams_next[::-1], discount, terminals, torch.zeros(4).double())
    swapped = torch.arange(8).roll(4)
    assert torch.equal(mirrored[swapped][:, swapped], matrix)


def test_twin_matrix_against_a_loop():
    grams, grams_next, discount, terminals = blocks()
    smaller = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    matrix = twin_seem_matrix(grams, grams_next, discount, terminals, smaller)
    for i in range(8):
        for j in range(8):
            twin, row, source, column = i // 4, i % 4, j // 4, j % 4
            chosen = smaller[row] == 1 - source
            expected = discount * (1 - terminals[row]) * grams_next[source][row, column] if chosen else 0.0
            expected = expected - (grams[twin][row, column] if twin == source else 0.0)
            # 1e-15: the same two products, in another order.
            assert matrix[i, j].item() == pytest.approx(float(expected), abs=1e-15)


def test_identical_twins_are_one_critic_in_the_common_mode_and_forget_their_difference():
    (gram, _), (gram_next, _), discount, terminals = blocks()
    smaller = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    matrix = twin_seem_matrix((gram, gram), (gram_next, gram_next), discount, terminals, smaller)
    u = randn(4, seed=5)
    common = matrix @ torch.cat((u, u))
    # 1e-14: sums of eight float64 products of size 1.
    expected = seem_matrix(gram, gram_next, discount, terminals) @ u
    torch.testing.assert_close(common, torch.cat((expected, expected)), rtol=0, atol=1e-14)
    first, second = (matrix @ torch.cat((u, -u))).split(4)
    torch.testing.assert_close(first - second, -2 * gram @ u, rtol=0, atol=1e-14)
