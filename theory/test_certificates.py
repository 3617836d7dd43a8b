"""Certificates by interval arithmetic: proofs for small instances, agreeing with seem's float64 numbers."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from seem.growth import SGDLaw
from seem.networks import MLP, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix
from theory import certificates

pytest.importorskip("flint", reason="python-flint, which does the interval arithmetic, is not installed")

DISCOUNT = float(certificates.DISCOUNT)


@pytest.mark.claim("SIGN-CERTIFIED")
def test_the_leading_eigenvalue_of_a_relu_critic_is_positive_real_and_isolated():
    certificate = certificates.certify_spectrum(certificates.relu_seem_matrix())
    assert certificate.count == 3
    assert certificate.leading[0] > 0
    assert certificate.isolated
    assert not certificate.is_complex
    assert certificate.leading[1] - certificate.leading[0] < 1e-12


@pytest.mark.claim("SIGN-CERTIFIED")
def test_signs_in_exact_rationals_prove_the_same_and_refuse_wrong_brackets():
    matrix = certificates.relu_seem_matrix()
    assert certificates.certify_leading_by_signs(matrix, Fraction(47), Fraction(48))
    assert not certificates.certify_leading_by_signs(matrix, Fraction(46), Fraction(47))
    assert not certificates.certify_leading_by_signs(matrix, Fraction(48), Fraction(49))


@pytest.mark.claim("SIGN-MYOPIC")
def test_no_discount_leaves_no_positive_eigenvalue():
    certificate = certificates.certify_spectrum(certificates.relu_seem_matrix(Fraction(0)))
    assert certificate.leading[1] < 0


@pytest.mark.claim("SIGN-CERTIFIED")
def test_the_certified_matrix_is_seems():
    network = MLP(2, 1, MLPConfig(depth=2, width=3, bias=False), generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        network.linears[0].weight.copy_(torch.tensor(certificates.FIRST))
        network.linears[1].weight.copy_(torch.tensor([certificates.HEAD]))
    x, x_next = (torch.tensor(rows).double() for rows in (certificates.ROWS, certificates.NEXT_ROWS))
    matrix = seem_matrix(*gram_blocks(network, x, x_next), DISCOUNT, torch.zeros(3).double())
    exact = np.array(certificates.relu_seem_matrix(), dtype=float)
    assert matrix.numpy() == pytest.approx(exact, rel=1e-14)
    low, high = certificates.certify_spectrum(certificates.relu_seem_matrix()).leading
    # Five ulps of LAPACK's eigenvalue.
    assert low * (1 - 1e-13) <= eigenvalues(matrix)[0].real.item() <= high * (1 + 1e-13)


def test_a_tanh_critic_with_irrational_entries():
    certificate = certificates.certify_tanh_spectrum()
    assert certificate.count == 2
    assert certificate.leading[0] > 0
    assert certificate.isolated
    assert not certificate.is_complex
    assert certificates.certify_tanh_spectrum("0").leading[1] < 0


@pytest.mark.claim("BAIRD-THRESHOLD")
@pytest.mark.parametrize(("discount", "unstable"), [(Fraction(9, 10), True), (Fraction(85, 100), False)])
def test_bairds_star(discount, unstable):
    certificate = certificates.certify_spectrum(certificates.baird_seem_matrix(discount))
    assert certificate.count == 7
    assert certificate.is_complex
    assert certificate.isolated
    assert certificate.rest < -3.99
    assert (certificate.leading[0] > 0) == unstable
    assert (certificate.leading[1] < 0) == (not unstable)
    exact = (17 * discount - 15) / 2
    assert certificate.leading[0] <= exact <= certificate.leading[1]


def test_the_certifier_tells_complex_pairs_and_ties_apart():
    rotation = [[Fraction(1), Fraction(-2)], [Fraction(2), Fraction(1)]]
    assert certificates.certify_spectrum(rotation).is_complex
    tie = [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]]
    certificate = certificates.certify_spectrum(tie)
    assert certificate.count == 2
    assert not certificate.is_complex
    assert not certificate.isolated


@pytest.mark.claim("SGD-EXPONENTIAL")
@pytest.mark.parametrize("depth", [2, 3, 4, 7])
@pytest.mark.parametrize("factor", [10, 10**12, 10**30])
def test_the_sgd_law_leaves_any_bound_before_its_crash_time(depth, factor):
    rate = Fraction(1, 100)
    crash = SGDLaw(depth).steps_to_blow_up(float(rate))
    low, high = certificates.time_to_pass(depth, rate, factor)
    # From factor 10^12 on the passing time is the crash time to the last bit.
    assert high <= np.nextafter(np.nextafter(crash, np.inf), np.inf)
    assert high - low < 1e-12 * crash
    bound = certificates.euler_time_to_pass(depth, rate, factor)
    assert low <= bound
    # Euler steps of 2 % are late by about (2L-1)/2 of that.
    assert bound < crash * (1 + 0.02 * depth)


def test_finer_euler_steps_close_the_gap_between_both_proofs():
    rate = Fraction(1, 100)
    _, high = certificates.time_to_pass(3, rate, 10**6)
    gaps = [certificates.euler_time_to_pass(3, rate, 10**6, Fraction(1, n)) - high for n in (50, 100)]
    assert 0 < gaps[1] < 0.55 * gaps[0]
