"""Every field of a Reading against a slow, independent computation, and when there is no Reading.

The spectral fields are read from linear critics whose matrix is prescribed exactly; the others from networks of
every kind.
"""

import math
from dataclasses import asdict, fields

import pytest
import torch
from hypothesis import event, example, given
from hypothesis import strategies as st
from torch import nn

from properties.oracles import gradient_rows
from properties.strategies.matrices import (
    Block,
    Prescribed,
    Shear,
    linear_critic,
    linear_reading,
    matrices,
    normal_error,
)
from properties.strategies.networks import EVERY_KIND
from properties.strategies.problems import problems
from seem.heading import alignment
from seem.spectrum import CriticReading, eigenvalues, take_reading

EPSILON = torch.finfo(torch.float64).eps
HYPOT = 4 * EPSILON
"""|z| by two libraries: each within an ulp, and the arithmetic on it."""
SEEDS = st.integers(0, 2**32 - 1)
ETAS = st.integers(-12, 2).map(lambda exponent: 2.0**exponent)


@given(case=matrices(), eta=ETAS)
# An eigenvalue of zero is no excitation, and the largest gain of what does not grow.
@example(case=Prescribed((Block(0.0), Block(-0.5))), eta=1.0)
def test_eigenvalue_fields_by_plain_python(case, eta):
    """Bitwise: A, η and the eigenvalues are the same numbers; test_spectrum.py has their accuracy."""
    matrix = case.draw()
    values = eigenvalues(matrix).tolist()
    reading = linear_reading(matrix, eta)
    leading = complex(reading.leading, reading.leading_imaginary)
    others = list(values)
    others.remove(leading)
    if leading.imag:
        others.remove(leading.conjugate())
    gains = {
        excited: max((abs(1 + eta * value) for value in values if (value.real > 0) == excited), default=1.0)
        for excited in (True, False)
    }
    assert reading.step_size == eta
    assert reading.rate == eta * reading.leading
    assert leading.real == max(value.real for value in values)
    assert leading.imag >= 0
    assert reading.second == max((value.real for value in others), default=leading.real)
    assert reading.trailing == min(value.real for value in values)
    assert math.isclose(reading.excitation_gain, gains[True], rel_tol=HYPOT)
    assert math.isclose(reading.overshoot_gain, gains[False], rel_tol=HYPOT)


@given(case=matrices(shears=0, chain=1), eta=ETAS)
def test_eigenvalue_fields_are_those_prescribed(case, eta):
    """Block-diagonal matrices, whose eigenvalues are found up to rounding, so that even equal ones stay in order."""
    reading, exact = linear_reading(case.draw(), eta), case.eigenvalues
    values = list(exact)
    pair = values[0].imag > 0
    slack = 4 * EPSILON * max(abs(value) for value in exact)
    event(f"{'a pair' if pair else 'a real eigenvalue'} of {len({value.real for value in exact})} real parts leads")
    assert abs(reading.leading - values[0].real) <= slack
    assert abs(reading.second - values[min(1 + pair, case.size - 1)].real) <= slack
    assert abs(reading.trailing - values[-1].real) <= slack
    growing = [abs(1 + eta * value) for value in exact if value.real > 0]
    falling = [abs(1 + eta * value) for value in exact if value.real <= 0]
    assert abs(reading.excitation_gain - max(growing, default=1.0)) <= eta * slack + 4 * EPSILON
    assert abs(reading.overshoot_gain - max(falling, default=1.0)) <= eta * slack + 4 * EPSILON


SHEARED_PAIRS = Prescribed(
    (Block(0.0625, 0.0625), Block(0.0625, 0.0625), Block(-128.0)),
    (Shear(0, 1, -1), Shear(0, 4, 1), Shear(0, 4, 4)),
)
"""Two libraries do not agree on all bits of |λ| here."""


@given(case=matrices(), eta=ETAS, seed=SEEDS)
@example(case=SHEARED_PAIRS, eta=1.0, seed=0)
def test_fields_of_matrix_and_error_by_loops(case, eta, seed):
    matrix, error = case.draw(), normal_error(case.size, seed)
    reading, rows = linear_reading(matrix, eta, error), range(case.size)
    a, u = matrix.tolist(), error.tolist()
    au = [math.fsum(a[i][j] * u[j] for j in rows) for i in rows]
    square = math.fsum(value**2 for value in u)
    frobenius = math.sqrt(math.fsum(value**2 for row in a for value in row))
    # n products of entries of A and u, relative to ‖A‖ and ‖u‖: 8n ulps.
    relative = 8 * case.size * EPSILON
    assert abs(reading.rayleigh - math.fsum(u[i] * au[i] for i in rows) / square) <= relative * frobenius
    grown = math.sqrt(math.fsum((u[i] + eta * au[i]) ** 2 for i in rows) / square)
    assert abs(reading.growth - grown) <= relative * (1 + eta * frobenius)
    assert math.isclose(reading.normalised * frobenius, reading.leading, rel_tol=relative, abs_tol=0)
    assert -1 - relative <= reading.normalised <= 1 + relative
    assert math.isclose(reading.td_norm, math.sqrt(square), rel_tol=relative)
    assert math.isclose(reading.kernel_norm, math.sqrt(case.size), rel_tol=relative)
    assert reading.rows == case.size
    sizes = [abs(value) for value in eigenvalues(matrix).tolist()]
    condition = min(sizes) / max(sizes) if max(sizes) else 0.0
    assert math.isclose(reading.reciprocal_condition, condition, rel_tol=HYPOT)


@given(case=matrices(), seed=SEEDS)
def test_the_numerical_abscissa_is_the_largest_rayleigh_quotient(case, seed):
    """No u exceeds it; adding more to the diagonal makes the symmetric part definite, adding less does not."""
    matrix, error = case.draw(), normal_error(case.size, seed)
    reading = linear_reading(matrix, 1.0, error)
    # A symmetric eigenvalue and a Cholesky factorisation are good to 10 n ulps of the norm each.
    slack = 20 * case.size * EPSILON * matrix.norm().item()
    assert reading.rayleigh <= reading.numerical_abscissa + slack
    identity = torch.eye(case.size, dtype=torch.float64)
    shifts = (reading.numerical_abscissa + 2 * slack, reading.numerical_abscissa - 2 * slack)
    above, below = (shift * identity - (matrix + matrix.T) / 2 for shift in shifts)
    assert matrix.norm() == 0 or torch.linalg.cholesky_ex(above).info == 0
    assert torch.linalg.cholesky_ex(below).info > 0 or not matrix.norm()


@given(
    case=problems(**EVERY_KIND),
    lr=st.floats(1e-6, 10.0),
    step=st.integers(0, 10**9),
    index=st.integers(0, 1),
    seed=SEEDS,
)
def test_fields_of_networks_by_loops(case, lr, step, index, seed):
    problem = case.draw()
    (critic,), rows = problem.critics, case.critic.rows
    error = normal_error(rows, seed)
    options = {"discount": case.discount, "lr": lr, "step": step, "index": index}
    reading = take_reading(critic, problem.x, problem.x_next, error, problem.terminals, **options)
    assert reading is not None
    assert (reading.step, reading.critic, reading.rows, reading.step_size) == (step, index, rows, 2 * lr / rows)
    phi, phi_next = (torch.cat([*gradient_rows(critic, x).values()], 1) for x in (problem.x, problem.x_next))
    gram = phi @ phi.T
    matrix = torch.stack(
        [
            case.discount * (1 - d) * (phi @ q) - phi @ p
            for d, q, p in zip(problem.terminals, phi_next, phi, strict=True)
        ]
    )
    values = [critic(row[None]).item() for row in problem.x]
    theta = torch.cat([parameter.detach().flatten() for parameter in critic.parameters()])
    pushed = -phi.T @ error
    sizes = pushed.norm() * theta.norm()
    expected = {
        "rayleigh": error @ matrix @ error / error.square().sum(),
        "gradient_norm": pushed.norm(),
        "kernel_norm": gram.square().sum().sqrt(),
        "td_norm": error.square().sum().sqrt(),
        "mean_abs_q": sum(map(abs, values)) / rows,
        "max_abs_q": max(map(abs, values)),
        "parameter_norm": theta.square().sum().sqrt(),
        "alignment": pushed @ theta / sizes if sizes > 0 else 0.0,
        "growth": (error + reading.step_size * matrix @ error).norm() / error.norm(),
        "normalised": reading.leading / matrix.norm().clamp_min(1e-300),
    }
    # Two orders of summation and two ways to differentiate: see test_kernel.py for the kernel itself.
    units = {
        "rayleigh": gram.norm() + phi_next.norm() * phi.norm(),
        "growth": 1 + lr * (1 + phi_next.norm()) * phi.norm(),
        # By its square, whose rounding a small gradient keeps the root of.
        "gradient_norm": 1e2 * phi.norm() * error.norm(),
    }
    for name, value in expected.items():
        unit = max(float(units.get(name, 0.0)), abs(float(value)), 1.0)
        assert abs(getattr(reading, name) - float(value)) <= 1e-9 * unit, name


def test_the_defaults_are_the_first_critic_at_the_start():
    reading = linear_reading(torch.zeros(1, 1, dtype=torch.float64), 1.0)
    assert (reading.step, reading.critic) == (0, 0)


@given(case=matrices(), eta=ETAS)
def test_without_an_error_there_is_neither_growth_nor_direction(case, eta):
    reading = linear_reading(case.draw(), eta, torch.zeros(case.size, dtype=torch.float64))
    assert (reading.td_norm, reading.rayleigh, reading.growth, reading.alignment) == (0, 0, 0, 0)


@given(case=matrices(), eta=ETAS, exponent=st.integers(-200, 200), seed=SEEDS)
def test_scaling_the_error_changes_its_norm_and_the_gradients_only(case, eta, exponent, seed):
    matrix, error = case.draw(), normal_error(case.size, seed)
    plain, scaled = linear_reading(matrix, eta, error), linear_reading(matrix, eta, -error * 2.0**exponent)
    # Powers of two, and signs, commute with rounding.
    changed = {name: getattr(plain, name) * 2.0**exponent for name in ("td_norm", "gradient_norm")}
    assert asdict(scaled) == asdict(plain) | changed


@given(case=matrices(stiff=False), eta=ETAS)
def test_single_precision_reads_the_same_where_it_rounds_nothing(case, eta):
    """A and X* have at most 24 digits here, products with X = I are exact: float32 is widened, not computed in."""
    matrix = case.draw()
    critic, x, x_next = linear_critic(matrix)
    assert torch.equal(x_next.float().double(), x_next)
    error = torch.arange(1, case.size + 1)
    options = {"discount": 1.0, "lr": eta * case.size / 2}
    narrow = take_reading(critic.float(), x.float(), x_next.float(), error.float(), (0 * error).float(), **options)
    assert narrow == linear_reading(matrix, eta, error.double())


IN_RANGE = {"gram": st.integers(-100, 100), "successor": st.integers(-100, 100), "error": st.integers(-200, 200)}
OVERFLOWING = {
    "the matrix": {"successor": st.integers(700, 900)},
    # With X* = X and γ = 1 the matrix is 0.
    "the kernel": {"gram": st.integers(300, 500), "successor": st.none()},
    "the error": {"error": st.integers(600, 1000)},
    "nothing": {},
}
"""Exponents of X, X* and u; None is the exponent of X."""


@pytest.mark.parametrize("lost", OVERFLOWING)
@given(data=st.data(), rows=st.integers(2, 3))
def test_there_is_no_reading_exactly_when_a_norm_overflows(lost, data, rows):
    """X = 2^a I and X* = 2^b I: G = 4^a I, A = (2^(a+b) - 4^a) I; each of A, G and u may leave the range alone."""
    exponents = data.draw(st.fixed_dictionaries(IN_RANGE | OVERFLOWING[lost]), label="exponents")
    gram = exponents["gram"]
    successor = gram if exponents["successor"] is None else exponents["successor"]
    critic = nn.Linear(rows, 1, bias=False, dtype=torch.float64)
    identity, ones = torch.eye(rows, dtype=torch.float64), torch.ones(rows, dtype=torch.float64)
    x, x_next, u = 2.0**gram * identity, 2.0**successor * identity, 2.0 ** exponents["error"] * ones
    reading = take_reading(critic, x, x_next, u, 0 * ones, discount=1.0, lr=rows / 2)
    if lost != "nothing":
        assert reading is None
    else:
        assert reading is not None
        assert all(math.isfinite(getattr(reading, field.name)) for field in fields(CriticReading))
        assert reading.leading == 2.0 ** (gram + successor) - 4.0**gram


@given(
    case=problems(normalised=False, depth=(1, 3), width=(2, 4)),
    exponent=st.integers(-200, 200),
    seed=SEEDS,
)
def test_alignment_is_a_cosine(case, exponent, seed):
    problem, error = case.draw(), normal_error(case.critic.rows, seed)
    cosine = alignment(problem.critics[0], problem.x, error)
    # 1e-12: a few hundred products, divided by norms of them.
    assert -1 - 1e-12 <= cosine <= 1 + 1e-12
    # Powers of two and signs commute with rounding.
    assert alignment(problem.critics[0], problem.x, -error * 2.0**exponent) == -cosine
    assert alignment(problem.critics[0], problem.x, 0 * error) == 0


@given(case=problems(normalised=False, depth=(1, 3), width=(2, 4)), exponent=st.integers(0, 100), seed=SEEDS)
def test_alignment_of_single_precision_bears_errors_whose_squares_overflow(case, exponent, seed):
    """Errors near 2^64 and beyond: u is scaled in double precision before it meets the critic."""
    problem, error = case.draw(), normal_error(case.critic.rows, seed).float()
    critic, x = problem.critics[0].float(), problem.x.float()
    assert alignment(critic, x, error * 2.0**exponent) == alignment(critic, x, error)
