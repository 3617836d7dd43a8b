"""Gram blocks as parts of one kernel: joint blocks, transposes, repeated and permuted rows, permuted hidden units.

Hypothesis for rows: they do not meet inside the network. For hidden units: all of a layer are treated alike,
which GroupNorm drops (its counterexample is at the end).
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.oracles import sizes
from properties.strategies.networks import EVERY_KIND, NORMALISATIONS, Case, cases
from seem.networks import MLP, MLPConfig
from seem.ntk import evaluate, gram_blocks

EPSILON = torch.finfo(torch.float64).eps
ALIKE = EVERY_KIND | {"normalisations": tuple(kind for kind in NORMALISATIONS if kind != "group"), "depth": (2, 4)}


@given(case=cases(**EVERY_KIND))
def test_blocks_are_those_of_the_joint_kernel(case):
    network, x, x_next = case.draw()
    gram, gram_next = gram_blocks(network, x, x_next)
    next_gram, transposed = gram_blocks(network, x_next, x)
    both = torch.cat((x, x_next))
    joint, _ = gram_blocks(network, both, both)
    # Blocks of the joint kernel and blocks of their own: both round.
    bound = 2 * EPSILON * sizes(network, both).of_gram(sizes(network, both))
    assembled = torch.cat((torch.cat((gram, transposed), 1), torch.cat((gram_next, next_gram), 1)))
    assert ((joint - assembled).abs() <= bound).all(), f"{joint} against {assembled}"
    assert ((gram_next - transposed.T).abs() <= bound[case.rows :, : case.rows]).all(), "G(X*, X) is not G(X, X*)ᵀ"
    # Positive semi-definite over [X; X*] together, which no single block shows.
    assert torch.linalg.eigvalsh(assembled).min() >= -bound.norm()


@given(case=cases(**EVERY_KIND, rows=(2, 5)), data=st.data())
def test_chosen_rows_choose_rows_of_the_kernel(case, data):
    network, x, x_next = case.draw()
    # Any choice: a permutation, repeated rows, fewer or more rows than there are.
    chosen = data.draw(st.lists(st.integers(0, case.rows - 1), min_size=1, max_size=6), label="chosen rows")
    bounds = [EPSILON * sizes(network, z).of_gram(sizes(network, x)) for z in (x, x_next)]
    for block, smaller, bound in zip(
        gram_blocks(network, x, x_next), gram_blocks(network, x[chosen], x_next[chosen]), bounds, strict=True
    ):
        difference = (smaller - block[chosen][:, chosen]).abs()
        assert (difference <= 2 * bound[chosen][:, chosen]).all(), f"rows {chosen} differ by {difference}"


@given(case=cases(**EVERY_KIND))
def test_a_block_knows_its_columns_from_its_rows(case):
    network, x, x_next = case.draw()
    _, gram_next = gram_blocks(network, x, x_next)
    bound = EPSILON * sizes(network, x_next).of_gram(sizes(network, x))
    for row in range(case.rows):
        _, single = gram_blocks(network, x, x_next[row : row + 1].expand_as(x))
        # Every row of this block is row `row` of the other.
        assert ((single - gram_next[row]).abs() <= 2 * bound[row]).all()


@torch.no_grad()
def permute_units(network: MLP, layer: int, order: list[int]) -> None:
    """Put the units of a hidden layer into another order: all that has an entry per unit, and the next columns."""
    for name, values in network.state_dict().items():
        if name.startswith((f"linears.{layer - 1}.", f"norms.{layer - 1}.")):
            # _v is the spectral norm's vector on the side of the inputs.
            if values.ndim and not name.endswith("_v"):
                values.copy_(values[order])
        elif name.startswith(f"linears.{layer}."):
            if name.endswith(("weight", "original", "original1")):
                values.copy_(values[:, order])
            elif name.endswith("_v"):
                values.copy_(values[order])


@pytest.mark.claim("NTK-PERMUTATION")
@given(case=cases(**ALIKE), data=st.data())
def test_permuting_hidden_units_leaves_the_kernel_alone(case, data):
    network, x, x_next = case.draw()
    layer = data.draw(st.integers(1, case.config.depth - 1), label="layer")
    order = data.draw(st.permutations(range(case.config.width)), label="order")
    value, before = evaluate(network, x).detach(), gram_blocks(network, x, x_next)
    of_x, of_x_next = sizes(network, x), sizes(network, x_next)
    permute_units(network, layer, order)
    # The same sums in another order.
    assert ((evaluate(network, x) - value).abs() <= 2 * EPSILON * of_x.of_output).all()
    for rows, old, new in zip((of_x, of_x_next), before, gram_blocks(network, x, x_next), strict=True):
        assert ((new - old).abs() <= 2 * EPSILON * rows.of_gram(of_x)).all(), f"{new} was {old}"


def test_groupnorm_tells_its_units_apart():
    config = MLPConfig(depth=2, width=4, bias=False, normalisation="group:2")
    network, x, x_next = Case(config, inputs=1, rows=1, seed=2).draw()
    before, _ = gram_blocks(network, x, x_next)
    permute_units(network, 1, [0, 2, 1, 3])
    assert not torch.allclose(gram_blocks(network, x, x_next)[0], before, rtol=1e-2)
    permute_units(network, 1, [0, 2, 1, 3])
    # Whole groups may change places.
    permute_units(network, 1, [2, 3, 0, 1])
    torch.testing.assert_close(gram_blocks(network, x, x_next)[0], before, rtol=1e-14, atol=0)
