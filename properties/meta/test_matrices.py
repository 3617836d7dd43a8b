"""Prescribed matrices have exactly the eigenvalues that they say, every kind is found, and they shrink well."""

from fractions import Fraction

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.matrices import (
    LARGEST,
    RESOLUTION,
    Block,
    Prescribed,
    Shear,
    linear_critic,
    matching_distance,
    matrices,
)
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix


def exact(tensor: torch.Tensor) -> list[list[Fraction]]:
    return [[Fraction(value) for value in row] for row in tensor.tolist()]


def product(left: list[list[Fraction]], right: list[list[Fraction]]) -> list[list[Fraction]]:
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True)] for row in left
    ]


@given(case=matrices())
def test_nothing_is_rounded(case):
    right, left = (exact(factor) for factor in case.basis())
    jordan = exact(torch.block_diag(*(block.draw() for block in case.blocks)))
    assert product(right, left) == exact(torch.eye(case.size))
    assert exact(case.draw()) == product(product(right, jordan), left)


@given(case=matrices())
def test_the_exact_matrix_is_annihilated_by_its_eigenvalues(case):
    """Cayley and Hamilton in exact arithmetic: every factor (A - λ), pairs multiplied out, gives zero."""
    matrix = exact(case.draw())
    identity = exact(torch.eye(case.size))
    rest = identity
    for block in case.blocks:
        real, imaginary = Fraction(block.real), Fraction(block.imaginary)
        shifted = [[a - real * e for a, e in zip(*rows, strict=True)] for rows in zip(matrix, identity, strict=True)]
        if imaginary:
            square = product(shifted, shifted)
            shifted = [
                [a + imaginary**2 * e for a, e in zip(*rows, strict=True)]
                for rows in zip(square, identity, strict=True)
            ]
        for _ in range(block.chain):
            rest = product(rest, shifted)
    assert not any(any(row) for row in rest)
    assert len(case.eigenvalues) == case.size == len(matrix)
    assert sum(Fraction(value.real) for value in case.eigenvalues) == sum(matrix[i][i] for i in range(case.size))


@given(case=matrices(stiff=False, largest=4), eta=st.sampled_from((0.25, 1.0)), steps=st.integers(0, 5))
def test_powers_by_binomials_are_powers(case, eta, steps):
    step = [[Fraction(value) for value in row] for row in (torch.eye(case.size) + eta * case.draw()).tolist()]
    expected = [[Fraction(k)] for k in range(1, case.size + 1)]
    for _ in range(steps):
        expected = product(step, expected)
    error = torch.arange(1.0, case.size + 1, dtype=torch.float64)
    size = (torch.eye(case.size) + eta * case.draw().abs()).norm().item() ** steps * error.norm().item()
    gaps = (abs(a - float(b)) for a, (b,) in zip(case.after(error, eta, steps).tolist(), expected, strict=True))
    # 1e-12: some hundred roundings in the Jordan basis, each enlarged by at most its condition number.
    assert max(gaps) <= 1e-12 * case.condition * max(size, 1.0)


@given(case=matrices())
def test_the_condition_number_is_below_its_bound(case):
    # 1e-12: the bound is attained by a single shear, and singular values round.
    assert torch.linalg.cond(case.basis()[0]) <= case.condition * (1 + 1e-12)


@given(case=matrices())
def test_a_recipe_survives_its_repr(case):
    again = eval(repr(case))  # noqa: S307 - the repr is what a failure prints
    assert again == case
    assert torch.equal(again.draw(), case.draw())


@given(data=st.data(), largest=st.integers(1, 6), chain=st.integers(1, 3), shears=st.integers(0, 3))
def test_arguments_are_kept(data, largest, chain, shears):
    leading = data.draw(st.sampled_from(("growing", "marginal", "decaying")), label="leading")
    case = data.draw(matrices(largest=largest, leading=leading, chain=chain, shears=shears), label="case")
    assert 1 <= case.size <= largest
    assert max(block.chain for block in case.blocks) <= chain
    assert len(case.shears) <= shears
    top = case.eigenvalues[0].real
    assert {"growing": top >= 1 / 16, "marginal": abs(top) <= RESOLUTION, "decaying": top <= -1 / 16}[leading]


@given(case=matrices(), discount=st.sampled_from((1.0, 0.5)))
def test_the_linear_critic_has_the_matrix(case, discount):
    critic, x, x_next = linear_critic(case.draw(), discount)
    zeros = torch.zeros(case.size, dtype=torch.float64)
    assert torch.equal(seem_matrix(*gram_blocks(critic, x, x_next), discount, zeros), case.draw())


KINDS = {
    "five real eigenvalues": lambda case: case.size == 5 and not any(value.imag for value in case.eigenvalues),
    "a complex pair leads": lambda case: case.eigenvalues[0].imag > 0,
    "two complex pairs": lambda case: sum(value.imag > 0 for value in case.eigenvalues) == 2,
    "a chain of three": lambda case: any(block.chain == 3 for block in case.blocks),
    "a defective complex pair": lambda case: any(block.chain == 2 and block.imaginary for block in case.blocks),
    "repeated, not defective": lambda case: (
        len(set(case.eigenvalues)) < case.size and all(block.chain == 1 for block in case.blocks)
    ),
    "singular": lambda case: 0 in case.eigenvalues and case.size > 1,
    "far from normal": lambda case: case.condition > 1000,
    "small beside hugely negative": lambda case: 0 < case.eigenvalues[0].real < 1 and case.eigenvalues[-1].real < -1e4,
    "purely imaginary": lambda case: case.eigenvalues[0].real == 0 != case.eigenvalues[0].imag,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found(kind):
    # find raises when the profile's number of examples does not hold one.
    assert KINDS[kind](find(matrices(), KINDS[kind]))


@pytest.mark.parametrize("real", [0.0, RESOLUTION, -RESOLUTION])
def test_every_marginal_real_part_is_found(real):
    assert find(matrices(leading="marginal"), lambda case: case.eigenvalues[0].real == real)


def test_shrinks_to_one_zero():
    assert find(matrices(), lambda _: True) == Prescribed((Block(0.0),))


def test_real_eigenvalues_shrink_to_a_diagonal():
    smallest = find(matrices(stiff=False), lambda case: case.size == 3 and not any(b.imaginary for b in case.blocks))
    assert not smallest.shears
    assert all(block.chain == 1 for block in smallest.blocks)


@pytest.mark.parametrize(
    "arguments",
    [{"largest": 0}, {"chain": 0}, {"shears": 4}, {"shears": -1}, {"leading": "none"}, {"stiff": True, "largest": 1}],
    ids=str,
)
def test_an_impossible_argument_is_named(arguments):
    with pytest.raises(InvalidArgument, match=next(iter(arguments))):
        matrices(**arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Block(RESOLUTION / 2),
        lambda: Block(2 * LARGEST),
        lambda: Block(0.0, -1.0),
        lambda: Block(0.0, chain=0),
        lambda: Prescribed(()),
        lambda: Prescribed((Block(0.0),), (Shear(0, 1, 1),)),
        lambda: Prescribed((Block(0.0), Block(1.0)), (Shear(1, 1, 1),)),
        lambda: Prescribed((Block(0.0), Block(1.0)), (Shear(0, 1, 3),)),
        lambda: Prescribed((Block(0.0), Block(1.0)), (Shear(0, 1, 1),) * 4),
    ],
)
def test_an_inexact_or_impossible_recipe_is_refused(make):
    with pytest.raises(InvalidArgument):
        make()


def test_a_single_shear_attains_its_condition_number():
    case = Prescribed((Block(0.0), Block(1.0)), (Shear(0, 1, 4),))
    # 1e-12: singular values of a 2 × 2 matrix.
    assert torch.linalg.cond(case.basis()[0]).item() == pytest.approx(case.condition, rel=1e-12)


def test_chains_are_coupled():
    expected = torch.tensor([[1.0, -2, 1, 0], [2, 1, 0, 1], [0, 0, 1, -2], [0, 0, 2, 1]]).double()
    assert torch.equal(Block(1.0, 2.0, chain=2).draw(), expected)
    assert torch.equal(Block(3.0, chain=2).draw(), torch.tensor([[3.0, 1.0], [0.0, 3.0]]).double())


def test_matching_counts_repetitions():
    values = torch.tensor([0, 0, 1], dtype=torch.complex128)
    assert matching_distance(values, (0, 1, 1)) == 1
    assert matching_distance(values, (1, 0, 0)) == 0
