"""Transient growth: what the numerical abscissa, the Rayleigh quotient and one step's growth say, for any A.

Hypotheses: A is constant; bounds e^{tω} hold in continuous time only.
"""

import math

import pytest
import torch
from hypothesis import event, example, given, target
from hypothesis import strategies as st
from scipy import linalg

from properties.strategies.matrices import Block, Prescribed, Shear, linear_reading, matrices, normal_error

EPSILON = torch.finfo(torch.float64).eps
ETAS = st.integers(-12, 2).map(lambda exponent: 2.0**exponent)
SEEDS = st.integers(0, 2**32 - 1)


def stretch(matrix: torch.Tensor) -> tuple[float, torch.Tensor]:
    """ω and the u that attains it: the largest eigenvalue of the symmetric part and its eigenvector."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return values[-1].item(), vectors[:, -1]


@pytest.mark.claim("SIGN-RAYLEIGH")
@given(case=matrices(), eta=ETAS, seed=SEEDS)
def test_one_step_grows_by_the_rayleigh_quotient_and_a_square(case, eta, seed):
    """‖(I + ηA)u‖²/‖u‖² = 1 + 2η uᵀAu/uᵀu + η²‖Au‖²/‖u‖², and at most 1 + 2ηω + η²‖A‖²."""
    matrix, error = case.draw(), normal_error(case.size, seed)
    reading = linear_reading(matrix, eta, error)
    squared = 1 + 2 * eta * reading.rayleigh + (eta * (matrix @ error).norm() / error.norm()).item() ** 2
    unit = (1 + eta * matrix.norm().item()) ** 2
    # n products a row, in three sums: 20 n ulps of the largest term.
    slack = 20 * case.size * EPSILON * unit
    assert abs(reading.growth**2 - squared) <= slack
    largest = torch.linalg.matrix_norm(matrix, 2).item()
    bound = 1 + 2 * eta * reading.numerical_abscissa + (eta * largest) ** 2
    target(reading.growth**2 / max(bound, 1e-9))
    assert reading.growth**2 <= bound + slack


@pytest.mark.claim("SIGN-ABSCISSA")
@given(case=matrices(), eta=ETAS)
def test_the_abscissa_is_attained(case, eta):
    """At the top eigenvector of (A + Aᵀ)/2 the Rayleigh quotient is ω, which no eigenvalue's real part exceeds."""
    matrix = case.draw()
    omega, direction = stretch(matrix)
    reading = linear_reading(matrix, eta, direction)
    # A symmetric eigenpair is good to 10 n ulps of the norm; the quotient has n² products.
    slack = 20 * case.size**2 * EPSILON * matrix.norm().item()
    assert abs(reading.rayleigh - omega) <= slack
    assert abs(reading.numerical_abscissa - omega) <= slack
    assert reading.numerical_abscissa >= case.eigenvalues[0].real - slack
    assert reading.growth >= 1 + eta * (omega - slack)


@pytest.mark.claim("SIGN-ABSCISSA")
@given(case=matrices(), size=st.floats(2.0**-8, 4.0))
# torch's matrix exponential is wrong by up to 2e-10 here (pytorch/pytorch#196592), scipy's is not.
@example(case=Prescribed((Block(0.0625), Block(0.0625))), size=0.0625)
def test_the_flow_stays_between_seem_and_the_abscissa(case, size):
    """e^{t max Re λ} ≤ ‖e^{tA}‖ ≤ e^{tω} in continuous time."""
    matrix = case.draw()
    time = size / max(matrix.norm().item(), 1e-9)
    reading = linear_reading(matrix, 1.0)
    grown = float(linalg.norm(linalg.expm(time * matrix.numpy()), 2))
    # 1e-11: a matrix exponential of norm up to e⁴, by scaling and squaring.
    assert math.exp(time * case.eigenvalues[0].real) * (1 - 1e-11) <= grown
    assert grown <= math.exp(time * reading.numerical_abscissa) * (1 + 1e-11) + 1e-11 * math.exp(size)


@pytest.mark.claim("SIGN-TRANSIENT")
@given(case=matrices(leading="decaying", shears=2), eta=ETAS)
def test_decaying_errors_may_grow_first_and_the_reading_says_so(case, eta):
    """All Re λ < 0 but ω > 0: some u grows at first, at every step size; below η* it ends in decay."""
    matrix = case.draw()
    omega, direction = stretch(matrix)
    reading = linear_reading(matrix, eta, direction)
    # The eigenvalue of a symmetric matrix: 20 n ulps of its norm.
    grows = omega > 20 * case.size * EPSILON * matrix.norm().item()
    event("transient growth" if grows else "none")
    assert reading.rayleigh > 0 or not grows
    assert reading.growth > 1 or not grows or eta * omega < 4 * EPSILON


@given(case=matrices(shears=0, chain=1))
def test_normal_matrices_have_no_transient_growth(case):
    """With orthogonal eigenvectors ω is the largest real part: SEEM says what happens this step as well."""
    reading = linear_reading(case.draw(), 1.0)
    # Both are eigenvalues of block-diagonal matrices of this size, good to a few ulps of the largest entry.
    assert abs(reading.numerical_abscissa - reading.leading) <= 8 * EPSILON * case.draw().abs().max()


@given(factor=st.sampled_from((1, 2, 4)), steep=st.integers(1, 16))
def test_the_sheared_pair_grows_exactly_when_its_shear_exceeds_the_gap(factor, steep):
    """A = [[-1, k(1 - s)], [0, -s]]: ω > 0 exactly when k²(1 - s)² > 4s, whatever SEEM = -min(1, s) says."""
    case = Prescribed((Block(-1.0), Block(-float(steep))), (Shear(0, 1, factor),))
    reading = linear_reading(case.draw(), 1.0)
    assert reading.leading == -1
    # The determinant of the symmetric part, s - k²(1 - s)²/4, is never 0 for these integers but at k = s = 1 … 16.
    assert (reading.numerical_abscissa > 0) == (factor**2 * (1 - steep) ** 2 > 4 * steep)


@pytest.mark.claim("SIGN-ABSCISSA-DISCRETE")
def test_in_discrete_time_the_bound_by_the_abscissa_fails():
    """A = -3 at η = 1: one step doubles u, while e^{ηω} = e^{-3}."""
    matrix, one = torch.tensor([[-3.0]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    reading = linear_reading(matrix, 1.0, one)
    assert (reading.numerical_abscissa, reading.growth) == (-3, 2)


@pytest.mark.claim("SIGN-TRANSIENT")
def test_with_every_real_part_negative_u_can_grow_sevenfold():
    """λ = -1 and -16 with a shear of 4: u = (0, 1) reaches more than three times its length, then decays below it."""
    case = Prescribed((Block(-1.0), Block(-16.0)), (Shear(0, 1, 4),))
    u, sizes = torch.tensor([0.0, 1.0], dtype=torch.float64), []
    for _ in range(400):
        u = u + 2.0**-6 * case.draw() @ u
        sizes.append(u.norm().item())
    assert max(sizes) > 3
    assert sizes[-1] < 0.01
