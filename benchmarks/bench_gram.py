"""The SEEM matrix A: the closed form against a loop over samples, torch.func, and neural-tangents."""

from collections.abc import Callable
from functools import partial

import torch
from cases import DISCOUNT, Row, compare, critic_and_rows
from interleave import TimedPeer, Timing, interleave, peak_memory, untimed
from ntk_peers import by_published_procedure, by_sample, by_torch_func

from peers.pipe import find_peer
from seem.operators import SEEMOperator

PUBLISHED, LOOP = "published procedure, three products", "its loop over samples, one product"
CONTRACTION, STRUCTURED = "torch.func contraction", "neural-tangents"
TARGETS = {"none": {PUBLISHED: 75.0, CONTRACTION: 15.0, STRUCTURED: 2.5}}
TARGETS["layer"] = TARGETS["none"] | {PUBLISHED: 60.0}
MEMORY_TARGET = 15.0
ROWS = 1024
"""Rows that the targets are set for."""
MEMORY_SCRIPT = """
import sys
sys.path.insert(0, "benchmarks")
from bench_gram import seem_matrix
from cases import DISCOUNT, critic_and_rows
from ntk_peers import by_torch_func
way, rows, normalisation = sys.argv[1:]
critic, x, x_next = critic_and_rows(int(rows), normalisation=normalisation)
critic(x)
if way != "base":
    (seem_matrix if way == "ours" else by_torch_func)(critic, x, x_next, DISCOUNT)
"""


def seem_matrix(critic, x, x_next, discount):
    """A by this project."""
    return SEEMOperator.of(critic, x, x_next, discount=discount, terminals=torch.zeros(len(x))).matrix()


def start_structured(critic, x, x_next) -> TimedPeer | None:
    """neural-tangents on the same critic, when it is installed."""
    python = find_peer("neural-tangents")
    if python is None:
        return None
    affines = [(n.weight.tolist(), n.bias.tolist()) for n in critic.norms if isinstance(n, torch.nn.LayerNorm)]
    settings = {"weights": [layer.weight.tolist() for layer in critic.linears], "affines": affines}
    settings |= {"biases": [layer.bias.tolist() for layer in critic.linears], "discount": DISCOUNT}
    return TimedPeer(python, "neural_tangents_ntk.py", settings | {"x": x.tolist(), "x_next": x_next.tolist()})


def measure(rows: int, normalisation: str, rounds: int, repeats: int = 5) -> list[Row]:
    """One setting: N rows of a 14-256-256-1 critic in float32.

    Args:
        rows: N.
        normalisation: "none" or "layer".
        rounds: Rounds of the interleaved run.
        repeats: Repetitions of the fast ways inside a round.
    """
    critic, x, x_next = critic_and_rows(rows, normalisation=normalisation)
    peer = start_structured(critic, x, x_next)
    matrix = seem_matrix(critic, x, x_next, DISCOUNT)
    # Two float32 summations of some hundred terms.
    for other in (by_published_procedure, by_sample, by_torch_func):
        assert (other(critic, x, x_next, DISCOUNT) - matrix).norm() <= 1e-5 * matrix.norm()
    ways: dict[str, Callable[[], float | None]] = {
        "ours": untimed(lambda: [seem_matrix(critic, x, x_next, DISCOUNT) for _ in range(repeats)]),
        PUBLISHED: untimed(lambda: by_published_procedure(critic, x, x_next, DISCOUNT)),
        LOOP: untimed(lambda: by_sample(critic, x, x_next, DISCOUNT)),
        CONTRACTION: untimed(lambda: by_torch_func(critic, x, x_next, DISCOUNT)),
    }
    if peer is not None:
        assert abs(peer.told["norm"] - matrix.norm().item()) <= 1e-4 * matrix.norm().item()
        ways[STRUCTURED] = lambda: sum(peer() for _ in range(repeats)) / repeats
    timings = interleave(ways, rounds)
    timings["ours"] = Timing("ours", tuple(seconds / repeats for seconds in timings["ours"].seconds))
    if peer is not None:
        peer.close()
    targets = TARGETS[normalisation] if rows == ROWS else {}
    names = (PUBLISHED, LOOP, CONTRACTION, STRUCTURED)
    peers = [(timings.get(name, name), targets.get(name)) for name in names]
    return compare("A", name_of(rows, normalisation), timings["ours"], peers)


def memory(rows: int, normalisation: str) -> Row:
    """Peak memory above the critic and the rows, against the contraction's."""
    base, ours, contraction = (
        peak_memory(MEMORY_SCRIPT, way, str(rows), normalisation)[0] for way in ("base", "ours", CONTRACTION)
    )
    ratio = (contraction - base) / max(ours - base, 1.0)
    note = f"{ours - base:.0f} against {contraction - base:.0f} MiB above the start"
    target = MEMORY_TARGET if rows == ROWS else None
    return Row("peak memory of A", name_of(rows, normalisation), CONTRACTION, None, ratio, target=target, note=note)


def growth(rounds: int) -> list[Row]:
    """Time against the contraction as rows, width and depth grow, one at a time."""
    shapes = [{"rows": rows} for rows in (256, 1024, 4096)]
    shapes += [{"width": width} for width in (64, 256, 1024)] + [{"depth": depth} for depth in (2, 3, 6)]
    table = []
    for shape in shapes:
        case = critic_and_rows(**({"rows": 512} | shape))
        ways = {"ours": untimed(partial(seem_matrix, *case, DISCOUNT))}
        timings = interleave(ways | {CONTRACTION: untimed(partial(by_torch_func, *case, DISCOUNT))}, rounds)
        name, value = next(iter(shape.items()))
        others = "512 rows of 256 units in 3 layers" if name != "rows" else "256 units in 3 layers"
        table += compare(
            "growth of A", f"{name} {value:,}, else {others}", timings["ours"], [(timings[CONTRACTION], None)]
        )
    return table


def name_of(rows: int, normalisation: str) -> str:
    """How the table names a setting."""
    return f"N = {rows:,}, {'LayerNorm' if normalisation == 'layer' else 'plain'}, float32"


def roofline(rounds: int) -> Row:
    """Share of the measured matrix-product rate: the products that A needs, against a square product."""
    critic, x, x_next = critic_and_rows(ROWS)
    square = torch.randn(1024, 1024)
    ways = {
        "ours": untimed(lambda: seem_matrix(critic, x, x_next, DISCOUNT)),
        "peak": untimed(lambda: [square @ square for _ in range(4)]),
    }
    timings = interleave(ways, rounds)
    # G(X*, X) in full and one half of G(X, X), over the widths of all factors.
    widths = (256 + 15) + (256 + 257) + 257
    needed = 1.5 * 2 * ROWS**2 * widths
    achieved, peak = needed / timings["ours"].median / 1e9, 4 * 2 * 1024**3 / timings["peak"].median / 1e9
    note = f"{achieved:.0f} of {peak:.0f} GFLOP/s, elementwise work and both passes through the network included"
    milliseconds = 1e3 * timings["ours"].median
    return Row("roofline of A", name_of(ROWS, "none"), "sgemm", milliseconds, achieved / peak, kind="share", note=note)
