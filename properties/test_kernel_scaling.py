"""How the kernel changes with inputs, width and depth.

Scaled inputs: hypotheses as in test_homogeneity.py (no biases, degree 1, no normalisation).
Width: every hidden unit is replaced by m copies of itself with 1/m of its outgoing weights. f stays, and of the
kernel's shares the first layer's, the biases' and the affines' fall to 1/m, the inner layers' stay, the head's
grows to m: the hypothesis is that copies are treated alike, and that no weight is normed.
Depth: an identity layer after a non-negative hidden layer leaves f, and adds a share of its own.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import nn

from properties.oracles import assert_within, gram_shares, sizes
from properties.strategies.networks import PIECEWISE_LINEAR, Case, cases, powers_of_two
from seem.networks import MLP, MLPConfig
from seem.ntk import evaluate, gram_blocks

EPSILON = torch.finfo(torch.float64).eps


@given(case=cases(activations=PIECEWISE_LINEAR, bias=False, normalised=False), data=st.data())
def test_scaling_each_row_scales_its_rows_and_columns(case, data):
    network, x, x_next = case.draw()
    by_row = st.tuples(*[powers_of_two()] * case.rows)
    factors = torch.tensor(data.draw(by_row, label="factors of X"), dtype=torch.float64)
    next_factors = torch.tensor(data.draw(by_row, label="factors of X*"), dtype=torch.float64)
    gram, gram_next = gram_blocks(network, x, x_next)
    scaled, scaled_next = gram_blocks(network, factors[:, None] * x, next_factors[:, None] * x_next)
    # f is homogeneous in x too: δ stays, every h_l scales. Powers of two, hence bitwise.
    assert torch.equal(scaled, factors[:, None] * gram * factors)
    assert torch.equal(scaled_next, next_factors[:, None] * gram_next * factors)


INPUT_COUNTEREXAMPLES = {
    "no biases": MLPConfig(depth=2, width=2),
    "degree 1": MLPConfig(depth=2, width=2, bias=False, activation="tanh"),
    "no normalisation": MLPConfig(depth=2, width=2, bias=False, normalisation="layer"),
}


@pytest.mark.parametrize("dropped", INPUT_COUNTEREXAMPLES)
def test_scaled_inputs_fail_without_their_hypothesis(dropped):
    network, x, _ = Case(INPUT_COUNTEREXAMPLES[dropped], inputs=1, rows=1, seed=0).draw()
    gram, scaled = gram_blocks(network, x, 2 * x)
    assert not torch.allclose(scaled, 2 * gram, rtol=1e-2)


def widened(network: MLP, copies: int) -> MLP:
    """The same function with every hidden unit ``copies`` times, each with its part of the outgoing weights."""
    config = network.config
    wide_config = replace(config, width=config.width * copies)
    inputs = network.linears[0].in_features
    wide = MLP(inputs, 1, wide_config, generator=torch.Generator(), dtype=torch.float64)
    narrow = network.state_dict()
    for name, values in wide.state_dict().items():
        old, layer = narrow[name], int(name.split(".")[1]) + 1
        if layer < config.depth:
            old = old.repeat(copies, *[1] * (old.ndim - 1)) if old.ndim else old
        if layer > 1 and name.endswith("weight") and name.startswith("linears"):
            old = old.repeat(1, copies) / copies
        values.copy_(old)
    return wide.eval()


@given(
    case=cases(normalisations=("layer", "rms", "batch", "scale"), trained=None, dead=None, depth=(2, 4)),
    copies=st.integers(2, 4),
)
def test_copying_hidden_units_moves_the_kernel_from_the_first_layer_to_the_head(case, copies):
    network, x, x_next = case.draw()
    wide, depth = widened(network, copies), case.config.depth
    factors = {name: 1 / copies for name, _ in network.named_parameters()}
    factors |= {f"linears.{layer}.weight": 1.0 for layer in range(1, depth - 1)}
    factors |= {f"linears.{depth - 1}.weight": float(copies), f"linears.{depth - 1}.bias": 1.0}
    of_x, of_x_next = sizes(wide, x), sizes(wide, x_next)
    expected, expected_next = (
        sum(factors[name] * share for name, share in gram_shares(network, z, x).items()) for z in (x, x_next)
    )
    gram, gram_next = gram_blocks(wide, x, x_next)
    # Sums over m times as many terms, each an m-th as large.
    assert_within(
        (evaluate(wide, x), evaluate(network, x), 2 * EPSILON * of_x.of_output),
        (gram, expected, 2 * EPSILON * of_x.of_gram(of_x)),
        (gram_next, expected_next, 2 * EPSILON * of_x_next.of_gram(of_x)),
    )


@given(case=cases(activations=("relu",), normalised=False, depth=(2, 3)), data=st.data())
def test_an_identity_layer_adds_a_positive_semidefinite_share(case, data):
    network, x, x_next = case.draw()
    layer = data.draw(st.integers(1, case.config.depth - 1), label="after hidden layer")
    value, before = evaluate(network, x), gram_blocks(network, x, x_next)
    identity = nn.Linear(case.config.width, case.config.width, bias=False, dtype=torch.float64)
    identity.weight.data = torch.eye(case.config.width, dtype=torch.float64)
    network.linears.insert(layer, identity)
    network.norms.insert(layer, nn.Identity())
    network.config = replace(case.config, depth=case.config.depth + 1)
    # Units are 0 or more there, so that ReLU of the identity changes nothing, not even a rounding.
    assert torch.equal(evaluate(network, x), value)
    of_x, of_x_next = sizes(network, x), sizes(network, x_next)
    bound, bound_next = 3 * EPSILON * of_x.of_gram(of_x), 3 * EPSILON * of_x_next.of_gram(of_x)
    gram, gram_next = gram_blocks(network, x, x_next)
    share, share_next = (gram_shares(network, z, x)[f"linears.{layer}.weight"] for z in (x, x_next))
    # The shares of the other layers stay.
    assert_within((gram, before[0] + share, bound), (gram_next, before[1] + share_next, bound_next))
    assert torch.linalg.eigvalsh(gram - before[0]).min() >= -bound.norm(), "depth took from the kernel"
    event(f"the kernel grows: {bool(share.diagonal().max() > 0)}")
