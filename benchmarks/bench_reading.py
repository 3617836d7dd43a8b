"""A whole reading, A and its leading eigenvalue in float64: certified iteration against the published procedure."""

import time
from functools import partial

import numpy as np
import torch
from cases import DISCOUNT, Row, Trained, compare
from interleave import Timing, interleave, peak_memory, untimed
from ntk_peers import by_published_procedure

from seem.enclosure import Enclosure, enclose
from seem.leading import TOLERANCE, Leading, from_all_eigenvalues, leading_eigenvalue
from seem.leading_operator import leading_of_operator
from seem.operators import SEEMOperator

PUBLISHED = "published procedure"
DENSE = "the same A, all eigenvalues"
STEPS = 2000
"""Critic steps before the reading: by then Q of the critic without normalisation has surged."""
TARGETS = {"none": 20.0, "layer": 2.0}
LARGE_SCRIPT = """
import sys
sys.path.insert(0, "benchmarks")
from bench_reading import print_large
print_large(int(sys.argv[1]))
"""


def reading(critic, inputs) -> Leading:
    """The certified leading eigenvalue of this project."""
    options = {"discount": DISCOUNT, "terminals": inputs["terminals"]}
    matrix = SEEMOperator.of(critic, inputs["x"], inputs["x_next"], **options).matrix()
    return leading_eigenvalue(matrix.numpy())


def published(critic, inputs) -> complex:
    """The published procedure, masked at true terminals, then all eigenvalues of A."""
    mask = DISCOUNT * (1 - inputs["terminals"])[:, None]
    matrix = by_published_procedure(critic, inputs["x"], inputs["x_next"], mask)
    values = np.linalg.eigvals(matrix.numpy())
    return complex(values[np.argmax(values.real)])


def all_eigenvalues(critic, inputs) -> complex:
    """This project's A with the eigenvalues of a dense solver."""
    options = {"discount": DISCOUNT, "terminals": inputs["terminals"]}
    values = np.linalg.eigvals(SEEMOperator.of(critic, inputs["x"], inputs["x_next"], **options).matrix().numpy())
    return complex(values[np.argmax(values.real)])


def measure(rows: int, normalisation: str, rounds: int) -> list[Row]:
    """One setting: a trained critic, read at N rows in float64.

    Args:
        rows: N.
        normalisation: "none", which diverges, or "layer", which does not.
        rounds: Rounds of the interleaved run.
    """
    trained = Trained.start(normalisation, rows)
    trained.train(STEPS)
    critic, inputs = trained.inputs()
    found = reading(critic, inputs)
    slow = published(critic, inputs)
    # Both have one eigenvalue of a matrix that differs by rounding; the spectrum is not normal.
    assert abs(found.value.real - slow.real) <= 1e-6 * abs(slow), (found, slow)
    ways = {"ours": reading, PUBLISHED: published}
    ways |= {DENSE: all_eigenvalues} if found.method == "iterative" else {}
    timings = interleave({name: untimed(partial(way, critic, inputs)) for name, way in ways.items()}, rounds)
    peers: list[tuple[Timing | str, float | None]] = [(timings[PUBLISHED], TARGETS[normalisation])]
    peers += [(timings[DENSE], None)] if DENSE in timings else []
    kind = "diverging critic" if normalisation == "none" else "healthy LayerNorm critic"
    value = f"λ = {found.value.real:.4g}, {found.method}, {found.products} products"
    return compare("reading", f"N = {rows:,}, {kind}, float64", timings["ours"], peers, note=value)


def shares(
    normalisation: str, discount: float = DISCOUNT, steps: int = 3000, every: int = 100, rows: int = 512
) -> list[Row]:
    """Which shares of one real run's readings need all eigenvalues, and cannot tell without them whether a mode grows.

    The aims are one in ten for both.
    """
    trained = Trained.start(normalisation, rows, discount=discount)
    found: list[tuple[Enclosure, float]] = []
    last = 0.0
    for step in range(0, steps, every):
        critic, inputs = trained.inputs()
        if not inputs["td_error"].isfinite().all():
            break
        options = {"discount": discount, "terminals": inputs["terminals"]}
        matrix = SEEMOperator.of(critic, inputs["x"], inputs["x_next"], **options).matrix().numpy()
        bounds = enclose(matrix)
        leading = bounds.leading or from_all_eigenvalues(matrix)
        # Both are of a matrix within rounding of this one.
        slack = TOLERANCE * float(np.linalg.norm(matrix))
        assert bounds.low - slack <= leading.value.real <= bounds.high + slack, (step, bounds, leading)
        found.append((bounds, leading.value.real))
        last = inputs["td_error"].abs().mean().item()
        trained.train(every)
    kind = "no normalisation" if normalisation == "none" else "LayerNorm"
    setting = f"N = {rows:,}, every {every} of {steps:,} steps, {kind}, γ = {discount:g}"
    growing = sum(value > 0 for _, value in found)
    note = f"{growing} of {len(found)} with λ > 0; mean |u| at the end {last:.3g}"
    counts = {
        "readings that need all eigenvalues": sum(bounds.leading is None for bounds, _ in found),
        "readings that do not tell the sign without all eigenvalues": sum(b.excited is None for b, _ in found),
    }
    return [
        Row(group, setting, "all readings", None, count / len(found), target=0.1, kind="share", note=note)
        for group, count in counts.items()
    ]


def large(rows: int) -> Row:
    """The leading eigenvalue of more rows than A would fit for, in a process of its own whose memory is measured."""
    peak, told = peak_memory(LARGE_SCRIPT, str(rows))
    base, _ = peak_memory(LARGE_SCRIPT, "64")
    matrix = 8 * rows**2 / 2**20
    note = f"{told}; peak {peak:,.0f} MiB, of which {base:,.0f} MiB before; A alone would take {matrix:,.0f} MiB"
    setting = f"N = {rows:,}, diverging critic, float64"
    return Row("without A", setting, "memory of A", None, matrix / (peak - base), note=note)


def print_large(rows: int) -> None:
    """Certify the leading eigenvalue of N rows without A, and print what it took."""
    trained = Trained.start("none", 2560)
    trained.train(STEPS)
    critic, inputs = trained.inputs()
    generator = torch.Generator().manual_seed(2)
    # The set is smaller than this: rows are drawn again, each a little apart from its original.
    drawn = torch.randint(len(inputs["x"]), (rows,), generator=generator)
    x, x_next = (
        inputs[name][drawn] + 0.1 * torch.randn(rows, inputs[name].shape[1], generator=generator, dtype=torch.float64)
        for name in ("x", "x_next")
    )
    begun = time.perf_counter()
    options = {"discount": DISCOUNT, "terminals": inputs["terminals"][drawn]}
    found = leading_of_operator(SEEMOperator.of(critic, x, x_next, **options))
    seconds = time.perf_counter() - begun
    if found is None:
        print("not certified")
    else:
        print(f"λ = {found.value.real:.4g}, certified in {seconds:.0f} s with {found.products} products")
