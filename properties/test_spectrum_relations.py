"""How the spectrum and the reading answer to a change of the problem, for critics of every kind.

Non-normal matrices have ill-conditioned eigenvalues, so spectra are compared by their power sums Σλ^k = tr A^k,
which determine them and are as well-conditioned as the entries.
"""

from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import assume, event, given
from hypothesis import strategies as st

from properties.oracles import gradient_rows
from properties.strategies.networks import EVERY_KIND, PIECEWISE_LINEAR, Case, powers_of_two
from properties.strategies.problems import Problem, ProblemCase, problems
from properties.strategies.scales import discounts
from seem.networks import MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import CriticReading, eigenvalues, seem_matrix, take_reading, twin_seem_matrix

SMALL = {"normalised": False, "depth": (1, 3), "width": (2, 4)}
"""Relations that hold for any module are tried on networks that are quick to make."""
HOMOGENEOUS = {"activations": PIECEWISE_LINEAR, "bias": False, "normalised": False}


def read(problem: Problem, error: torch.Tensor, lr: float = 0.1) -> CriticReading:
    """The reading of the only critic."""
    arguments = problem.critics[0], problem.x, problem.x_next, error, problem.terminals
    reading = take_reading(*arguments, discount=problem.discount, lr=lr)
    assert reading is not None
    return reading


def size(problem: Problem) -> float:
    """‖G(X, X)‖ + ‖G(X*, X)‖: what rounding in A is measured by, since A is their difference."""
    return sum(block.norm().item() for block in gram_blocks(problem.critics[0], problem.x, problem.x_next))


def assert_power_sums(values: torch.Tensor, expected: list[torch.Tensor], unit: float) -> None:
    """Σλ^k is the sum of the other spectra's, within 1e-11 of k·unit^k: thousands of ulps for the kernels' rounding."""
    for k in range(1, len(values) + 1):
        gap = values.pow(k).sum() - sum(part.pow(k).sum() for part in expected)
        assert abs(gap) <= 1e-11 * k * max(unit, 1e-20) ** k, f"power sum {k} differs by {abs(gap):.3g}"


@pytest.mark.claim("SIGN-PARAMETER-SPACE")
@given(case=problems(depth=(1, 2), width=(2, 3), inputs=(1, 2), rows=(1, 4)))
def test_the_spectrum_is_that_of_the_parameter_space(case):
    """(γDΦ* - Φ)Φᵀ, M×M on errors, and Φᵀ(γDΦ* - Φ), P×P on parameters, share all but zero eigenvalues."""
    problem = case.draw()
    phi, phi_next = (
        torch.cat([*gradient_rows(problem.critics[0], x).values()], 1) for x in (problem.x, problem.x_next)
    )
    bootstrap = problem.discount * (1 - problem.terminals)[:, None] * phi_next - phi
    in_parameters = eigenvalues(phi.T @ bootstrap)
    event(f"{'more' if len(in_parameters) > case.critic.rows else 'no more'} parameters than rows")
    assert_power_sums(eigenvalues(problem.matrix()), [in_parameters], size(problem))


@given(case=problems(**EVERY_KIND), data=st.data())
def test_the_order_of_rows_does_not_matter(case, data):
    problem = case.draw()
    order = torch.tensor(data.draw(st.permutations(range(case.critic.rows)), label="order"))
    rows = {name: getattr(problem, name)[order] for name in ("x", "x_next", "rewards", "terminals")}
    permuted, unit = replace(problem, **rows), size(problem)
    assert_power_sums(eigenvalues(permuted.matrix()), [eigenvalues(problem.matrix())], unit)
    before, after = read(problem, problem.errors(0.0)), read(permuted, permuted.errors(0.0))
    for name in ("rayleigh", "numerical_abscissa", "kernel_norm"):
        assert abs(getattr(before, name) - getattr(after, name)) <= 1e-11 * unit, name
    for name in ("growth", "alignment", "td_norm", "mean_abs_q", "max_abs_q", "parameter_norm"):
        # 1e-9: other orders of summation, in networks whose own rounding a normalisation may enlarge.
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-9, abs=1e-9), name


@given(case=problems(**HOMOGENEOUS), exponent=st.integers(-8, 8))
def test_scaling_the_parameters_scales_the_reading_exactly(case, exponent):
    """θ → cθ: A by c^(2L-2), Q by c^L, ‖θ‖ by c; with lr by c^(2-2L) the gains and the growth stay, all bitwise.

    Hypothesis: nothing underflows. Eigenvalues square A's entries, so γ is 0 or its square far above 2^-1022.
    """
    assume(not 0 < case.discount < 2**-200)
    problem, depth, c = case.draw(), case.critic.config.depth, 2.0**exponent
    error = problem.errors(0.0)
    before = asdict(read(problem, error))
    with torch.no_grad():
        for parameter in problem.critics[0].parameters():
            parameter *= c
    after = asdict(read(problem, error * c**depth, lr=0.1 * c ** (2 - 2 * depth)))
    powers = dict.fromkeys(("leading", "leading_imaginary", "second", "trailing", "kernel_norm"), 2 * depth - 2)
    powers |= {"numerical_abscissa": 2 * depth - 2, "rayleigh": 2 * depth - 2, "step_size": 2 - 2 * depth}
    powers |= {"td_norm": depth, "mean_abs_q": depth, "max_abs_q": depth, "parameter_norm": 1}
    powers |= {"gradient_norm": 2 * depth - 1}
    assert after == {name: value * c ** powers.get(name, 0) for name, value in before.items()}


@pytest.mark.claim("SIGN-MYOPIC")
@given(case=problems(**SMALL), no_discount=st.booleans())
def test_without_bootstrap_the_spectrum_is_that_of_minus_the_kernel(case, no_discount):
    """γ = 0, or every row terminal: A = -G, symmetric and without a positive eigenvalue."""
    drawn = case.draw()
    changes = {"discount": 0.0} if no_discount else {"terminals": torch.ones_like(drawn.terminals)}
    problem = replace(drawn, **changes)
    gram, _ = gram_blocks(problem.critics[0], problem.x, problem.x_next)
    values, reading = eigenvalues(problem.matrix()), read(problem, problem.errors(0.0))
    # 1e-13: symmetric eigenvalues are good to a few n ulps of the norm.
    slack = 1e-13 * gram.norm()
    assert (values + torch.linalg.eigvalsh(gram)).abs().max() <= slack
    assert reading.leading <= slack
    assert reading.rayleigh <= slack
    assert abs(reading.leading - reading.numerical_abscissa) <= slack


@pytest.mark.claim("SELF-EXCITATION")
@given(case=problems(**SMALL))
def test_successors_that_equal_the_rows_never_excite(case):
    """X* = X without terminals: A = (γ - 1)G, stable at every γ below 1 and zero at 1."""
    problem = case.draw()
    problem = replace(problem, x_next=problem.x, terminals=torch.zeros_like(problem.terminals))
    gram, _ = gram_blocks(problem.critics[0], problem.x, problem.x)
    values = eigenvalues(problem.matrix())
    # 1e-12: two ways through the network to the same block, and symmetric eigenvalues.
    assert (values - (problem.discount - 1) * torch.linalg.eigvalsh(gram)).abs().max() <= 1e-12 * gram.norm()


@pytest.mark.claim("SELF-EXCITATION")
@given(case=problems(**HOMOGENEOUS), factor=powers_of_two(-3, 3))
def test_successors_farther_out_on_the_same_rays_excite_beyond_one_over_the_discount(case, factor):
    """X* = cX, bias-free: G(X*, X) = cG(X, X), A = (γc - 1)G, and SEEM > 0 exactly when γc > 1."""
    problem = case.draw()
    problem = replace(problem, x_next=factor * problem.x, terminals=torch.zeros_like(problem.terminals))
    gram, gram_next = gram_blocks(problem.critics[0], problem.x, problem.x_next)
    # 1e-12: the same products, summed in another order.
    assert (gram_next - factor * gram).norm() <= 1e-12 * factor * gram.norm()
    reading, excess = read(problem, problem.errors(0.0)), problem.discount * factor - 1
    event("self-excited" if excess > 0 else "not")
    largest = torch.linalg.eigvalsh(gram)[-1].item()
    # 1e-12: (γc - 1)G is symmetric up to the rounding of the kernel.
    slack = 1e-12 * (1 + factor) * gram.norm().item()
    assert abs(reading.numerical_abscissa - reading.leading) <= slack
    assert abs(reading.leading - excess * largest) <= slack if excess > 0 else reading.leading <= slack


@pytest.mark.claim("SIGN-REPEATED-ROWS")
@given(case=problems(**SMALL, rows=(1, 3)), copies=st.integers(2, 3))
def test_a_batch_repeated_reads_like_the_batch(case, copies):
    """Repeated k times A has k times the eigenvalues, and zeros; η = 2·lr/M makes up for it at the same lr."""
    problem = case.draw()
    rows = {name: getattr(problem, name) for name in ("x", "x_next", "rewards", "terminals")}
    repeated = replace(
        problem, **{name: value.repeat(copies, *[1] * (value.dim() - 1)) for name, value in rows.items()}
    )
    unit = copies * size(problem)
    assert_power_sums(eigenvalues(repeated.matrix()), [copies * eigenvalues(problem.matrix())], unit)
    before, after = read(problem, problem.errors(0.0)), read(repeated, repeated.errors(0.0))
    assert after.step_size == pytest.approx(before.step_size / copies, rel=1e-15)
    assert abs(after.rayleigh - copies * before.rayleigh) <= 1e-11 * unit
    assert abs(max(after.numerical_abscissa, 0) - copies * max(before.numerical_abscissa, 0)) <= 1e-11 * unit
    for name in ("growth", "alignment", "mean_abs_q", "max_abs_q"):
        # 1e-9: other orders of summation, in networks whose own rounding a normalisation may enlarge.
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-9, abs=1e-9), name


@pytest.mark.claim("SIGN-DISCOUNT-ABSCISSA")
@given(case=problems(**SMALL), others=st.tuples(discounts(), discounts()), weight=st.floats(0.0, 1.0))
def test_the_numerical_abscissa_is_convex_in_the_discount(case, others, weight):
    """It is the largest eigenvalue of a symmetric matrix that is affine in γ."""
    problem = case.draw()
    first, second = others
    between = weight * first + (1 - weight) * second
    lower, upper, middle = (
        read(replace(problem, discount=discount), problem.errors(0.0)).numerical_abscissa
        for discount in (first, second, between)
    )
    # 1e-12: three symmetric eigenvalues.
    assert middle <= weight * lower + (1 - weight) * upper + 1e-12 * size(problem)


@given(case=problems(**EVERY_KIND))
def test_no_reading_leaves_its_bounds(case):
    problem = case.draw()
    reading, unit = read(problem, problem.errors(0.0)), size(problem)
    # 1e-12: computed eigenvalues are those of A + E, ‖E‖ some n ulps, and no real part exceeds the abscissa of A + E.
    slack = 1e-12 * unit
    assert reading.trailing <= reading.second <= reading.leading <= reading.numerical_abscissa + slack
    assert reading.rayleigh <= reading.numerical_abscissa + slack
    assert abs(reading.normalised) <= 1 + 1e-12
    assert reading.mean_abs_q <= reading.max_abs_q * (1 + 1e-15)
    # By Cauchy and Schwarz; the sides are equal when u is an eigenvector.
    assert reading.growth >= 1 + reading.step_size * (reading.rayleigh - slack) - 1e-12


@pytest.mark.claim("TWIN-EQUAL")
@given(case=problems(**SMALL, rows=(1, 3)), data=st.data())
def test_twins_of_equal_kernels_have_the_spectrum_of_one_and_of_minus_the_kernel(case, data):
    """Whichever is the smaller: the minimum moves no threshold while G_1 = G_2."""
    problem = case.draw()
    chosen = data.draw(st.lists(st.booleans(), min_size=case.critic.rows, max_size=case.critic.rows), label="chosen")
    gram, gram_next = gram_blocks(problem.critics[0], problem.x, problem.x_next)
    choice = torch.tensor(chosen, dtype=torch.float64)
    twins = twin_seem_matrix((gram, gram), (gram_next, gram_next), problem.discount, problem.terminals, choice)
    assert_power_sums(eigenvalues(twins), [eigenvalues(problem.matrix()), eigenvalues(-gram)], 2 * size(problem))


# What is not true of SEEM itself, and what fails without a hypothesis.


def linear_seem(x: list[list[float]], x_next: list[list[float]], discount: float) -> float:
    rows, successors = (torch.tensor(values, dtype=torch.float64) for values in (x, x_next))
    matrix = seem_matrix(rows @ rows.T, successors @ rows.T, discount, torch.zeros(len(rows), dtype=torch.float64))
    return eigenvalues(matrix)[0].real.item()


@pytest.mark.claim("SIGN-DISCOUNT-MONOTONE")
def test_seem_may_fall_with_the_discount():
    """A successor on the other side, k(x*, x) < 0: λ = -1 - γ."""
    assert [linear_seem([[1.0]], [[-1.0]], discount) for discount in (0.0, 0.5, 1.0)] == [-1, -1.5, -2]


@pytest.mark.claim("SIGN-DISCOUNT-MONOTONE")
def test_seem_is_not_convex_in_the_discount():
    """G = diag(1, 4) and G(X*, X) = [[0, 2], [-2, 0]]: λ = -5/2 + √(9/4 - 4γ²) until the two modes meet."""
    ends = [linear_seem([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [-2.0, 0.0]], discount) for discount in (0.0, 0.75)]
    middle = linear_seem([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [-2.0, 0.0]], 0.375)
    assert middle > sum(ends) / 2 + 0.5


@pytest.mark.parametrize("dropped", [{"bias": True}, {"activation": "tanh"}], ids=str)
def test_without_homogeneity_farther_successors_do_not_scale_the_kernel(dropped):
    config = replace(MLPConfig(depth=2, width=2, bias=False), **dropped)
    problem = ProblemCase(Case(config, inputs=1, rows=1, seed=0), terminals=(False,), discount=1.0).draw()
    gram, gram_next = gram_blocks(problem.critics[0], problem.x, 2 * problem.x)
    assert abs(gram_next / gram - 2).max() > 0.1


@pytest.mark.claim("TWIN-THRESHOLD")
def test_twins_of_unequal_kernels_may_be_unstable_though_each_alone_is_stable():
    """Two rows, G_1 = G_2 = I, but each twin's successor pushes the other row: the minimum closes the loop."""
    identity = torch.eye(2, dtype=torch.float64)
    pushed = [torch.tensor(values, dtype=torch.float64) for values in ([[0, 3], [0, 0]], [[0, 0], [3, 0]])]
    zero, first_then_second = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    alone = [eigenvalues(seem_matrix(identity, block, 0.9, zero))[0].real for block in pushed]
    together = twin_seem_matrix((identity, identity), tuple(pushed), 0.9, zero, first_then_second)
    assert max(alone) < 0 < eigenvalues(together)[0].real
