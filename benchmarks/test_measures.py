"""What the benchmarks make of their measurements, on clocks, peers and processes made up for it."""

import itertools
from types import SimpleNamespace

import bench_foreign
import bench_gram
import bench_reading
import bench_training
import cases
import numpy as np
import pytest
import run
import torch
from cases import Row, compare
from interleave import Timing, interleave

from seem.enclosure import Enclosure
from seem.leading import Leading


def timed(monkeypatch, module, **seconds):
    """Let a module's interleaved run return these seconds, one round of each; the ways are kept and not run."""
    ways = {}

    def told(given, rounds):
        ways.update(given)
        return {name: Timing(name, (float(seconds.get(name.replace(" ", "_"), 1.0)),)) for name in given}

    monkeypatch.setattr(module, "interleave", told)
    return ways


def test_the_first_round_is_the_one_that_does_not_count():
    numbers, others = itertools.count(), itertools.count(10)
    timings = interleave({"a": lambda: float(next(numbers)), "b": lambda: float(next(others))}, rounds=3)
    assert (timings["a"].seconds, timings["b"].seconds) == ((1.0, 2.0, 3.0), (11.0, 12.0, 13.0))


def test_every_way_has_its_turn_in_every_round():
    turns = []
    interleave({name: lambda name=name: turns.append(name) or 1.0 for name in "abc"}, rounds=2)
    assert "".join(turns) == "abc" * 3


def test_a_ratio_says_how_much_longer_the_other_takes_by_the_median_of_its_rounds():
    ours, other = Timing("ours", (1.0, 1.0, 2.0, 1.0, 1.0)), Timing("other", (2.0, 3.0, 2.0, 50.0, 4.0))
    assert ours.ratio(other) == (3.0, 2.0, 4.0)
    assert ours.median == 1.0


@pytest.mark.parametrize(
    ("value", "target", "kind", "met"),
    [
        (2.0, 2.0, "times", True),
        (1.99, 2.0, "times", False),
        (0.05, 0.05, "share", True),
        (0.06, 0.05, "share", False),
        (None, 1.0, "times", None),
        (3.0, None, "times", None),
    ],
)
def test_an_aim_is_met_at_its_own_number(value, target, kind, met):
    assert Row("g", "s", "p", None, value, target=target, kind=kind).met is met


def test_a_missed_aim_is_printed_as_one():
    row = Row("g", "s", "p", 2.0, 1.5, 1.25, 1.75, target=2.0, note="n")
    assert run._line(row) == "| s | 2 ms | p | 1.5× (1.25 to 1.75) | ≥ 2× | **no** | n |"
    share = Row("g", "s", "p", None, 0.04, target=0.05, kind="share")
    assert run._line(share) == "| s |  | p | 4.0% | ≤ 5.0% | yes |  |"


def test_milliseconds_are_of_one_repetition():
    (row,) = compare("g", "s", Timing("ours", (0.5, 0.25, 9.0)), [(Timing("other", (1.0, 0.5, 18.0)), None)], per=10)
    assert (row.milliseconds, row.value) == (50.0, 2.0)


@pytest.fixture
def bare(monkeypatch):
    """The training benchmark without its programs."""
    for name in ("transitions", "stacked", "reference", "eager", "products_alone"):
        monkeypatch.setattr(bench_training, name, lambda *_, **__: lambda: None)
    monkeypatch.setattr(bench_training, "start_peers", dict)
    return bench_training


def test_many_seeds_are_divided_by_their_number(bare, monkeypatch):
    seeds = bench_training.SEEDS
    eager = {bench_training.EAGER.replace(" ", "_"): 3.0}
    timed(monkeypatch, bare, one=2.0, many=4.0, products_of_one=1.0, products_of_many=2.0, **eager)
    rows = {(row.setting, row.peer): row for row in bare.measure(1)}
    assert rows["one seed", bench_training.EAGER].value == 1.5
    assert rows[f"{seeds} seeds in one program", bench_training.EAGER].value == 3.0 * seeds / 4.0
    assert rows["one seed", bench_training.PRODUCTS_ALONE].value == 0.5
    assert rows[f"{seeds} seeds in one program", bench_training.PRODUCTS_ALONE].value == 0.5
    assert rows["one seed", bench_training.EAGER].milliseconds == 1e3 * 2.0 / bench_training.STEPS
    assert rows["one seed", bench_training.EAGER].target == bench_training.TARGETS[bench_training.EAGER]
    assert rows[f"{seeds} seeds in one program", bench_training.EAGER].target == bench_training.BATCHED_TARGET
    rate = f"{bench_training.STEPS * seeds / 4.0:.0f} seed-steps a second"
    assert rows[f"{seeds} seeds in one program", bench_training.EAGER].note.startswith(rate)


def test_growth_of_the_seeds_is_of_each_seed(bare, monkeypatch):
    ways = timed(monkeypatch, bare, **{str(seeds): 1.0 + seeds for seeds in (1, 2, 4, 8, 16)})
    assert [row.value for row in bare.growth(1)] == [2 * n / (1 + n) for n in (2, 4, 8, 16)]
    assert list(ways) == ["1", "2", "4", "8", "16"]


def test_every_peer_gets_the_same_steps_rows_batch_and_threads(monkeypatch):
    started = {}
    monkeypatch.setattr(bench_training, "find_peer", lambda library: None if library == "jax" else library)
    monkeypatch.setattr(
        bench_training, "TimedPeer", lambda python, script, settings: started.update({script: settings})
    )
    assert list(bench_training.start_peers()) == [bench_training.D3RLPY]
    own = {"steps": bench_training.STEPS, "threads": cases.THREADS, "batch": cases.BATCH, "rows": bench_training.ROWS}
    own |= {"observation_dim": cases.OBSERVATIONS, "action_dim": cases.ACTIONS}
    assert started == {"d3rlpy_td3.py": own}


@pytest.mark.parametrize(("program", "arguments"), [("stacked", (2,)), ("reference", ()), ("eager", (3,))])
def test_every_program_of_this_process_takes_the_declared_steps(program, arguments, monkeypatch):
    batches = []

    class Stack:
        def __init__(self, agents):
            assert len(agents) == 2

        def table(self, rows):
            return rows

        def train(self, table, batch, steps, generators):
            assert len(generators) == 2
            yield batches.extend([batch] * steps)

    class Agent:
        def __init__(self, *shapes, seed):
            pass

        def update(self, rows):
            batches.append(len(rows))

    class Eager(bench_training.EagerTD3):
        def __init__(self, *shapes):
            self.rng = np.random.default_rng(0)

        def train(self, batch):
            batches.append(len(batch[0]))

    monkeypatch.setattr(bench_training, "STEPS", 3)
    monkeypatch.setattr(bench_training, "ROWS", 300)
    monkeypatch.setattr(bench_training, "StackedTD3", Stack)
    monkeypatch.setattr(bench_training, "TD3", Agent)
    monkeypatch.setattr(bench_training, "EagerTD3", Eager)
    getattr(bench_training, program)(bench_training.transitions(), *arguments)()
    assert batches == [cases.BATCH] * 3


def test_memory_is_what_comes_above_the_start(monkeypatch):
    peaks = {"base": 100.0, "ours": 110.0, bench_gram.CONTRACTION: 250.0}
    monkeypatch.setattr(bench_gram, "peak_memory", lambda script, way, *_: (peaks[way], ""))
    row = bench_gram.memory(bench_gram.ROWS, "none")
    assert (row.value, row.target, row.note) == (15.0, 15.0, "10 against 150 MiB above the start")
    peaks["ours"] = 100.0
    assert bench_gram.memory(8, "none").value == 150.0
    assert bench_gram.memory(8, "none").target is None


def test_memory_without_a_is_held_against_what_a_takes(monkeypatch):
    monkeypatch.setattr(
        bench_reading, "peak_memory", lambda script, rows: (300.0 if rows == "4096" else 236.0, "λ = 1")
    )
    row = bench_reading.large(4096)
    assert row.value == 2.0, "A of 4,096 rows takes 128 MiB"
    assert "peak 300 MiB, of which 236 MiB before; A alone would take 128 MiB" in row.note


def test_repetitions_inside_a_round_are_divided_out(monkeypatch):
    closed = []
    matrix = bench_gram.seem_matrix(*cases.critic_and_rows(4), cases.DISCOUNT)

    class Fake:
        def __init__(self):
            self.told = {"norm": matrix.norm().item()}

        def __call__(self):
            return 3.0

        def close(self):
            closed.append(True)

    monkeypatch.setattr(bench_gram, "start_structured", lambda *_: Fake())
    ways = timed(monkeypatch, bench_gram, ours=10.0)
    rows = {row.peer: row for row in bench_gram.measure(4, "none", rounds=1, repeats=5)}
    assert rows[bench_gram.PUBLISHED].value == 0.5
    assert rows[bench_gram.PUBLISHED].milliseconds == 2000.0
    assert ways[bench_gram.STRUCTURED]() == 3.0
    assert closed == [True]
    calls = []
    monkeypatch.setattr(bench_gram, "seem_matrix", lambda *_: calls.append(1))
    ways["ours"]()
    assert len(calls) == 5


def test_the_roofline_counts_one_half_of_the_symmetric_block(monkeypatch):
    timed(monkeypatch, bench_gram, ours=2.0, peak=1.0)
    row = bench_gram.roofline(1)
    # Three halves of N² products of the layers' widths with biases, against four of 1,024³.
    assert row.value == pytest.approx(1.5 * (271 + 513 + 257) / (4 * 1024) / 2, rel=1e-12)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until something is done."""
    clock = SimpleNamespace(now=0.0, seen=[])

    class Fake:
        rows = None
        bound = 7.0

        @classmethod
        def start(cls, normalisation, rows, seed=0, discount=0.99):
            return cls()

        def train(self, steps):
            clock.now += steps / 10
            clock.seen.append(("train", steps))

        def inputs(self, dtype=None):
            return None, dict.fromkeys(("x", "x_next", "td_error", "terminals"), torch.ones(2))

    class Watch:
        def __init__(self, **options):
            assert (options["training"].discount, options["training"].lr) == (cases.DISCOUNT, cases.LR)
            assert (options["every"], options["rows"], options["bound"]) == (100, 128, 7.0)

        def read(self, critic, inputs, step):
            clock.now += 0.5
            clock.seen.append(("read", step))
            return {"step": float(step), "alarm_not_finite": 0.0}

    def spend():
        clock.now += 4.0

    for module in (bench_training, bench_reading):
        monkeypatch.setattr(module, "Trained", Fake)
    monkeypatch.setattr(bench_training, "Watch", Watch)
    monkeypatch.setattr(bench_training, "transitions", lambda: None)
    monkeypatch.setattr(bench_training, "eager", lambda rows, steps: clock.seen.append(("eager", steps)) or spend)
    monkeypatch.setattr(bench_training, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_the_watchs_share_is_of_the_training_between_its_readings(clock):
    rows = bench_training.watch("none", steps=400, every=100)
    eager, stacked = (row.value for row in rows)
    # Half a second a reading; ten a hundred steps of the stack; four a tenth of as many of the loop.
    assert stacked == pytest.approx(0.5 / 10, rel=1e-12)
    assert eager == pytest.approx(0.5 / (10 * 4.0), rel=1e-12)
    assert ("eager", 10) in clock.seen
    assert [step for kind, step in clock.seen if kind == "read"] == [100, 200, 300]
    assert {row.target for row in rows} == {bench_training.WATCH_TARGET}
    assert rows[0].milliseconds == 500.0


def test_shares_of_readings_are_of_all_readings(clock, monkeypatch):
    """Of five readings three are not certified, and of these one does not tell the sign."""
    certified = Leading(complex(2.0), -1.0, 0.0, "iterative", 1, None)
    told = iter([Enclosure(-1.0, 3.0, None), *[Enclosure(1.0, 3.0, None)] * 2, *[Enclosure(2.0, 2.0, certified)] * 2])
    matrix = SimpleNamespace(matrix=lambda: torch.eye(2))
    monkeypatch.setattr(bench_reading, "SEEMOperator", SimpleNamespace(of=lambda *_, **__: matrix))
    monkeypatch.setattr(bench_reading, "enclose", lambda matrix: next(told))
    monkeypatch.setattr(bench_reading, "from_all_eigenvalues", lambda matrix: certified)
    dense, untold = bench_reading.shares("none", steps=500, every=100)
    assert (dense.value, untold.value) == (3 / 5, 1 / 5)
    assert (dense.met, untold.met) == (False, False)
    assert dense.note.startswith("5 of 5 with λ > 0")
    assert [step for kind, step in clock.seen if kind == "train"] == [100] * 5


def test_blocks_are_timed_for_every_module_on_both_sides(monkeypatch):
    ways = timed(monkeypatch, bench_foreign, read=9.0, ours=2.0)
    rows = bench_foreign.measure("twins", 4, rounds=1)
    calls = []
    monkeypatch.setattr(bench_foreign, "blocks_by_torch_func", lambda module, *_: calls.append(module))
    ways[bench_foreign.FUNC]()
    assert len(calls) == len(set(calls)) == 2
    assert [row.value for row in rows] == [0.5, 0.5]
    assert "a whole reading 9000 ms, blocks 2000 ms of it" in rows[0].note
