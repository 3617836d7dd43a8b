"""neural-tangents' empirical kernel by structured derivatives, timed in its own interpreter.

Weights are stored (in, out) and applied as ``x @ W``: stored the other way round the library loses its rule.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import neural_tangents as nt
import numpy as np

told = json.loads(sys.stdin.readline())


def numbers(values):
    return jnp.asarray(np.asarray(values, np.float32))


weights = [(numbers(w).T.copy(), numbers(b)) for w, b in zip(told["weights"], told["biases"], strict=True)]
gains = [(numbers(gain), numbers(shift)) for gain, shift in told["affines"]]
x, x_next = numbers(told["x"]), numbers(told["x_next"])


def apply(parameters, inputs):
    weights, gains = parameters
    hidden = inputs
    for number, (weight, bias) in enumerate(weights[:-1]):
        hidden = hidden @ weight + bias
        if gains:
            mean = hidden.mean(1, keepdims=True)
            hidden = (hidden - mean) / jnp.sqrt(hidden.var(1, keepdims=True) + 1e-5)
            hidden = hidden * gains[number][0] + gains[number][1]
        hidden = jax.nn.relu(hidden)
    return hidden @ weights[-1][0] + weights[-1][1]


kernel = nt.empirical_ntk_fn(
    apply, trace_axes=(), vmap_axes=0, implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES
)


@jax.jit
def seem(parameters, x, x_next):
    block = kernel(jnp.concatenate((x, x_next)), x, parameters).reshape(2 * len(x), len(x))
    return told["discount"] * block[len(x) :] - block[: len(x)]


matrix = np.asarray(seem((weights, gains), x, x_next))
print(
    json.dumps({"version": nt.__version__, "jax": jax.__version__, "norm": float(np.linalg.norm(matrix))}), flush=True
)
for _ in sys.stdin:
    started = time.perf_counter()
    seem((weights, gains), x, x_next).block_until_ready()
    print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)
