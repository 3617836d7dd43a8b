"""Unfinished runs are believed only whole: whatever was changed is refused in one sentence, or made again."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference.tests.small_runs import FILES, contents
from reference.tests.training_cases import CALM, RUNS, dataset
from seem import checkpoints, config, training
from seem.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from seem.errors import InputError
from seem.records import read_lines, read_tensors, write_atomically, write_lines, write_tensors
from seem.training import train

NAME = "checkpoint.safetensors"


def interrupted(folder: Path, run=CALM, step: int = 12) -> Path:
    """A run that ends at the first report at or after a step, with a checkpoint at its last reading."""

    def stop(taken: int) -> None:
        if taken >= step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, dataset(), folder, on_step=stop, checkpoint_seconds=0.0)
    assert (folder / NAME).exists()
    return folder


def edit_metadata(**changes) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors, metadata = read_tensors(folder / NAME)
        write_tensors(folder / NAME, tensors, {**metadata, **changes})

    return edit


def edit_tensor(folder: Path) -> None:
    tensors, metadata = read_tensors(folder / NAME)
    name = next(name for name in tensors if name.startswith("critics"))
    tensors[name].view(-1)[0] += 1e-9
    write_tensors(folder / NAME, tensors, metadata)


def lose_tensor(folder: Path) -> None:
    tensors, metadata = read_tensors(folder / NAME)
    del tensors["trace"]
    write_tensors(folder / NAME, tensors, metadata)


def other_seed(folder: Path) -> None:
    other = interrupted(folder.parent / "other", replace(CALM, seed=1))
    (folder / NAME).write_bytes((other / NAME).read_bytes())


def other_step_of_another_seed_with_its_lines(folder: Path) -> None:
    other = interrupted(folder.parent / "other", replace(CALM, seed=1))
    for name in (NAME, "readings.jsonl", "forecasts.jsonl"):
        (folder / name).write_bytes((other / name).read_bytes())


def halve(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        lines = read_lines(folder / name)
        write_lines(folder / name, lines[: len(lines) // 2])

    return cut


def cut_bytes(folder: Path) -> None:
    path = folder / "readings.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_reading(folder: Path) -> None:
    lines = read_lines(folder / "readings.jsonl")
    lines[1]["action_motion"] += 1e-12
    write_lines(folder / "readings.jsonl", lines)


def edit_bytes(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return edit


def flip(position: float) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = bytearray((folder / NAME).read_bytes())
        content[int(position * (len(content) - 1))] ^= 1
        (folder / NAME).write_bytes(content)

    return edit


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def double(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + content)

    return edit


REFUSED: dict[str, Callable[[Path], None]] = {
    **{f"step {step}": edit_metadata(step=step) for step in (3, 10**9, -1, 1.5, "8", None)},
    "another key": edit_metadata(key="0" * 64),
    "no seal": edit_metadata(seal=None),
    "seconds edited": edit_metadata(state={"next_reading": 9, "seconds": 0.0, "agent": {"steps": 8}}),
    "digests edited": edit_metadata(files={}),
    "a tensor edited": edit_tensor,
    "a tensor lost": lose_tensor,
    "another seed's checkpoint": other_seed,
    "another seed's checkpoint and lines": other_step_of_another_seed_with_its_lines,
    "readings cut in half": halve("readings.jsonl"),
    "forecasts cut in half": halve("forecasts.jsonl"),
    "readings cut inside a line": cut_bytes,
    "one reading edited": edit_reading,
    "a forecast's spelling edited": edit_bytes("forecasts.jsonl", b'"step":4', b'"step": 4'),
    "readings gone": remove("readings.jsonl"),
    "forecasts gone": remove("forecasts.jsonl"),
    "config gone": remove("config.json"),
    "config edited": edit_bytes("config.json", b'"rows":8', b'"rows":9'),
    "config empty": lambda folder: (folder / "config.json").write_bytes(b""),
    "config twice": double("config.json"),
    **{f"a byte flipped at {share}": flip(share) for share in (0.0, 0.05, 0.3, 0.6, 0.9, 1.0)},
    "an empty checkpoint": lambda folder: (folder / NAME).write_bytes(b""),
    "a foreign checkpoint": lambda folder: write_tensors(folder / NAME, {"a": torch.zeros(2)}, {}),
    "a checkpoint without a sealed version": lambda folder: write_tensors(
        folder / NAME, {"trace": torch.zeros(0, 4)}, {"run": {"step": 8}, "agent": {"steps": 8}}
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_changed_unfinished_run_is_refused_in_one_sentence_and_left(change, tmp_path):
    folder = interrupted(tmp_path / "run")
    REFUSED[change](folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as caught:
        train(CALM, dataset(), folder)
    message = str(caught.value)
    assert re.search(
        r": (delete its run folder and run again|choose another output folder or delete this one)$", message
    )
    assert "\n" not in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not (folder / "outcome.json").exists()


@pytest.mark.parametrize("name", ["seem", "torch", "python", "numpy"])
def test_a_checkpoint_of_another_version_is_refused_by_its_name(name, tmp_path, monkeypatch):
    folder = interrupted(tmp_path / "run")
    monkeypatch.setattr(training, "versions", lambda: {**config.versions(), name: "9.9"})
    with pytest.raises(InputError, match=rf"other versions \({name} .* instead of 9.9\): delete its run folder"):
        train(CALM, dataset(), folder)


def more_lines(content: bytes) -> Callable[[Path], None]:
    def add(folder: Path) -> None:
        for name in ("readings.jsonl", "forecasts.jsonl"):
            with (folder / name).open("ab") as file:
                file.write(content)

    return add


def without_checkpoint(edit: Callable[[Path], None]) -> Callable[[Path], None]:
    def lose(folder: Path) -> None:
        (folder / NAME).unlink()
        edit(folder)

    return lose


MADE_AGAIN = {
    "nothing changed": lambda folder: None,
    "lines behind the checkpoint": more_lines(b'{"step":12,"crash_step":7}\n{"step":16,"cr'),
    "noise behind the checkpoint": more_lines(b"\xff\x00\n\n{}"),
    "no checkpoint": without_checkpoint(lambda folder: None),
    "no checkpoint, readings edited": without_checkpoint(edit_reading),
    "no checkpoint, readings gone": without_checkpoint(remove("readings.jsonl")),
    "no checkpoint, config gone": without_checkpoint(remove("config.json")),
}


@pytest.mark.parametrize("change", MADE_AGAIN)
@pytest.mark.parametrize("run", ["calm", "sac"])
def test_what_rests_on_a_trusted_state_is_made_again_bit_for_bit(change, run, tmp_path):
    run = CALM if run == "calm" else RUNS["sac"]
    train(run, dataset(), tmp_path / "whole")
    folder = interrupted(tmp_path / "run", run)
    MADE_AGAIN[change](folder)
    train(run, dataset(), folder)
    assert contents(folder) == contents(tmp_path / "whole")
    assert {path.name for path in folder.iterdir()} == {*FILES, "outcome.json"}


def test_an_earlier_checkpoint_of_the_same_run_is_trusted(tmp_path):
    train(CALM, dataset(), tmp_path / "whole")
    early = (interrupted(tmp_path / "early", step=5) / NAME).read_bytes()
    folder = interrupted(tmp_path / "run", step=17)
    (folder / NAME).write_bytes(early)
    train(CALM, dataset(), folder)
    assert contents(folder) == contents(tmp_path / "whole")


def test_what_a_kill_after_the_outcome_left_is_removed(tmp_path):
    folder = interrupted(tmp_path / "run")
    left = (folder / NAME).read_bytes()
    train(CALM, dataset(), folder)
    before = contents(folder)
    (folder / NAME).write_bytes(left)
    (folder / ".lock").touch()
    train(CALM, dataset(), folder)
    assert contents(folder) == before
    assert {path.name for path in folder.iterdir()} == {*FILES, "outcome.json"}


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    for name in ("config.json", "readings.jsonl", "forecasts.jsonl"):
        write_atomically(tmp_path / name, json.dumps({"step": 3}) + "\n")
    tensors = {"a": torch.tensor([0.1, -0.0, torch.inf, torch.nan]), "b": torch.arange(3), "e": torch.empty(0, 4)}
    made = Checkpoint("k", {"torch": "1"}, 3, tensors, {"seconds": 0.1, "agent": {"steps": 3}})
    write_checkpoint(tmp_path, made)
    found = read_checkpoint(tmp_path, "k", {"torch": "1"})
    assert replace(found, tensors={}) == replace(made, tensors={})
    assert {n: t.numpy().tobytes() for n, t in found.tensors.items()} == {
        n: t.numpy().tobytes() for n, t in tensors.items()
    }
    with pytest.raises(InputError, match="of another run"):
        read_checkpoint(tmp_path, "other", {"torch": "1"})
    (tmp_path / "readings.jsonl").unlink()
    with pytest.raises(InputError, match="cannot read"):
        write_checkpoint(tmp_path, made)
    assert checkpoints.read_checkpoint(tmp_path / "missing", "k", {}) is None
