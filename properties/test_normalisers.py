"""What normalisations with statistics do to the kernel along a ray, and why.

* RMSNorm and GroupNorm divide each row by its own size: bounded by LayerNorm's constant, taken over (z, -z) and over
  the groups. RMSNorm also sees what is common to all units; of GroupNorm every group must see the direction.
* BatchNorm in training mode divides by the batch's size: a row has no gradient of its own, so there is no kernel, and
  values are bounded by the number of rows. In evaluation mode it has no statistics of the rows
  (`test_normalisers_of_weights`).

Hypotheses: as for LayerNorm, see `test_layernorm_bound`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.margins import target_share
from properties.ray_bounds import (
    OPERATIONS,
    ROUNDING,
    assert_kernels_below,
    assert_values_below,
    common_direction,
    gram_along,
    gram_rounding,
)
from properties.strategies.networks import EVERY_KIND, NORMALISATIONS, Case, cases
from properties.strategies.rays import on_rays
from seem.errors import InputError
from seem.layernorm import kernel_bound, value_bound
from seem.networks import MLP, MLPConfig
from seem.normalisation import parse
from seem.ntk import gram_blocks, gram_by_jacobians

OF_ROWS = EVERY_KIND | {"normalised": True, "normalisations": ("rms", "group")}


@pytest.mark.claim("NTK-CLOSED-FORM")
@pytest.mark.parametrize("kind", NORMALISATIONS)
@given(data=st.data())
def test_closed_form_equals_torch_func(kind, data):
    case = data.draw(cases(**(EVERY_KIND | {"normalised": True, "normalisations": (kind,)})), label="case")
    assert_closed_form_equals_torch_func(case)


STALE = [
    Case(MLPConfig(2, 4, normalisation="spectral", normalised_layers=(1,)), 4, 1, 511, dead=((1, 1), (1, 2), (1, 3))),
    Case(MLPConfig(4, 2, normalisation="spectral", normalised_layers=(1, 3)), 1, 1, 174, dead=((3, 1),)),
]
"""One unit of a layer is alive, and the power iteration's vectors are still those of all: σ cancels."""


@pytest.mark.parametrize("case", STALE, ids=["one layer", "two layers"])
def test_closed_form_where_the_terms_of_a_spectral_norm_cancel(case):
    assert_closed_form_equals_torch_func(case)


def assert_closed_form_equals_torch_func(case: Case) -> None:
    network, x, x_next = case.draw()
    rows, both = len(x), torch.cat((x, x_next))
    closed = torch.cat(gram_blocks(network, x, x_next))
    oracle = gram_by_jacobians(network, both, both)[:, :rows]
    # Both sides round.
    slack = 2 * gram_rounding(network, both, x)
    assert ((closed - oracle).abs() <= slack).all(), f"{closed} is not {oracle}"


@pytest.mark.claim("NORM-RMS-GROUP")
@given(drawn=on_rays(cases(first=True, **(OF_ROWS | {"dead": False}))))
def test_kernel_of_rmsnorm_and_groupnorm_stays_below_layernorms_constant(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    assert_kernels_below(network, *ray.draw())


@pytest.mark.claim("NORM-RMS-GROUP")
@given(drawn=on_rays(cases(**OF_ROWS)))
def test_values_of_rmsnorm_and_groupnorm_stay_below_layernorms_bound(drawn):
    case, ray = drawn
    network, *_ = case.draw()
    _, _, points = ray.draw()
    assert_values_below(network, points)


@given(case=cases(first=True, **(OF_ROWS | {"normalisations": ("layer", "rms", "group")})))
def test_rmsnorm_and_groupnorm_are_layernorms_of_more_or_fewer_units(case):
    network, x, _ = case.draw()
    z, epsilon = network.linears[0](x), case.config.epsilon
    if case.config.kind == "rms":
        expected = torch.layer_norm(torch.cat((z, -z), dim=1), (2 * z.shape[1],), eps=epsilon)[:, : z.shape[1]]
    else:
        count = int(parse(case.config.normalisation).option) or 1  # LayerNorm is one group
        groups = z.reshape(len(z), count, -1)
        expected = torch.layer_norm(groups, groups.shape[2:], eps=epsilon).flatten(1)
    # Two orders of summation, whose rounding is divided by √ε or more.
    actual = parse(case.config.normalisation).standardised(network.norms[0], z)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.claim("NORM-RMS-COMMON")
@given(
    drawn=on_rays(cases(first=True, **(OF_ROWS | {"normalisations": ("rms",), "dead": False}))),
    common=st.sampled_from((0.5, -1.0, 3.0)),
)
def test_rmsnorm_sees_a_direction_common_to_all_units(drawn, common):
    """Where LayerNorm's kernel grows linearly (`test_layernorm_placement`): z itself grows, not only its spread."""
    case, ray = drawn
    network, *_ = case.draw()
    x0, _, _ = ray.draw()
    v = common_direction(network, common)
    assert_kernels_below(network, x0, v, x0 + torch.tensor(ray.lengths, dtype=torch.float64)[:, None] * v)


@pytest.mark.claim("NORM-RMS-COMMON")
def test_groupnorm_grows_where_one_group_does_not_see_the_direction_that_layernorm_sees():
    x0, v = torch.ones(2, 1, dtype=torch.float64)
    sizes = {}
    for kind in ("group:2", "layer"):
        shape = MLPConfig(depth=2, width=4, activation="identity", bias=False, normalisation=kind, epsilon=1.0)
        network, *_ = Case(shape, inputs=1, rows=1, seed=0).draw()
        network.linears[0].weight.data.copy_(torch.tensor([[1.0], [1.0], [1.0], [2.0]]))
        sizes[kind] = gram_along(network, x0, torch.tensor([[2.0**20], [2.0**30]], dtype=torch.float64))[0, 1:]
    # What does not grow is some hundred times the slope, beside 2^20.
    assert sizes["group:2"][1] / sizes["group:2"][0] == pytest.approx(2.0**10, rel=1e-3)
    assert sizes["layer"].max() <= kernel_bound(network, x0, v)


BATCH = EVERY_KIND | {"normalised": True, "normalisations": ("batch",)}


@given(drawn=on_rays(cases(**BATCH), count=(2, 5)))
def test_values_of_batchnorm_in_training_mode_are_bounded_by_the_number_of_rows(drawn):
    """A unit's normalised values over M rows have mean 0 and mean square 1: each is at most √(M - 1)."""
    case, ray = drawn
    network, *_ = case.draw()
    _, _, points = ray.draw()
    values = network.train()(points).abs().max().item()
    bound = value_bound(network, stretch=np.sqrt(len(points) - 1))
    target_share(values / bound, "value / bound")
    assert values <= bound * (1 + OPERATIONS * ROUNDING)


def batch_case() -> tuple[MLP, torch.Tensor]:
    shape = MLPConfig(depth=2, width=2, activation="tanh", normalisation="batch")
    network, x, _ = Case(shape, inputs=1, rows=3, seed=0).draw()
    return network, x


@pytest.mark.claim("NORM-BATCH")
def test_batchnorm_in_training_mode_couples_the_rows_and_is_refused():
    network, x = batch_case()
    before = network.train()(x)
    changed = x.clone()
    changed[1] += 1
    assert network(changed)[0] != before[0]
    with pytest.raises(InputError, match="couples the rows"):
        gram_blocks(network, x, x)


@pytest.mark.claim("NORM-BATCH")
def test_in_evaluation_mode_the_rows_are_apart():
    network, x = batch_case()
    before = network(x)
    changed = x.clone()
    changed[1] += 1
    assert torch.equal(network(changed)[::2], before[::2])
