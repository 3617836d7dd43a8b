"""The bounds of the leading eigenvalue: true of every matrix, and tight where they can be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seem.enclosure import enclose, odd_above, rightmost
from seem.leading import SMALLEST_ITERATIVE

SIZE = 2 * SMALLEST_ITERATIVE


def hidden(leading: float, seed: int, *, size: int = SIZE, pair: float = 0.0) -> np.ndarray:
    """A matrix that is not normal, whose leading eigenvalue stands beside a far larger negative part."""
    generator = np.random.default_rng(seed)
    block = np.diag(np.concatenate(([leading, leading], np.linspace(-1, leading - 0.01, size - 2))))
    block[0, 1], block[1, 0] = pair, -pair
    if not pair:
        block[1, 1] = leading - 0.01
    block[2:, 2:] += np.triu(generator.standard_normal((size - 2, size - 2)), 1) * 0.01
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    return basis @ block @ basis.T


@pytest.mark.parametrize("pair", [0.0, 0.3])
@pytest.mark.parametrize("leading", [0.2, 1e-3])
def test_a_hidden_excited_mode_is_certified_from_below(leading, pair):
    bounds = enclose(hidden(leading, 1, pair=pair))
    assert bounds.excited is True
    assert 0 < bounds.low <= leading + 1e-9
    assert bounds.low == pytest.approx(leading, abs=1e-6)
    assert bounds.high >= leading


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1.0, 1.0), st.sampled_from([8, 50, SIZE]))
def test_the_leading_eigenvalue_is_within_the_bounds(seed, shift, size):
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((size, size)) / np.sqrt(size) - shift * np.eye(size)
    bounds, values = enclose(matrix), np.linalg.eigvals(matrix)
    rounding = 1e-10 * np.linalg.norm(matrix)  # ten times what the bounds allow for
    assert bounds.low - rounding <= values.real.max() <= bounds.high + rounding
    if bounds.excited is not None:
        assert bounds.excited == (values.real.max() > 0)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), st.integers(0, 10**6))
def test_the_parity_counts_real_eigenvalues_above_the_level(eigenvalues, seed):
    generator, size = np.random.default_rng(seed), len(eigenvalues)
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    matrix = basis @ (np.diag(eigenvalues) + np.triu(generator.standard_normal((size, size)), 1)) @ basis.T
    assert odd_above(matrix, 0.5) == (sum(value > 0 for value in eigenvalues) % 2 == 1)


def test_complex_pairs_do_not_count():
    turn = np.array([[1.0, 3.0], [-3.0, 1.0]])
    assert not odd_above(turn, 0.5)
    assert odd_above(np.block([[turn, np.zeros((2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]]), 0.5)


def test_an_eigenvalue_at_the_level_is_not_above_it():
    assert not odd_above(np.zeros((3, 3)), 0.0)


def test_the_determinant_finds_what_the_iteration_does_not():
    matrix = np.diag(np.concatenate(([1e-6], -np.logspace(-8, 0, SIZE - 1))))
    assert rightmost(matrix, float(np.linalg.norm(matrix))) <= 1e-6
    bounds = enclose(matrix)
    assert bounds.excited is True
    assert 0 < bounds.low <= 1e-6


def test_a_small_matrix_has_no_iteration():
    assert rightmost(np.eye(3), 1.0) == -np.inf


def test_healthy_is_told_where_the_abscissa_tells():
    assert enclose(-np.eye(SIZE) * np.linspace(1, 2, SIZE)).excited is False
