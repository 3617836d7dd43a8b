"""The kernel of every kind of critic against float64 autograd row by row, and by which way it came."""

import pytest
import torch

from reference.tests.critic_kinds import KINDS, build, oracle
from seem import kernel
from seem.gradients import jacobian, products
from seem.isolation import untouched
from seem.kernel import kernel_blocks
from seem.ntk import gram_blocks, read_kernel

TOLERANCE = 1e-12
"""Two orders of summation of some thousand float64 products."""
WITHOUT_VMAP = {"LSTM", "GRU", "re-entrant checkpointing", "uint8 images", "checkpointing", "PReLU"}


def near(value, expected, tolerance=TOLERANCE):
    error = (value - expected).norm() / expected.norm().clamp_min(1e-300)
    assert error <= tolerance, f"off by {error:.3g}"


@pytest.mark.parametrize("name", KINDS)
def test_blocks_in_float64_from_a_float32_critic(name):
    kind = build(name)
    made = read_kernel(kind.modules, kind.x, kind.x_next, dtype=torch.float64).blocks
    gram, gram_next = oracle(kind)
    near(made.gram, gram)
    near(made.gram_next, gram_next)
    # Where tokens and rows cannot be told apart the factors are wrong, which is noticed; re-entrant checkpointing
    # gives no derivatives by what is inside.
    assert made.way == ("torch.func" if name in ("as many tokens as rows", "re-entrant checkpointing") else "layerwise")


@pytest.mark.parametrize("name", sorted(set(KINDS) - WITHOUT_VMAP))
def test_the_ways_to_the_same_blocks(name, monkeypatch):
    kind = build(name, torch.float64)
    found = read_kernel(kind.modules, kind.x, kind.x_next)
    with untouched():
        rows = jacobian(found.subject, found.x, list(found.subject.parameters))
    near(products(rows, rows), found.blocks.gram)

    def wrong(*arguments):
        return tuple(block * (1 + 1e-6) for block in (found.blocks.gram, found.blocks.gram_next))

    monkeypatch.setattr(kernel, "_layerwise", wrong)
    with untouched():
        again = kernel_blocks(found.subject, found.x, found.x_next, len(found.values))
    assert again.way == "torch.func"
    near(again.gram_next, found.blocks.gram_next)
    monkeypatch.setattr(kernel, "_by_rows", wrong)
    with untouched():
        again = kernel_blocks(found.subject, found.x, found.x_next, len(found.values))
    assert again.way == "rows"
    near(again.gram_next, found.blocks.gram_next)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_what_vmap_does_not_know_is_read_row_by_row(name):
    kind = build(name, torch.float64)
    found = read_kernel(kind.modules, kind.x, kind.x_next)
    with untouched(), pytest.raises(RuntimeError):
        jacobian(found.subject, found.x, list(found.subject.parameters))


def test_half_precision_is_read_as_exact_numbers_and_said():
    kind = build("LayerNorm", torch.bfloat16)
    made = read_kernel(kind.modules, kind.x.double(), kind.x_next.double())
    exact = build("LayerNorm", torch.bfloat16)
    exact.modules[0].double()
    exact.x, exact.x_next = exact.x.double(), exact.x_next.double()
    near(made.blocks.gram, oracle(exact)[0])
    assert "bfloat16" in made.subject.notes[0]
    assert gram_blocks(kind.modules[0], kind.x, kind.x_next)[0].dtype == torch.float64


def test_a_module_that_computes_in_float32_only_says_so():
    class Narrow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 1)

        def forward(self, x):
            if self.linear.weight.dtype != torch.float32:
                raise RuntimeError("float32 only")
            return self.linear(x)

    kind = build("LayerNorm")
    made = read_kernel(Narrow(), kind.x, kind.x_next, dtype=torch.float64)
    assert made.subject.notes == ("the critic computes in torch.float32 only",)
    near(made.blocks.gram[0, 0], kind.x @ kind.x.T + 1, 1e-6)
