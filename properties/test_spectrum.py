"""`seem.spectrum.eigenvalues` on matrices whose eigenvalues are known exactly."""

import math
from collections import Counter

import torch
from hypothesis import event, example, given, target
from hypothesis import strategies as st

from properties.strategies.matrices import Block, Prescribed, Shear, matching_distance, matrices
from seem.spectrum import eigenvalues

EPSILON = torch.finfo(torch.float64).eps


@given(case=matrices())
def test_prescribed_eigenvalues_are_found(case):
    distance = matching_distance(eigenvalues(case.draw()), case.eigenvalues)
    # A cluster of n discs of radius `tolerance` has at most 2n - 1 radii between any two centres, and a matching of
    # least total cost is at most n times worse than the best in its worst pair.
    bound = case.size * (2 * case.size - 1) * case.tolerance
    event(f"tolerance about 1e{math.log10(case.tolerance):.0f}" if case.tolerance else "zero matrix")
    target(distance / max(bound, 1e-300))
    assert distance <= bound, f"{distance:.3g} from the prescribed eigenvalues, at most {bound:.3g}"


@given(case=matrices())
def test_power_sums_are_traces_of_powers(case):
    """Σλ^k = tr A^k holds for A + E of a stable algorithm, however ill-conditioned the single eigenvalues are."""
    matrix = case.draw()
    values, power, norm = eigenvalues(matrix), torch.eye(case.size, dtype=torch.float64), matrix.norm().item()
    for k in range(1, case.size + 1):
        power = power @ matrix
        # First-order change of tr A^k by E, |k tr(A^(k-1) E)| <= k √n ‖A‖^(k-1) ‖E‖, ‖E‖ = 10 n ε ‖A‖, twice.
        bound = 20 * case.size**2 * k * EPSILON * norm**k
        assert abs(values.pow(k).sum() - power.trace()) <= bound


@given(case=matrices())
def test_they_are_ordered_and_closed_under_conjugation(case):
    values = eigenvalues(case.draw()).tolist()
    assert [value.real for value in values] == sorted((value.real for value in values), reverse=True)
    assert all(values.index(value) < values.index(value.conjugate()) for value in values if value.imag > 0)
    # A real matrix has exactly conjugate pairs, also in floating point.
    assert Counter(value.conjugate() for value in values) == Counter(values)


@given(case=matrices(), exponent=st.integers(-900, 950))
def test_powers_of_two_scale_them_exactly(case, exponent):
    matrix, factor = case.draw(), 2.0**exponent
    assert torch.isfinite(matrix * factor).all()
    # The matrix is divided by its largest entry first: the same quotients, then an exact product.
    assert torch.equal(eigenvalues(matrix * factor), eigenvalues(matrix) * factor)


@given(case=matrices(), factor=st.floats(1e-290, 1e295))
def test_any_scale_gives_the_scaled_eigenvalues(case, factor):
    """Up to the edge of the floating-point range, where no entry can be squared."""
    distance = matching_distance(eigenvalues(case.draw() * factor) / factor, case.eigenvalues)
    # Three roundings of A, within the backward error that `tolerance` allows; the matching as above.
    assert distance <= case.size * (2 * case.size - 1) * case.tolerance


@given(case=matrices())
def test_single_precision_input_is_read_in_double(case):
    narrow = case.draw().float()
    values = eigenvalues(narrow)
    assert values.dtype == torch.complex128
    assert values.shape == (case.size,)
    assert torch.equal(values, eigenvalues(narrow.double()))


@given(case=matrices())
def test_what_they_come_from_is_not_differentiated(case):
    matrix = case.draw().requires_grad_()
    assert not eigenvalues(matrix).requires_grad
    assert torch.equal(matrix.detach(), case.draw())


@given(case=matrices(shears=0, chain=1))
# Two equal pairs, whose real parts differ by a rounding: what is sorted by them may interleave.
@example(case=Prescribed((Block(0.0), Block(2.75, 2.1875), Block(2.75, 2.1875)), ()))
def test_of_block_diagonal_matrices_they_are_exact(case):
    matrix = case.draw()
    # Nothing is left to iterate on; entries are divided and multiplied by the largest once: two roundings each.
    assert matching_distance(eigenvalues(matrix), case.eigenvalues) <= 4 * EPSILON * matrix.abs().max()


def test_of_zero_matrices_they_are_zero():
    for rows in (1, 3):
        assert torch.equal(eigenvalues(torch.zeros(rows, rows)), torch.zeros(rows, dtype=torch.complex128))


def test_a_defective_eigenvalue_is_only_good_to_the_root_of_rounding():
    """Why the sign of a computed eigenvalue needs a margin: a chain of three at -1 spreads by about ε^(1/3)."""
    case = Prescribed((Block(-1.0, chain=3),), (Shear(2, 0, 4), Shear(0, 2, -4), Shear(1, 0, 2)))
    distance = matching_distance(eigenvalues(case.draw()), case.eigenvalues)
    assert EPSILON ** (1 / 2) < distance <= 15 * case.tolerance
