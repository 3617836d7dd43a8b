"""The SEEM matrix, its eigenvalues and a Reading, against loops, hand-computed numbers and Baird's star."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from seem.networks import Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import alignment, eigenvalues, seem_matrix, take_reading, twin_seem_matrix

SHAPES = [
    MLPConfig(depth=1),
    MLPConfig(depth=2, width=6, bias=False),
    MLPConfig(depth=3, width=6, activation="tanh"),
    MLPConfig(depth=3, width=6, normalisation="layer"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def linear(weights: list[float]) -> nn.Linear:
    """A linear critic without bias, whose kernel is z·x."""
    critic = nn.Linear(len(weights), 1, bias=False, dtype=torch.float64)
    critic.weight.data.copy_(torch.tensor([weights]))
    return critic


def critic_of(config: MLPConfig, dtype: torch.dtype = torch.float64) -> Critic:
    return Critic(3, 2, config, generator=generator(), dtype=dtype)


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


def hand_made_reading():
    """X = I, X* a rotation and a fourfold step, γ = 1/2: A = [[-1, -1], [1, -1]] ⊕ [1], and θ = (1, 2, -2)."""
    x = torch.eye(3, dtype=torch.float64)
    x_next = torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 4.0]], dtype=torch.float64)
    error = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    options = {"discount": 0.5, "lr": 0.75, "step": 7, "index": 1}
    return take_reading(linear([1.0, 2.0, -2.0]), x, x_next, error, torch.zeros(3, dtype=torch.float64), **options)


def test_a_reading_against_numbers_by_hand():
    expected = {
        "step": 7,
        "critic": 1,
        "rows": 3,
        "step_size": 0.5,  # 2·0.75/3
        "leading": 1.0,
        "leading_imaginary": 0.0,
        "second": -1.0,
        "trailing": -1.0,
        "normalised": 1 / math.sqrt(5),  # ‖A‖_F² = 4 + 1
        "numerical_abscissa": 1.0,
        "rayleigh": 0.28,  # Au = (-3, 3, 4); uᵀAu = -9 + 16 = 7 over uᵀu = 25
        "growth": math.sqrt(40.5) / 5,  # u + Au/2 = (1.5, 1.5, 6)
        "excitation_gain": 1.5,
        "overshoot_gain": math.sqrt(0.5),  # |1 + (-1 + i)/2|
        "alignment": 1 / 3,  # -u·θ = -(3 - 8) over 5·3
        "reciprocal_condition": 1 / math.sqrt(2),  # 1 beside |-1 ± i|
        "gradient_norm": 5.0,  # X = I
        "kernel_norm": math.sqrt(3),
        "td_norm": 5.0,
        "mean_abs_q": 5 / 3,
        "max_abs_q": 2.0,
        "parameter_norm": 3.0,
    }
    reading = hand_made_reading()
    # 1e-14: a dozen float64 operations on numbers of size 1.
    assert asdict(reading) == pytest.approx(expected, rel=1e-14, abs=1e-14)
    assert reading.rate == pytest.approx(0.5, rel=1e-14)


def test_a_complex_pair_counts_once():
    """γX* - I with a leading rotation: λ = 1 ± 2i, then -1."""
    x = torch.eye(3, dtype=torch.float64)
    x_next = torch.tensor([[4.0, -4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    zeros = torch.zeros(3, dtype=torch.float64)
    reading = take_reading(linear([1.0, 1.0, 1.0]), x, x_next, zeros, zeros, discount=0.5, lr=1.5)
    # 1e-14: eigenvalues of a 2 × 2 block.
    assert reading.leading == pytest.approx(1, abs=1e-14)
    assert reading.leading_imaginary == pytest.approx(2, abs=1e-14)
    assert reading.second == pytest.approx(-1, abs=1e-14)
    assert reading.excitation_gain == pytest.approx(math.hypot(2, 2), abs=1e-14)
    assert (reading.rayleigh, reading.growth, reading.alignment, reading.td_norm) == (0, 0, 0, 0)


def test_the_numerical_abscissa_sees_growth_that_no_eigenvalue_has():
    """A = [[-1, 4], [0, -1]] has λ = -1 twice, and grows at rate 1 along (1, 1)."""
    x = torch.eye(2, dtype=torch.float64)
    x_next = torch.tensor([[0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    error = torch.ones(2, dtype=torch.float64)
    reading = take_reading(linear([1.0, 1.0]), x, x_next, error, torch.zeros(2).double(), discount=1.0, lr=0.1)
    # 1e-14 for a symmetric matrix and a quotient; 1e-7 for a defective eigenvalue, which rounds like its square root.
    assert reading.numerical_abscissa == pytest.approx(1, abs=1e-14)
    assert reading.rayleigh == pytest.approx(1, abs=1e-14)
    assert reading.leading == pytest.approx(-1, abs=1e-7)
    assert reading.excitation_gain == 1.0


def drawn_reading(config: MLPConfig, discount: float, seed: int = 0, dtype: torch.dtype = torch.float64):
    x, x_next, error = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 50) * 1.5, randn(6, seed=seed + 99)
    terminals = torch.tensor([0, 0, 1, 0, 0, 0])
    arrays = (values.to(dtype) for values in (x, x_next, error, terminals))
    return take_reading(critic_of(config, dtype), *arrays, discount=discount, lr=0.3)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_without_bootstrap_nothing_excites_itself(config):
    """γ = 0 leaves -G(X, X), which is negative semi-definite."""
    reading = drawn_reading(config, 0.0)
    # A kernel of lower rank has zero eigenvalues, which round to about 1e-16 of its norm.
    assert reading.leading <= 1e-14 * reading.kernel_norm
    assert reading.numerical_abscissa <= 1e-14 * reading.kernel_norm
    assert reading.trailing < 0


@pytest.mark.parametrize("config", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_orders_and_ranges_within_a_reading(config, seed):
    reading = drawn_reading(config, 0.99, seed)
    assert -1 <= reading.normalised <= 1
    assert -1 <= reading.alignment <= 1
    assert reading.trailing <= reading.second <= reading.leading
    # 1e-13: both are eigenvalues of a 6 × 6 matrix with a norm of about 30.
    assert max(reading.leading, reading.rayleigh) <= reading.numerical_abscissa + 1e-13 * reading.kernel_norm
    assert reading.mean_abs_q <= reading.max_abs_q
    assert reading.rows == 6
    assert reading.step_size == 2 * 0.3 / 6


@pytest.mark.parametrize("bias", [True, False])
def test_the_predicted_growth_is_the_real_one_for_a_linear_critic(bias):
    """A linear critic has no higher orders: ‖u'‖/‖u‖ after a real gradient step is what the reading says."""
    critic, x, x_next = critic_of(MLPConfig(depth=1, bias=bias)), randn(6, 5), randn(6, 5, seed=1) * 2
    rewards, terminals = randn(6, seed=2), torch.tensor([0, 1, 0, 0, 0, 0], dtype=torch.float64)

    def target():
        return rewards + 0.9 * (1 - terminals) * critic(x_next).squeeze(1)

    def error():
        return (critic(x).squeeze(1) - target()).detach()

    before = error()
    reading = take_reading(critic, x, x_next, before, terminals, discount=0.9, lr=0.4)
    loss = nn.functional.mse_loss(critic(x).squeeze(1), target().detach())
    loss.backward()
    torch.optim.SGD(critic.parameters(), lr=0.4).step()
    # 1e-12: some hundred float64 operations; the linear theory itself is exact.
    assert reading.growth == pytest.approx((error().norm() / before.norm()).item(), rel=1e-12)
    assert reading.growth > 1.05


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_alignment_is_one_on_the_ray(depth):
    """With one row and the error that pulls θ outwards, a bias-free linear network of width 1 has Φᵀu ∝ ∓θ.

    Balanced layers (equal weights) are needed: ∂f/∂w_l = f/w_l is along θ only then.
    """
    critic = Critic(1, 0, MLPConfig(depth=depth, width=1, bias=False), generator=generator(), dtype=torch.float64)
    for parameter in critic.parameters():
        parameter.data.fill_(0.5)
    x, error = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    # 1e-15: three products and a quotient.
    assert alignment(critic, x, -error) == pytest.approx(1, abs=1e-15)
    assert alignment(critic, x, error) == pytest.approx(-1, abs=1e-15)
    assert alignment(critic, x, 0 * error) == 0


def test_alignment_survives_errors_whose_squares_overflow_float32():
    """Near its crash a float32 critic has errors beyond 1e19, where the norm in float32 is infinite."""
    critic, x = critic_of(SHAPES[2], torch.float32), randn(6, 5).float()
    error = randn(6, seed=3).float()
    expected = alignment(critic, x, error)
    assert abs(expected) > 0.01
    # 1e-5: float32 sums of a hundred products, each good to 6e-8, with some cancellation.
    assert alignment(critic, x, error * 2.0**90) == pytest.approx(expected, rel=1e-5)


def test_float32_reads_what_float64_reads():
    wide, narrow = (asdict(drawn_reading(SHAPES[2], 0.99, dtype=dtype)) for dtype in (torch.float64, torch.float32))
    # 1e-4: float32 rounding 6e-8 times the condition of the eigenvalues, about a hundred.
    assert narrow == pytest.approx(wide, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_overflowed_kernel_gives_no_reading(dtype):
    critic = linear([1.0, 1.0]).to(dtype)
    x, ones = torch.full((2, 2), torch.finfo(dtype).max / 2, dtype=dtype), torch.ones(2, dtype=dtype)
    assert take_reading(critic, x, x, ones, 0 * ones, discount=0.9, lr=0.1) is None
    assert take_reading(critic, x / x, x / x, ones * torch.nan, 0 * ones, discount=0.9, lr=0.1) is None
    assert take_reading(critic, x / x, x / x, ones, 0 * ones, discount=0.9, lr=0.1) is not None


def bairds_star(discount: float):
    """Baird's star with uniform states: f(i) = 2w_i + w_8 for i ≤ 6, f(7) = w_7 + 2w_8, successor always state 7.

    Source: Baird 1995, the star problem; with an equal share of every state the symmetric mode is the
    2 × 2 matrix [[12γ - 10, 5γ - 2], [12γ - 12, 5γ - 5]] of trace 17γ - 15 and positive determinant.
    """
    features = torch.zeros(7, 8, dtype=torch.float64)
    for state in range(6):
        features[state, state], features[state, 7] = 2, 1
    features[6, 6], features[6, 7] = 1, 2
    zeros = torch.zeros(7, dtype=torch.float64)
    critic = linear([1.0] * 6 + [10.0, 1.0])
    return take_reading(critic, features, features[6:].expand(7, 8), zeros, zeros, discount=discount, lr=0.1)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.8, 0.88, 15 / 17 - 1e-9])
def test_bairds_star_is_stable_up_to_its_discount(discount):
    assert bairds_star(discount).leading < 0


@pytest.mark.parametrize("discount", [15 / 17 + 1e-9, 0.89, 0.95, 0.999])
def test_bairds_star_diverges_above_its_discount(discount):
    """The eigenvalue is (17γ - 15)/2 while the mode is a complex pair, and changes sign at γ = 15/17."""
    reading = bairds_star(discount)
    assert reading.leading > 0
    trace, determinant = 17 * discount - 15, 26 * (1 - discount)
    square = trace**2 - 4 * determinant
    expected = (trace + math.sqrt(square)) / 2 if square > 0 else trace / 2
    # 1e-12: a 7 × 7 matrix with entries up to 5.
    assert reading.leading == pytest.approx(expected, abs=1e-12)
    assert (reading.leading_imaginary > 0) == (square < 0)


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


def test_a_reading_is_frozen():
    reading = hand_made_reading()
    assert replace(reading, leading=2.0).rate == 1.0
    with pytest.raises(AttributeError):
        reading.leading = 2.0
