"""TD3 at batch 256, 256×256 units, hopper's shapes: critic steps a second, one seed and many, and the watch."""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from cases import ACTIONS, BATCH, DISCOUNT, LR, OBSERVATIONS, THREADS, Row, Trained, compare
from interleave import TimedPeer, Timing, interleave, untimed
from td3_peers import EagerTD3
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from peers.pipe import find_peer
from seem.agents.stacked_td3 import StackedTD3
from seem.agents.td3 import TD3, TD3Config
from seem.dynamics import Training
from seem.transitions import Transitions
from seem.watch import Watch

STEPS, ROWS, SEEDS = 200, 100_000, 4
EAGER, D3RLPY, JAX = "eager loop as in CORL", "d3rlpy", "jitted lax.scan (jax)"
REFERENCE = "seem.agents.TD3, the readable reference"
PRODUCTS_ALONE = "the steps' matrix products and nothing else"
TARGETS = {EAGER: 1.5, D3RLPY: 2.0, JAX: 1.0}
BATCHED_TARGET = 2.2
WATCH_TARGET = 0.05
PRODUCTS = ("aten::bmm", "aten::baddbmm", "aten::addmm", "aten::mm")
"""Operators that are matrix products."""


def transitions() -> Transitions:
    """Rows of hopper's shape; training time does not depend on what they hold."""
    generator = torch.Generator().manual_seed(0)
    states, following = torch.randn(2, ROWS, OBSERVATIONS, generator=generator)
    actions = torch.rand(ROWS, ACTIONS, generator=generator) * 2 - 1
    return Transitions(states, actions, torch.randn(ROWS, generator=generator), following, torch.zeros(ROWS))


def stacked(rows: Transitions, seeds: int) -> Callable[[], None]:
    """This project's program of one or many seeds."""
    stack = StackedTD3([TD3(TD3Config(), OBSERVATIONS, ACTIONS, seed=seed) for seed in range(seeds)])
    table, generators = stack.table(rows), [torch.Generator().manual_seed(seed) for seed in range(seeds)]

    def train() -> None:
        for _ in stack.train(table, BATCH, STEPS, generators):
            pass

    return train


def reference(rows: Transitions) -> Callable[[], None]:
    """The agent that is written to be read."""
    agent, generator = TD3(TD3Config(), OBSERVATIONS, ACTIONS, seed=0), torch.Generator().manual_seed(0)

    def train() -> None:
        for _ in range(STEPS):
            agent.update(rows.select(torch.randint(len(rows), (BATCH,), generator=generator)))

    return train


def eager(rows: Transitions, steps: int = STEPS) -> Callable[[], None]:
    """The loop that single-file implementations have."""
    agent = EagerTD3(OBSERVATIONS, ACTIONS)
    data = [rows.observations, rows.actions, rows.rewards[:, None], rows.next_observations, rows.terminals[:, None]]

    def train() -> None:
        for _ in range(steps):
            agent.train(agent.sample(data, BATCH))

    return train


def products_alone(seeds: int, steps: int = STEPS) -> Callable[[], None]:
    """The matrix products of a program's steps without anything between them, batched in the same way."""

    def weights(count: int, inputs: int, outputs: int) -> list[Tensor]:
        return [torch.randn(count, b, a) / a**0.5 for a, b in pairwise((inputs, 256, 256, outputs))]

    def forward(layers: list[Tensor], x: Tensor) -> list[Tensor]:
        return [x, *(x := torch.bmm(x, layer.mT) for layer in layers)]

    def backward(layers: list[Tensor], values: list[Tensor], *, inputs: bool = False) -> None:
        delta = values[-1]
        for layer, value in zip(reversed(layers), reversed(values[:-1]), strict=True):
            if not inputs:
                torch.bmm(delta.mT, value)
            if inputs or layer is not layers[0]:
                delta = torch.bmm(delta, layer)

    actor, critics = weights(seeds, OBSERVATIONS, ACTIONS), weights(2 * seeds, OBSERVATIONS + ACTIONS, 1)
    states, pairs = (torch.randn(2 * seeds, BATCH, layers[0].shape[2]) for layers in (actor, critics))
    first = [layer[::2] for layer in critics]

    def train() -> None:
        for step in range(steps):
            forward(actor, states[::2])
            forward(critics, pairs)
            backward(critics, forward(critics, pairs))
            if step % 2:
                backward(actor, forward(actor, states[::2]))
                backward(first, forward(first, pairs[::2]), inputs=True)

    return train


def start_peers() -> dict[str, TimedPeer]:
    """The peers that have an interpreter of their own."""
    settings = {"observation_dim": OBSERVATIONS, "action_dim": ACTIONS, "batch": BATCH, "rows": ROWS}
    settings |= {"steps": STEPS, "threads": THREADS}
    scripts = {D3RLPY: ("d3rlpy", "d3rlpy_td3.py"), JAX: ("jax", "jax_td3.py")}
    found = {name: (find_peer(library), script) for name, (library, script) in scripts.items()}
    return {name: TimedPeer(python, script, settings) for name, (python, script) in found.items() if python is not None}


def measure(rounds: int) -> list[Row]:
    """One seed and `SEEDS` seeds against every peer, with the share of the arithmetic bound."""
    rows, peers = transitions(), start_peers()
    square = torch.randn(1024, 1024)
    ways: dict[str, Callable[[], float | None]] = {
        "one": stacked(rows, 1),
        "many": stacked(rows, SEEDS),
        REFERENCE: reference(rows),
        EAGER: eager(rows),
        "products of one": products_alone(1),
        "products of many": products_alone(SEEDS),
        "peak": untimed(lambda: [square @ square for _ in range(20)]),
    }
    timings = interleave(ways | peers, rounds)
    for peer in peers.values():
        peer.close()
    for name in ("many", "products of many"):
        timings[name] = Timing(name, tuple(seconds / SEEDS for seconds in timings[name].seconds))
    peak = 20 * 2 * 1024**3 / timings["peak"].median
    table = []
    for name, setting in {"one": "one seed", "many": f"{SEEDS} seeds in one program"}.items():
        ours = timings[name]
        share = operations() * STEPS / ours.median / peak
        note = f"{STEPS / ours.median:.0f} seed-steps a second, {share:.0%} of the measured {peak / 1e9:.0f} GFLOP/s"
        targets = TARGETS if name == "one" else {EAGER: BATCHED_TARGET}
        against = [(timings.get(peer, peer), targets.get(peer)) for peer in (EAGER, D3RLPY, JAX, REFERENCE)]
        table += compare("training", setting, ours, against, per=STEPS, note=note)
        bound = Timing(PRODUCTS_ALONE, timings[f"products of {name}"].seconds)
        most = f"these alone are {timings[EAGER].median / bound.median:.2f}× the {EAGER}"
        table += compare("training", setting, ours, [(bound, None)], per=STEPS, note=most)
    return table


def growth(rounds: int) -> list[Row]:
    """Seed-steps a second as the seeds of one program grow, against the program of one seed."""
    rows = transitions()
    counts = (1, 2, 4, 8, 16)
    timings = interleave({str(seeds): stacked(rows, seeds) for seeds in counts}, rounds)
    each = [Timing("one seed", tuple(s / seeds for s in timings[str(seeds)].seconds)) for seeds in counts]
    return [
        row
        for seeds, ours in zip(counts[1:], each[1:], strict=True)
        for row in compare("growth of training", f"{seeds} seeds in one program", ours, [(each[0], None)], per=STEPS)
    ]


def operations() -> float:
    """Multiplications and additions of the matrix products of one critic step, actor steps averaged in."""
    critic_layers, actor_layers = (OBSERVATIONS + ACTIONS, 256, 256, 1), (OBSERVATIONS, 256, 256, ACTIONS)
    critic, actor = (sum(a * b for a, b in pairwise(layers)) for layers in (critic_layers, actor_layers))
    targets = actor + 2 * critic
    # Forward, gradients of the weights, and deltas of all layers but the first.
    critics = 2 * (3 * critic - critic_layers[0] * critic_layers[1])
    actors = 3 * actor - actor_layers[0] * actor_layers[1] + 2 * critic
    return 2 * BATCH * (targets + critics + actors / 2)


def where_time_goes(operators: int = 8) -> Row:
    """The share of matrix products in a one-seed step, and what the rest is, by torch's profiler."""
    train = stacked(transitions(), 1)
    train()
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        train()
    events = [event for event in watched.key_averages() if event.self_cpu_time_total > 0]
    total = sum(event.self_cpu_time_total for event in events)
    products = sum(e.self_cpu_time_total for e in events if e.key in PRODUCTS) / total
    rest = sorted((e for e in events if e.key not in PRODUCTS), key=lambda e: -e.self_cpu_time_total)[:operators]
    shares = ", ".join(f"{e.key.removeprefix('aten::')} {e.self_cpu_time_total / total:.0%}" for e in rest)
    return Row(
        "profile of training", "one seed", "matrix products", None, products, kind="share", note=f"the rest: {shares}"
    )


def watch(normalisation: str, steps: int = 6000, every: int = 100, rows: int = 128) -> list[Row]:
    """What a reading every 100 steps costs, everything about it counted: copies, TD errors, bounds, look-ahead.

    Args:
        normalisation: "none", a critic that diverges on the way, or "layer", one that does not.
        steps: Critic steps of the run.
        every: Steps between two readings.
        rows: N.
    """
    trained, eager_steps = Trained.start(normalisation, rows), eager(transitions(), every // 10)
    trained.train(every)
    training = Training(discount=DISCOUNT, lr=LR)
    watch = Watch(training=training, every=every, rows=rows, bound=trained.bound, on_alarm="stop")
    spent, steps_taken, loop, certified = [], [], [], 0
    for step in range(every, steps, every):
        moments = [time.perf_counter()]
        critic, inputs = trained.inputs(torch.float32)
        entry = watch.read(critic, inputs, step)
        moments.append(time.perf_counter())
        if entry["alarm_not_finite"]:
            break
        certified += "seem" in entry
        trained.train(every)
        moments.append(time.perf_counter())
        eager_steps()
        moments.append(time.perf_counter())
        for kept, seconds in zip((spent, steps_taken, loop), np.diff(moments), strict=True):
            kept.append(float(seconds))
    note = f"{len(spent)} readings, {certified} with a certified eigenvalue; the dearest took {1e3 * max(spent):.0f} ms"
    kind = "no normalisation" if normalisation == "none" else "LayerNorm"
    setting, milliseconds = f"N = {rows}, every {every} steps, {kind}", 1e3 * float(np.median(spent))
    against = {f"training by the {EAGER}": 10 * sum(loop), "training by seem.agents.StackedTD3": sum(steps_taken)}
    return [
        Row("watch", setting, name, milliseconds, sum(spent) / whole, target=WATCH_TARGET, kind="share", note=note)
        for name, whole in against.items()
    ]
