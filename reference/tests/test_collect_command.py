"""The command of a collection: what it refuses, what it says, and that it leaves nothing when it fails."""

import sys
from dataclasses import replace

import pytest

from reference.tests.collect_cases import TINY, read
from seem.datasets import collect as module
from seem.datasets.collect import collect, main, train
from seem.datasets.rollout import make_env
from seem.errors import InputError


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"env": "ant"}, "hopper, walker2d, halfcheetah"),
        ({"level": "expert"}, "expert-like"),
        ({"rows": 0}, "rows is 0: pass 1 or more"),
        ({"budget": 0}, "budget"),
        ({"batch_size": -1}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_settings_are_refused(change, remedy):
    with pytest.raises(InputError, match=remedy):
        replace(TINY, **change)


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train", lambda *arguments: pytest.fail("trained first"))
    (tmp_path / "file").touch()
    for out, remedy in (
        (tmp_path / "missing" / "out.hdf5", "pass a file in a writable folder"),
        (tmp_path / "file" / "out.hdf5", "pass a file in a writable folder"),
        (tmp_path / "file", "delete it first"),
        (tmp_path, "delete it first"),
    ):
        with pytest.raises(InputError, match=remedy):
            collect(replace(TINY, out=out), "")


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        collect(replace(TINY, level="random", out=tmp_path / "out.hdf5"), "")
    assert list(tmp_path.iterdir()) == []


def test_missing_gymnasium_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"pip install 'seem-verify\[collect\]'"):
        make_env("Hopper-v4")


def test_command_line_writes_the_file_and_says_so(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.hdf5"
    words = ["collect.py", "--env", "hopper", "--level", "random", "--rows", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    assert f"{out}: " in capsys.readouterr().out
    assert (
        read(out)[1]["command"] == f"python -m seem.datasets.collect --env hopper --level random --rows 20 --out {out}"
    )


def test_command_says_when_the_budget_ended_below_the_level(tmp_path, monkeypatch, capsys):
    def stop_early(config, seeds, report):
        trained = train(replace(config, level="random"), seeds, report)
        return trained._replace(evaluation_return=12.0)

    monkeypatch.setattr(module, "train", stop_early)
    words = ["collect.py", "--env", "hopper", "--level", "medium", "--rows", "20", "--out", str(tmp_path / "out.hdf5")]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    assert "ended at return 12, below the level's 1078: pass a larger --budget" in capsys.readouterr().err


def test_interrupted_command_writes_nothing_and_promises_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupt)
    words = ["collect.py", "--env", "hopper", "--level", "medium", "--rows", "20", "--out", str(tmp_path / "out.hdf5")]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 130
    assert "starts again" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
