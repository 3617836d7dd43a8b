"""Rays are what their recipe says, with lengths from nothing to 1e12 on both sides, and they shrink well."""

import math

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.meta.search import SEARCH
from properties.strategies.networks import cases
from properties.strategies.rays import LONGEST, TINY, Ray, lengths, on_rays, rays


@given(data=st.data(), inputs=st.integers(1, 4))
def test_points_lie_on_the_ray(data, inputs):
    ray = data.draw(rays(inputs), label="ray")
    x0, v, points = ray.draw()
    assert x0.shape == v.shape == (inputs,)
    assert points.shape == (len(ray.lengths), inputs)
    assert points.dtype == torch.float64
    for point, length in zip(points, ray.lengths, strict=True):
        assert torch.equal(point, x0 + length * v)
        assert abs(length) <= LONGEST


@given(data=st.data(), inputs=st.integers(1, 4))
def test_acute_rays_have_two_ends_and_no_obtuse_angle(data, inputs):
    ray = data.draw(rays(inputs, acute=True), label="ray")
    assert any(ray.start)
    assert any(ray.direction)
    assert sum(a * b for a, b in zip(ray.start, ray.direction, strict=True)) >= 0


@given(length=lengths(forward=True, longest=2.0))
def test_forward_lengths_keep_their_bounds(length):
    assert 0 <= length <= 2


@given(drawn=on_rays(cases(), count=(2, 3)))
def test_a_ray_has_the_inputs_of_its_network(drawn):
    case, ray = drawn
    assert len(ray.start) == len(ray.direction) == case.inputs
    assert 2 <= len(ray.lengths) <= 3


@given(data=st.data())
def test_a_recipe_survives_its_repr(data):
    ray = data.draw(rays(2), label="ray")
    assert eval(repr(ray)) == ray  # noqa: S307 - the repr is what a failure prints


KINDS = {
    "no length": lambda length: length == 0,
    "a subnormal length": lambda length: abs(length) == TINY,
    "a tiny length": lambda length: 0 < abs(length) < 1e-100,
    "the longest": lambda length: length == LONGEST,
    "the longest backwards": lambda length: length == -LONGEST,
    "an ordinary length backwards": lambda length: -10 < length < -0.1 and length != round(length),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_length_is_found(kind):
    # find raises when 2000 examples do not hold one.
    assert KINDS[kind](find(lengths(), KINDS[kind], settings=SEARCH)) is True


ANGLES = {
    "opposite": lambda x0, v: bool(x0.any()) and any(torch.equal(x0 * 2.0**power, -v) for power in range(-8, 9)),
    "along": lambda x0, v: bool(x0.any()) and any(torch.equal(x0 * 2.0**power, v) for power in range(-8, 9)),
    "at a right angle": lambda x0, v: x0 @ v == 0 and bool(x0.any()) and bool(v.any()),
    "no movement": lambda x0, v: not v.any() and bool(x0.any()),
    "from the origin": lambda x0, v: not x0.any() and bool(v.any()),
    "a distant start": lambda x0, v: x0.norm() > 500,
}


@pytest.mark.parametrize("angle", ANGLES)
def test_every_kind_of_angle_is_found(angle):
    assert find(rays(2), lambda ray: ANGLES[angle](*ray.draw()[:2]), settings=SEARCH)


def test_shrinks_to_one_point_at_the_origin():
    assert find(rays(2), lambda _: True) == Ray((0.0, 0.0), (0.0, 0.0), (0.0,))
    assert find(rays(2, acute=True), lambda _: True) == Ray((1.0, 0.0), (1.0, 0.0), (0.0,))
    assert find(lengths(), lambda length: length < -1e3) == -LONGEST


@pytest.mark.parametrize(
    ("strategy", "arguments", "name"),
    [
        (lengths, {"longest": 1.0}, "longest"),
        (lengths, {"longest": math.inf}, "longest"),
        (rays, {"inputs": 0}, "inputs"),
        (rays, {"inputs": 1, "count": (0, 1)}, "count"),
        (rays, {"inputs": 1, "count": (2, 1)}, "count"),
    ],
)
def test_an_impossible_argument_is_named(strategy, arguments, name):
    with pytest.raises(InvalidArgument, match=name):
        strategy(**arguments)
