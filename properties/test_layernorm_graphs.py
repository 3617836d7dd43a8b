"""With skip connections a normalisation stops the kernel's growth along a ray if every path to the head passes one.

Hypotheses: a normalisation of rows (LayerNorm, GroupNorm) with ε > 0 on every path from the input to the head, and a
direction that the first one on each path sees, which random weights do. One in every branch is not enough: the path
along the skip connections passes none.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.graph_critics import KINDS, GraphCase
from seem.ntk import gram_by_jacobians

NEAR = 2.0 ** np.array([-np.inf, 0, 4, 8, 12, 16, 20, 24, 28, 32])
FAR = 2.0**40
GROWN = 2.0**8
"""What a linear share adds at least from 2^32 to 2^40."""
CASES = st.builds(
    GraphCase,
    kind=st.sampled_from(KINDS),
    inputs=st.integers(3, 5),
    width=st.sampled_from((4, 6, 8)),
    blocks=st.integers(1, 2),
    final=st.just(True),
    epsilon=st.sampled_from((1e-5, 1e-2, 1.0)),
    seed=st.integers(0, 2**16),
)


def kernels(case: GraphCase, lengths: np.ndarray) -> np.ndarray:
    """|k(x0, x0 + ρv)| for every length."""
    network, x0, v = case.draw()
    points = x0 + torch.from_numpy(lengths)[:, None] * v
    return gram_by_jacobians(network, x0[None], points)[0].abs().numpy()


@pytest.mark.claim("LN-ANYWHERE")
@given(case=CASES)
def test_a_normalisation_on_every_path_stops_the_growth(case):
    event(case.kind)
    sizes = kernels(case, np.append(NEAR, FAR))
    largest = sizes[:-1].max()
    # Linear growth would be 256-fold; 2 leaves room for shares that cancel at shorter lengths.
    assert sizes[-1] <= 2 * largest, f"|k| = {sizes}"


@pytest.mark.claim("LN-BRANCHES")
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**16))
def test_normalised_branches_alone_do_not_stop_it(kind, seed):
    """The smallest counterexamples: one block, whose branch is normalised; only the last normalisation is left out."""
    closed = GraphCase(kind, inputs=3, width=4, blocks=1, final=True, epsilon=1e-2, seed=seed)
    lengths = np.array([2.0**20, 2.0**30, 2.0**40])
    grown = kernels(replace(closed, final=False), lengths)
    # Affine in ρ far out: equal parts of its slope. A thousandth leaves room for a slope that is small by chance.
    assert (grown[2] - grown[1]) / (lengths[2] - lengths[1]) == pytest.approx(
        (grown[1] - grown[0]) / (lengths[1] - lengths[0]), rel=1e-3
    )
    assert grown[2] > 100 * kernels(closed, np.append(NEAR, FAR)).max()
