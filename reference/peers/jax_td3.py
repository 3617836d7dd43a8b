"""TD3 as one jitted ``lax.scan`` in jax, sampling included, timed in its own interpreter."""

import json
import sys
import time
from itertools import pairwise

import jax
import jax.numpy as jnp

told = json.loads(sys.stdin.readline())
states, actions, batch, width = told["observation_dim"], told["action_dim"], told["batch"], 256
key = jax.random.PRNGKey(0)
drawn = jax.random.split(key, 8)
rows = told["rows"]
data = (
    jax.random.normal(drawn[0], (rows, states)),
    jax.random.uniform(drawn[1], (rows, actions), minval=-1, maxval=1),
    jax.random.normal(drawn[2], (rows,)),
    jax.random.normal(drawn[3], (rows, states)),
    jnp.zeros(rows),
)


def network(key, *sizes):
    keys = jax.random.split(key, len(sizes))
    pairs = zip(keys, pairwise(sizes), strict=False)
    return [(jax.random.uniform(k, (i, o), minval=-1, maxval=1) / i**0.5, jnp.zeros(o)) for k, (i, o) in pairs]


def forward(parameters, x):
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ parameters[-1][0] + parameters[-1][1]


def policy(parameters, s):
    return jnp.tanh(forward(parameters, s))


def twins(parameters, s, a):
    return jax.vmap(forward, (0, None))(parameters, jnp.concatenate((s, a), 1))[..., 0]


def adam(parameters, gradient, moments, step):
    first, second = moments
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
    scale1, scale2 = 1 - 0.9**step, 1 - 0.999**step
    moved = jax.tree.map(
        lambda p, m, v: p - 3e-4 * (m / scale1) / (jnp.sqrt(v / scale2) + 1e-8), parameters, first, second
    )
    return moved, (first, second)


def step(carry, number):
    actor, critic, actor_target, critic_target, actor_moments, critic_moments, key = carry
    key, noise_key, index_key = jax.random.split(key, 3)
    index = jax.random.randint(index_key, (batch,), 0, rows)
    s, a, r, s_next, d = (part[index] for part in data)
    noise = jnp.clip(0.2 * jax.random.normal(noise_key, a.shape), -0.5, 0.5)
    a_next = jnp.clip(policy(actor_target, s_next) + noise, -1, 1)
    target = r + 0.99 * (1 - d) * twins(critic_target, s_next, a_next).min(0)
    gradient = jax.grad(lambda c: ((twins(c, s, a) - target) ** 2).mean(1).sum())(critic)
    critic, critic_moments = adam(critic, gradient, critic_moments, number)

    def move(parts):
        actor, actor_moments, actor_target, critic_target = parts
        first = jax.tree.map(lambda p: p[0], critic)

        def loss(actor):
            values = forward(first, jnp.concatenate((s, policy(actor, s)), 1))
            return -2.5 * values.mean() / jax.lax.stop_gradient(jnp.abs(values).mean())

        actor, actor_moments = adam(actor, jax.grad(loss)(actor), actor_moments, number / 2)
        blend = lambda t, p: jax.tree.map(lambda x, y: 0.995 * x + 0.005 * y, t, p)  # noqa: E731
        return actor, actor_moments, blend(actor_target, actor), blend(critic_target, critic)

    parts = (actor, actor_moments, actor_target, critic_target)
    actor, actor_moments, actor_target, critic_target = jax.lax.cond(number % 2 == 0, move, lambda p: p, parts)
    return (actor, critic, actor_target, critic_target, actor_moments, critic_moments, key), target.mean()


actor = network(drawn[4], states, width, width, actions)
critic = jax.vmap(lambda k: network(k, states + actions, width, width, 1))(jax.random.split(drawn[5], 2))
zeros = lambda p: (jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p))  # noqa: E731
carry = (actor, critic, actor, critic, zeros(actor), zeros(critic), drawn[6])
run = jax.jit(lambda carry, begun: jax.lax.scan(step, carry, begun + jnp.arange(1.0, told["steps"] + 1)))
carry, means = run(carry, 0.0)
means.block_until_ready()
print(json.dumps({"version": jax.__version__}), flush=True)
taken = told["steps"]
for _ in sys.stdin:
    started = time.perf_counter()
    carry, means = run(carry, float(taken))
    means.block_until_ready()
    taken += told["steps"]
    print(json.dumps({"seconds": time.perf_counter() - started, "finite": bool(jnp.isfinite(means).all())}), flush=True)
