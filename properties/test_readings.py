"""Readings of critics that share, freeze, couple or leave out parts, drawn at random."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seem.dynamics import Training
from seem.errors import InputError
from seem.ntk import gram_blocks
from seem.reading import read

SEEDS = st.integers(0, 2**32 - 1)
TRAINING = Training(discount=0.9, lr=0.1)


class Parts(nn.Module):
    """Critics out of a pool of linear layers, any of which may be shared, frozen or unused.

    Args:
        paths: For every critic the layers that it goes through, by their place in the pool.
        frozen: Layers that are not trained.
        seed: Of the weights.
    """

    def __init__(self, paths: list[list[int]], frozen: set[int], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.paths = paths
        self.layers = nn.ModuleList([nn.Linear(3, 3, dtype=torch.float64) for _ in range(4)])
        self.heads = nn.ModuleList([nn.Linear(3, 1, dtype=torch.float64) for _ in paths])
        for index, parameter in enumerate(self.parameters()):
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.requires_grad_(index // 2 not in frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One value per critic."""
        values = []
        for path, head in zip(self.paths, self.heads, strict=True):
            h = x
            for layer in path:
                h = torch.tanh(self.layers[layer](h))
            values.append(head(h))
        return tuple(values)


def gradients(module: Parts, x: Tensor) -> Tensor:
    """Gradients of every critic and row by all trained parameters, shape (N, M, P), by a loop."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = []
    for critic, row in itertools.product(range(len(module.paths)), range(len(x))):
        value = module(x[row : row + 1])[critic].sum()
        taken = torch.autograd.grad(value, trained, allow_unused=True)
        pairs = zip(taken, trained, strict=True)
        found.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
    return torch.stack(found).reshape(len(module.paths), len(x), -1)


paths = st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=3)


@given(paths=paths, frozen=st.sets(st.integers(0, 3)), rows=st.integers(2, 5), seed=SEEDS)
def test_the_joint_matrix_is_that_of_a_loop_and_nothing_is_touched(paths, frozen, rows, seed):
    module = Parts(paths, frozen, seed)
    generator = torch.Generator().manual_seed(seed)
    x, x_next = torch.randn(2, rows, 3, generator=generator, dtype=torch.float64)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    # As many critics as rows leave open which dimension is which; a tuple does not.
    reading = read(module, {"x": x, "x_next": x_next, "td_error": torch.ones(len(paths), rows)}, training=TRAINING)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    here, there = gradients(module, x), gradients(module, x_next)
    with torch.no_grad():
        smallest = torch.cat(module(x_next), 1).argmin(1)
    chosen = there[smallest, torch.arange(rows)]
    matrix = -torch.einsum("iap,jbp->iajb", here, here) + 0.9 * torch.einsum("ap,jbp->ajb", chosen, here)[None]
    matrix = matrix.reshape(len(paths) * rows, -1)
    # 1e-10: sums of a hundred products in float64.
    assert (reading.parts.matrix - matrix).norm() <= 1e-10 * (matrix.norm() + 1e-300)
    largest = torch.linalg.eigvals(matrix).real.max().item()
    assert reading.leading == pytest.approx(largest, abs=1e-6 * matrix.norm().item())


@given(kept=st.floats(0.0, 0.9), seed=SEEDS, rows=st.integers(2, 6))
def test_rows_coupled_by_hand_are_refused(kept, seed, rows):
    """A critic that takes off a share of the batch's mean; with none of it the same code is read."""

    class Coupled(nn.Module):
        def __init__(self, share):
            super().__init__()
            self.linear, self.share = nn.Linear(2, 1, dtype=torch.float64), share

        def forward(self, x):
            return self.linear(x - self.share * x.mean(0))

    x, x_next = torch.randn(2, rows, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gram_blocks(Coupled(0.0), x, x_next)
    with pytest.raises(InputError, match="couples the rows"):
        gram_blocks(Coupled(1 - kept), x, x_next)


@given(seed=SEEDS, scale=st.integers(-8, 8))
def test_a_loss_scale_scales_the_step_and_not_the_matrix(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x, x_next, u = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    critic = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    batch = {"x": x, "x_next": x_next, "td_error": u[0]}
    plain = read(critic, batch, training=TRAINING)
    scaled = read(copy.deepcopy(critic), batch, training=Training(discount=0.9, lr=0.1, loss_scale=2.0**scale))
    assert scaled.leading == plain.leading
    assert scaled.rate == plain.rate * 2.0**scale  # a power of two is exact
