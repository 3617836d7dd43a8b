"""The closed-form Gram blocks for every network the strategies draw."""

import torch
from hypothesis import given

from properties.strategies.networks import cases
from seem.ntk import gram_blocks, gram_by_jacobians


@given(case=cases())
def test_closed_form_equals_torch_func(case):
    network, x, x_next = case.draw()
    gram, gram_next = gram_blocks(network, x, x_next)
    for block, (rows, columns) in ((gram, (x, x)), (gram_next, (x_next, x))):
        oracle = gram_by_jacobians(network, rows, columns)
        # 1e-12 of the block's size: sums of at most a few hundred float64 products.
        assert (block - oracle).norm() <= 1e-12 * max(oracle.norm(), 1.0)


@given(case=cases())
def test_symmetric_and_positive_semidefinite(case):
    network, x, x_next = case.draw()
    gram, _ = gram_blocks(network, x, x_next)
    # Rounding of a symmetric sum and of its eigenvalues: a few ulps of the largest entry.
    slack = 1e-12 * float(gram.abs().max().clamp_min(1.0))
    assert (gram - gram.T).abs().max() <= slack
    assert torch.linalg.eigvalsh(gram).min() >= -slack * len(gram)


@given(case=cases())
def test_permuting_rows_permutes_the_kernel(case):
    network, x, x_next = case.draw()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(case.seed))
    gram, gram_next = gram_blocks(network, x, x_next)
    for block, permuted in zip((gram, gram_next), gram_blocks(network, x[order], x_next[order]), strict=True):
        torch.testing.assert_close(permuted, block[order][:, order], rtol=1e-11, atol=1e-11)


@given(case=cases())
def test_same_inputs_give_the_same_block(case):
    network, x, _ = case.draw()
    gram, gram_next = gram_blocks(network, x, x)
    torch.testing.assert_close(gram_next, gram, rtol=1e-12, atol=1e-12)
