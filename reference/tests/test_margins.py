"""Margins in the discount and in the step size against hand-made cases, scans and Baird's star."""

import math

import pytest
import torch
from torch import nn

from reference.tests.test_read import drawn
from reference.tests.test_spectrum_reading import bairds_star
from seem.dynamics import Training
from seem.margins import discount_margin, largest_step
from seem.reading import read


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def linear(phi, phi_next, **training):
    """The reading of a linear critic with these features."""
    critic = nn.Linear(phi.shape[1], 1, bias=False)
    batch = {"x": phi, "x_next": phi_next, "td_error": torch.ones(len(phi))}
    return read(critic, batch, training=Training(**({"discount": 0.99, "lr": 0.1} | training)))


def test_the_unstable_set_need_not_be_an_interval_up_to_one():
    reading = linear(matrix([-1, 1], [0, -1]), matrix([-3, -3], [0, -2]))
    margin = reading.discount_margin
    assert margin.critical == pytest.approx(1 / 3, abs=1e-9)
    assert margin.stable is True
    assert margin.switch == pytest.approx(1 / 2, abs=1e-9)
    assert margin.unstable == (pytest.approx((1 / 3, 1 / 2), abs=1e-9),)
    assert linear(matrix([-1, 1], [0, -1]), matrix([-3, -3], [0, -2]), discount=0.4).discount_margin.stable is False


def test_bairds_star_switches_at_its_discount():
    """15/17, by real and complex modes; the kernel has rank 7 of 8 weights."""
    phi = torch.zeros(7, 8, dtype=torch.float64)
    phi[range(6), range(6)], phi[:6, 7], phi[6, 6], phi[6, 7] = 2.0, 1.0, 1.0, 2.0
    margin = linear(phi, phi[6:].expand(7, 8)).discount_margin
    assert margin.critical == pytest.approx(15 / 17, abs=1e-9)
    assert margin.stable is False
    assert bairds_star(margin.critical - 1e-6).leading <= 1e-12
    assert bairds_star(margin.critical + 1e-6).leading > 0


def test_an_expansion_on_its_ray_switches_at_its_inverse():
    phi = matrix([1.0], [2.0])
    margin = linear(phi, 4 * phi).discount_margin
    assert margin.critical == pytest.approx(0.25, abs=1e-9)
    assert linear(phi, 0.5 * phi).critical_discount is None


@pytest.mark.parametrize("seed", range(6))
def test_the_margin_is_where_a_scan_finds_it(seed):
    generator = torch.Generator().manual_seed(seed)
    phi, phi_next = torch.randn(2, 5, 8, generator=generator, dtype=torch.float64)
    phi_next = phi + 0.7 * phi_next
    gram, bootstrap = phi @ phi.T, phi_next @ phi.T
    margin = discount_margin(gram, bootstrap, 0.5)

    def grows(gamma):
        return torch.linalg.eigvals(gamma * bootstrap - gram).real.max().item() > 1e-9

    for gamma in torch.linspace(0, 1, 1001, dtype=torch.float64).tolist():
        if all(abs(gamma - end) > 1e-6 for pair in margin.unstable for end in pair):
            assert grows(gamma) == any(low < gamma < high for low, high in margin.unstable), gamma
    assert margin.stable != grows(0.5)


def test_the_largest_step_of_known_eigenvalues():
    one = torch.tensor([-1 + 0.5j, -1 - 0.5j], dtype=torch.complex128)
    assert largest_step(one) == pytest.approx(1.6, rel=1e-14)
    assert largest_step(torch.tensor([-4.0 + 0j, -1.0 + 0j])) == pytest.approx(0.5)
    assert largest_step(torch.tensor([-1.0 + 0j, 0.1 + 0j])) is None
    assert largest_step(torch.zeros(2, dtype=torch.complex128)) == math.inf


def test_a_step_below_the_largest_shrinks_and_one_above_does_not():
    reading = linear(torch.eye(3).double() * 2, torch.zeros(3, 3).double())
    assert reading.largest_step_size == pytest.approx(0.5, rel=1e-12)  # A = -4
    for factor, fine in ((0.99, True), (1.01, False)):
        lr = factor * reading.largest_step_size * 3 / 2  # η = 2 lr/M
        assert (linear(torch.eye(3).double() * 2, torch.zeros(3, 3).double(), lr=lr).overshoot_gain <= 1) == fine
    assert linear(matrix([1.0]), matrix([3.0])).why("largest_step_size") == "a mode grows at any step size"


def test_twins_have_a_margin_of_their_joint_matrix():
    (first, batch), (second, _) = drawn(0), drawn(1)
    reading = read([first, second], batch, training=Training(discount=0.9, lr=1e-3))
    assert reading.discount_margin.stable == (reading.leading <= 0)
    critical = reading.critical_discount
    for shift in (-1e-5, 1e-5):
        if critical is not None and 0 <= critical + shift <= 1:
            near = read([first, second], batch, training=Training(discount=critical + shift, lr=1e-3))
            assert (near.leading > 0) == (shift > 0)
