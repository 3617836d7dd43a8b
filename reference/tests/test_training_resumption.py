"""Runs that find something in their folder: finished ones are not repeated, others and damaged ones are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from reference.tests.small_runs import FILES, contents
from reference.tests.training_cases import CALM, CRASHING, dataset
from seem.agents.td3 import TD3
from seem.config import RunConfig
from seem.errors import InputError
from seem.training import train


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    outcome = train(CRASHING, dataset(), tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(TD3, "update", lambda *_: pytest.fail("a finished run is run again"))
    assert train(CRASHING, dataset(), tmp_path) == outcome
    assert contents(tmp_path) == before


def test_another_finished_run_is_refused(tmp_path):
    train(CALM, dataset(), tmp_path)
    before = contents(tmp_path)
    for other, data in ((replace(CALM, seed=1), dataset()), (CALM, dataset(sha256="1" * 64))):
        with pytest.raises(InputError, match="holds another run"):
            train(other, data, tmp_path)
    assert contents(tmp_path) == before


def interrupted(config: RunConfig, folder: Path, step: int, **options) -> None:
    """A run that ends at the first report at or after ``step``, as by a kill between two writes."""

    def stop(taken: int) -> None:
        if taken >= step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset(), folder, on_step=stop, **options)


def test_another_unfinished_run_is_refused(tmp_path):
    interrupted(CALM, tmp_path, 8, checkpoint_seconds=0.0)
    with pytest.raises(InputError, match="holds another run"):
        train(replace(CALM, seed=1), dataset(), tmp_path)
    assert train(CALM, dataset(), tmp_path)["steps"] == 21


@pytest.mark.parametrize("name", FILES)
def test_a_run_whose_files_changed_is_refused(name, tmp_path):
    train(CALM, dataset(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(InputError, match=f"{name} in .* changed after the run"):
        train(CALM, dataset(), tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    interrupted(CALM, tmp_path, 8, checkpoint_seconds=0.0)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="delete its run folder"):
        train(CALM, dataset(), tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="choose another output folder"):
        train(CALM, dataset(), tmp_path / "file" / "run")


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9], ids=["checkpoint", "no checkpoint"])
def test_lines_written_after_the_last_checkpoint_are_made_again(checkpoint_seconds, tmp_path):
    """Also a line that a kill tore in the middle."""
    train(CALM, dataset(), tmp_path / "whole")
    interrupted(CALM, tmp_path / "killed", 8, checkpoint_seconds=checkpoint_seconds)
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists() == (checkpoint_seconds == 0)
    for name in ("readings.jsonl", "forecasts.jsonl"):
        with (tmp_path / "killed" / name).open("ab") as file:
            file.write(b'{"step":12,"crash_step":7}\n{"step":16,"cr')
    taken = []
    train(CALM, dataset(), tmp_path / "killed", on_step=taken.append)
    assert taken[0] == (8 if checkpoint_seconds == 0 else 1), "a checkpoint, made at step 4, saves steps"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
