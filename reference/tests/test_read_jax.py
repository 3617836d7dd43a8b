"""A critic of jax: gradients by row out of jax, the Reading out of this package; `nox -s jax` runs it."""

import numpy as np
import pytest
import torch
from torch import nn

from seem.dynamics import Training
from seem.reading import read

jax = pytest.importorskip("jax")


def test_a_jax_critic_has_the_reading_of_the_same_torch_critic():
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    shapes = ((5, 16), (16,), (16, 1), (1,))
    weights = [rng.normal(size=shape) for shape in shapes]
    x, x_next = rng.normal(size=(2, 12, 5))
    x_next, rewards = 2 * x + 0.1 * x_next, rng.normal(size=12)

    def value(parameters, row):
        first, bias, last, shift = parameters
        return (jax.numpy.tanh(row @ first + bias) @ last + shift)[0]

    by_row = jax.vmap(jax.grad(value), in_axes=(None, 0))

    def gradients(rows):
        return np.concatenate([np.asarray(g).reshape(len(rows), -1) for g in by_row(weights, rows)], axis=1)

    values, values_next = (jax.vmap(value, in_axes=(None, 0))(weights, rows) for rows in (x, x_next))
    training = Training(discount=0.9, lr=1e-2)
    arrays = {
        "gradients": gradients(x),
        "gradients_next": gradients(x_next),
        "values": values,
        "td_error": values - rewards - 0.9 * values_next,
    }
    reading = read(None, arrays, training=training)

    critic = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    with torch.no_grad():
        for parameter, array in zip(critic.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(array.T.copy()))
    other = read(critic, {"x": x, "x_next": x_next, "rewards": rewards}, training=training)
    # 1e-9: the same float64 numbers in another order.
    for name in ("leading", "growth", "td_norm", "critical_discount", "mean_abs_q", "overshoot_gain"):
        assert getattr(reading, name) == pytest.approx(getattr(other, name), rel=1e-9), name
