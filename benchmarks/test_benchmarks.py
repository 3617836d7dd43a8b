"""The benchmarks measure the same thing on both sides, and their page is what was recorded."""

import dataclasses
import json

import bench_foreign
import bench_training
import pytest
import run
import torch
from bench_gram import seem_matrix
from bench_reading import all_eigenvalues, published, reading
from cases import DISCOUNT, Row, Trained, compare, critic_and_rows
from interleave import Timing, interleave, peak_memory
from ntk_peers import by_published_procedure, by_sample, by_torch_func
from torch.utils.flop_counter import FlopCounterMode

from seem.errors import InputError


@pytest.mark.parametrize("normalisation", ["none", "layer"])
def test_every_way_gives_the_same_matrix(normalisation):
    case = critic_and_rows(16, normalisation=normalisation, dtype=torch.float64, width=8)
    matrix = seem_matrix(*case, DISCOUNT)
    for way in (by_published_procedure, by_sample, by_torch_func):
        assert (way(*case, DISCOUNT) - matrix).norm() <= 1e-13 * matrix.norm()


def test_every_reading_gives_the_same_eigenvalue():
    trained = Trained.start("none", 64)
    trained.train(3)
    case = trained.inputs()
    value = reading(*case).value
    # 1e-9: eigenvalues of a matrix that is not normal.
    assert published(*case).real == pytest.approx(value.real, rel=1e-9)
    assert all_eigenvalues(*case).real == pytest.approx(value.real, rel=1e-9)


def test_operations_are_those_that_torch_counts():
    two_steps = bench_training.eager(bench_training.transitions(), steps=2)
    with FlopCounterMode(display=False) as counter:
        two_steps()
    # Autograd also computes the gradients of the critic's own weights in the actor's step, which nobody needs.
    critic = 2 * 256 * (14 * 256 + 256 * 256 + 256)
    assert counter.get_total_flops() == 2 * bench_training.operations() + critic
    two_steps = bench_training.products_alone(3, steps=2)
    with FlopCounterMode(display=False) as counter:
        two_steps()
    assert counter.get_total_flops() == 3 * 2 * bench_training.operations()


def test_ratios_are_taken_round_by_round():
    ours, theirs = Timing("ours", (1.0, 2.0, 4.0)), Timing("theirs", (3.0, 8.0, 8.0))
    assert ours.ratio(theirs) == (3.0, 2.5, 3.5)
    (row,) = compare("group", "setting", ours, [(theirs, 2.5)], per=2)
    assert (row.milliseconds, row.value, row.met) == (1000.0, 3.0, True)


def test_an_absent_peer_is_named():
    (row,) = compare("group", "setting", Timing("ours", (1.0,)), [("jax", 1.0)])
    assert row.value is None
    assert row.met is None
    assert "nox -t peers" in row.note


@pytest.mark.parametrize(("kind", "value", "met"), [("times", 2.0, True), ("times", 0.9, False), ("share", 2.0, False)])
def test_a_share_has_an_upper_and_a_ratio_a_lower_target(kind, value, met):
    assert Row("g", "s", "p", None, value, target=1.0, kind=kind).met is met


def test_the_first_round_does_not_count_and_a_way_may_time_itself():
    calls = []
    timings = interleave({"a": lambda: calls.append(1), "b": lambda: 5.0}, rounds=2)
    assert len(calls) == 3
    assert timings["b"].seconds == (5.0, 5.0)


def test_memory_is_that_of_another_process():
    small, large = peak_memory("x = b''"), peak_memory("x = b'1' * 2**27; print('made')")
    assert large[1] == "made"
    # 128 MiB, and some tens for whatever the interpreter does differently.
    assert 100 < large[0] - small[0] < 160


def test_the_page_is_the_record():
    assert run.PAGE.read_text(encoding="utf-8") == run.page(json.loads(run.RECORD.read_text(encoding="utf-8")))


def test_other_groups_stay_when_one_is_recorded(tmp_path, monkeypatch, capsys):
    row = Row("watch", "set|ting", "peer", None, 0.5, kind="share")
    monkeypatch.setattr(run, "RECORD", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "RESULTS.md")
    for name in ("gram", "watch"):
        monkeypatch.setitem(run.GROUPS, name, lambda rounds, name=name: iter([dataclasses.replace(row, group=name)]))
        run.main(run.BenchmarkOptions(groups=(name,), write=True))
    written = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert written.index("## Gram") < written.index("## Watch")
    assert "| set\\|ting |" in written


def test_an_unknown_group_is_refused():
    with pytest.raises(InputError, match="choose among"):
        run.main(run.BenchmarkOptions(groups=("speed",)))


@pytest.mark.parametrize("kind", ["twins", "conv", "transformer"])
def test_blocks_of_foreign_critics_are_those_of_torch_func_and_layerwise(kind):
    for row in bench_foreign.measure(kind, 5, rounds=1):
        assert "layerwise" in row.note
