"""The kernel in float32 against float64: within the rounding that its own sizes allow.

Hypotheses: the same parameters and inputs, to the bit; every unit is on the same side of its kink in both, which
holds where its distance from the kink exceeds its rounding. Counterexample at the end.
"""

import copy

import pytest
import torch
from hypothesis import event, given

from properties.oracles import assert_within, sizes
from properties.strategies.networks import EVERY_KIND, Case, cases
from seem.networks import MLP, MLPConfig
from seem.ntk import evaluate, gram_blocks, gram_by_jacobians

EPSILON = torch.finfo(torch.float32).eps


def in_both(case: Case) -> tuple[MLP, MLP, torch.Tensor, torch.Tensor]:
    """A float32 network, the same in float64, and X and X* of float32."""
    network, x, x_next = case.draw()
    single = network.float()
    return single, copy.deepcopy(single).double(), x.float(), x_next.float()


@given(case=cases(**EVERY_KIND))
def test_blocks_have_the_networks_dtype(case):
    single, _, x, x_next = in_both(case)
    for block in (*gram_blocks(single, x, x_next), gram_by_jacobians(single, x_next, x)):
        assert block.dtype == torch.float32
        assert block.shape == (case.rows, case.rows)


@given(case=cases(**EVERY_KIND))
def test_float32_rounds_within_the_bound(case):
    single, double, x, x_next = in_both(case)
    of_x, of_x_next = sizes(double, x.double()), sizes(double, x_next.double())
    # Rows with a unit closer to its kink than its rounding may differ by a whole unit.
    clear, clear_next = of_x.margin > EPSILON, of_x_next.margin > EPSILON
    event(f"{int((~clear).sum())} rows near a kink")
    gram, gram_next = gram_blocks(single, x, x_next)
    exact, exact_next = gram_blocks(double, x.double(), x_next.double())
    bound, bound_next = EPSILON * of_x.of_gram(of_x), EPSILON * of_x_next.of_gram(of_x)
    assert_within(
        # A kink does not matter to f, which is continuous.
        (evaluate(single, x), evaluate(double, x.double()), EPSILON * of_x.of_output),
        (gram[clear][:, clear], exact[clear][:, clear], bound[clear][:, clear]),
        (gram_next[clear_next][:, clear], exact_next[clear_next][:, clear], bound_next[clear_next][:, clear]),
    )


def test_a_unit_at_its_kink_differs_by_all_of_its_share():
    network, _, _ = Case(MLPConfig(depth=2, width=2, bias=False), inputs=2, rows=1, seed=0).draw()
    with torch.no_grad():
        for linear in network.linears:
            linear.weight.fill_(1.0)
    # x_1 + x_2 is 2^-30 in float64; in float32 x_1 itself is rounded to -x_2.
    x = torch.tensor([[1 + 2.0**-30, -1.0]], dtype=torch.float64)
    exact, _ = gram_blocks(network, x, x)
    rounded, _ = gram_blocks(network.float(), x.float(), x.float())
    assert exact.item() == pytest.approx(4)
    assert rounded.item() == 0
