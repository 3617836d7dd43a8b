"""The closed-form Gram blocks against per-sample autograd and ``torch.func``."""

import pytest
import torch
from torch import nn

from seem.errors import InputError
from seem.networks import MLP, DeterministicActor, MLPConfig
from seem.ntk import gram_blocks, gram_by_jacobians

SHAPES = [
    MLPConfig(depth=1),
    MLPConfig(depth=2, width=7),
    MLPConfig(depth=3, width=7, bias=False),
    MLPConfig(depth=4, width=6, activation="tanh"),
    MLPConfig(depth=3, width=7, activation="gelu", normalisation="layer"),
    MLPConfig(depth=4, width=7, normalisation="layer", normalised_layers=(2,), affine=False),
    MLPConfig(depth=4, width=7, normalisation="layer", normalised_layers=(1, 3), epsilon=0.0),
    *(MLPConfig(depth=3, width=6, normalisation=kind) for kind in ("rms", "group:2", "batch", "scale")),
    *(MLPConfig(depth=3, width=6, normalisation=kind, affine=False) for kind in ("rms", "group:3", "batch")),
    *(MLPConfig(depth=4, width=6, normalisation=kind, normalised_layers=(1, 3)) for kind in ("weight", "spectral")),
    *(MLPConfig(depth=3, width=6, bias=False, normalisation=kind) for kind in ("weight", "spectral", "scale:0.3")),
]


def drawn(config: MLPConfig, rows: int = 9) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    network = MLP(5, 1, config, generator=generator, dtype=torch.float64).eval()
    for parameter in network.parameters():  # gains of 1 and shifts of 0 would hide a wrong factor
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x, x_next = torch.randn(2, rows, 5, generator=generator, dtype=torch.float64)
    return network, x, x_next


def loop_gram(network: nn.Module, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The slow obvious way: one backward pass a sample, gradients as long rows."""

    def rows(inputs: torch.Tensor) -> torch.Tensor:
        gradients = [torch.autograd.grad(network(row[None]).sum(), list(network.parameters())) for row in inputs]
        return torch.stack([torch.cat([g.flatten() for g in gradient]) for gradient in gradients])

    return rows(z) @ rows(x).T


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_closed_form_equals_autograd_loop_and_torch_func(config):
    network, x, x_next = drawn(config)
    gram, gram_next = gram_blocks(network, x, x_next)
    for block, (z, y) in ((gram, (x, x)), (gram_next, (x_next, x))):
        oracle = loop_gram(network, z, y)
        scale = oracle.norm()
        # 1e-12 relative: sums of at most a few hundred products in float64, each with error 1e-16.
        assert (block - oracle).norm() <= 1e-12 * scale
        assert (gram_by_jacobians(network, z, y, chunk=4) - oracle).norm() <= 1e-12 * scale


def test_rows_of_the_second_block_are_the_next_inputs():
    network, x, x_next = drawn(MLPConfig(depth=2, width=7))
    _, gram_next = gram_blocks(network, x, x_next)
    assert not torch.allclose(gram_next, gram_next.T)
    gradient = torch.autograd.grad(network(x_next[2:3]).sum(), list(network.parameters()))
    other = torch.autograd.grad(network(x[5:6]).sum(), list(network.parameters()))
    expected = sum((a * b).sum() for a, b in zip(gradient, other, strict=True))
    torch.testing.assert_close(gram_next[2, 5], expected, rtol=1e-12, atol=0)


def test_foreign_module_of_two_arguments():
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1, dtype=torch.float64)

        def forward(self, observations, actions):
            return self.linear(torch.cat((observations, actions), dim=1))

    observations = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    actions = observations[:, :1] ** 2
    x = torch.cat((observations, actions), dim=1)
    gram, _ = gram_blocks(Foreign(), (observations, actions), (observations, actions))
    torch.testing.assert_close(gram, x @ x.T + 1, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
        MLP(3, 1, MLPConfig(width=4, normalisation="batch"), generator=torch.Generator().manual_seed(0)),
    ],
    ids=["foreign", "perceptron"],
)
def test_batch_norm_in_training_mode_is_refused(network):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"network\.eval"):
        gram_blocks(network, x, x)
    network.eval()
    gram, _ = gram_blocks(network, x, x)
    torch.testing.assert_close(gram, loop_gram(network, x, x))


def test_a_reading_in_training_mode_leaves_the_spectral_norm_at_its_place():
    network, x, x_next = drawn(MLPConfig(depth=3, width=6, normalisation="spectral"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    blocks = gram_blocks(network, x, x_next)
    training = gram_blocks(network.train(), x, x_next)
    by_func = gram_by_jacobians(network, x_next, x)
    assert (by_func - blocks[1]).norm() <= 1e-12 * blocks[1].norm()
    assert all(torch.equal(one, other) for one, other in zip(blocks, training, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_subclass_with_its_own_forward_is_measured_as_what_it_is():
    actor = DeterministicActor(5, 1, MLPConfig(depth=2, width=4), generator=torch.Generator().manual_seed(0))
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    # 1e-5: float32.
    torch.testing.assert_close(gram_blocks(actor, x, x)[0], loop_gram(actor, x, x), rtol=1e-5, atol=1e-5)


def test_several_outputs_are_refused():
    network = MLP(3, 2, MLPConfig(depth=2, width=4), generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="one output"):
        gram_blocks(network, x, x)
