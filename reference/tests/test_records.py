"""Records: one text a value, files that are whole or not there, hashes that notice every byte."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from seem.errors import InputError
from seem.records import (
    append_line,
    canonical_json,
    digest,
    make_folder,
    parse_json,
    read_lines,
    read_outcome,
    read_run,
    read_tensors,
    remove_partial,
    write_atomically,
    write_lines,
    write_outcome,
    write_tensors,
)


@dataclass(frozen=True)
class Point:
    """A dataclass with a nested tuple."""

    x: float
    shape: tuple[int, ...] = (1, 2)


def test_canonical_json_is_one_text_for_one_value():
    assert canonical_json({"b": 1, "a": (1, 2.5, None, True)}) == '{"a":[1,2.5,null,true],"b":1}'
    assert canonical_json({"a": [1, 2.5, None, True], "b": 1}) == canonical_json({"b": 1, "a": (1, 2.5, None, True)})
    assert canonical_json([Point(math.inf), {"p": Point(-0.0)}]) == (
        '[{"shape":[1,2],"x":"inf"},{"p":{"shape":[1,2],"x":-0.0}}]'
    )
    assert canonical_json("π") == '"\\u03c0"', "ASCII, so that a torn file is never torn inside a character"


def test_canonical_json_is_strict():
    text = canonical_json({"a": math.nan, "b": [math.inf, -math.inf]})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": "nan", "b": ["inf", "-inf"]}


@pytest.mark.parametrize(
    "number", [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 2**53, 10**30, math.inf, -math.inf]
)
def test_every_number_comes_back_exactly(number):
    back = parse_json(canonical_json({"a": {"b": [{"x": number}]}}))["a"]["b"][0]["x"]
    assert back == number
    assert type(back) is type(number)
    assert math.copysign(1, back) == math.copysign(1, number)


def test_nan_comes_back():
    assert math.isnan(parse_json(canonical_json(Point(math.nan)))["x"])


def test_digest_is_sha256():
    # FIPS 180-4's example value for the message "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest("abc") == digest(b"abc") == expected


class Faults:
    """Makes the k-th of the OS calls behind a write fail, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        self.failing, self.calls = failing, 0
        for owner, name in ((os, "fsync"), (os, "fdopen"), (Path, "replace"), (Path, "chmod")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))
        opened = os.fdopen

        def open_faulty(*arguments):
            file = opened(*arguments)
            return FaultyFile(file, self)

        monkeypatch.setattr(os, "fdopen", open_faulty)

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.failing:
            raise OSError(28, "No space left on device")

    def wrap(self, function):
        def counted(*arguments, **options):
            self.count()
            return function(*arguments, **options)

        return counted


class FaultyFile:
    """A file whose writes may fail after half of the content, and whose flush may fail."""

    def __init__(self, file, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[: len(content) // 2])
        self.faults.count()
        self.file.write(content[len(content) // 2 :])

    def flush(self) -> None:
        self.faults.count()
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()


def test_a_write_that_fails_at_any_call_leaves_the_old_file(tmp_path):
    path, old, new = tmp_path / "file", b"old" * 100, b"new content" * 100
    calls = 6  # fdopen, write, flush, fsync, chmod, replace
    for failing in range(1, calls + 2):
        path.write_bytes(old)
        with pytest.MonkeyPatch.context() as monkeypatch:
            faults = Faults(monkeypatch, failing)
            if failing <= calls:
                with pytest.raises(InputError, match="No space left on device"):
                    write_atomically(path, new)
            else:
                write_atomically(path, new)
        assert faults.calls == min(failing, calls)
        assert path.read_bytes() == (old if failing <= calls else new)
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"], "no temporary file is left over"


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", "old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_what_a_kill_left_in_a_folder_is_removed(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", "old")
    (tmp_path / ".hidden").write_text("not ours")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # a kill cleans nothing up
        patched.setattr(Path, "replace", lambda *_: None)
        write_atomically(tmp_path / "file", "new")
    assert len(list(tmp_path.iterdir())) == 3
    remove_partial(tmp_path)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"file": "old", ".hidden": "not ours"}


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for owner, name in ((os, "fsync"), (Path, "replace")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, original=original, name=name: (order.append(name), original(*a)))
    write_atomically(tmp_path / "file", "π")
    assert order == ["fsync", "replace"]
    assert (tmp_path / "file").read_bytes() == "π".encode()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="choose another output folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="choose another output folder"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="choose another output folder"):
        write_atomically(tmp_path / "missing" / "file", "text")
    with pytest.raises(InputError, match="choose another folder"):
        append_line(tmp_path / "missing" / "file", {})
    assert make_folder(tmp_path / "new" / "below").is_dir()
    assert make_folder(tmp_path / "new") == tmp_path / "new"


def test_lines_are_appended_and_read_back(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    values = [{"step": 0, "x": math.inf}, {"step": 1, "x": None}]
    for value in values:
        append_line(path, value)
    assert read_lines(path) == values
    before = path.read_bytes()
    write_lines(path, values)
    assert path.read_bytes() == before


def test_an_append_is_on_the_disk_when_it_returns(tmp_path, monkeypatch):
    seen, original = [], os.fsync

    def note(descriptor):
        seen.append((tmp_path / "lines.jsonl").read_bytes())
        original(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    append_line(tmp_path / "lines.jsonl", {"a": 1})
    assert seen == [b'{"a":1}\n']


def test_a_torn_last_line_is_left_out_wherever_it_is_torn(tmp_path):
    path, whole = tmp_path / "lines.jsonl", b'{"step":0}\n{"step":1}\n'
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert read_lines(path) == [{"step": step} for step in range(whole[:length].count(b"\n"))]


@pytest.mark.parametrize("damage", [b'{"step":\n', b"\n", b"\xff\xfe\n", b'{"step":NaN}x\n'])
def test_a_damaged_line_is_bad_input(tmp_path, damage):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"step":0}\n' + damage + b'{"step":2}\n')
    with pytest.raises(InputError, match="delete its run folder"):
        read_lines(path)


TENSORS = {
    "double": torch.tensor([[0.1, -0.0], [math.inf, math.nan]], dtype=torch.float64),
    "single": torch.tensor([1 / 3], dtype=torch.float32),
    "integer": torch.tensor(7),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "empty": torch.empty(0, 4),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
}
METADATA = {"run": {"step": 3, "x": math.inf}, "names": ["a", "b"], "none": None}


def test_tensors_come_back_bit_for_bit(tmp_path):
    write_tensors(tmp_path / "t", TENSORS, METADATA)
    tensors, metadata = read_tensors(tmp_path / "t")
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert tensors[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_a_truncated_file_of_tensors_is_bad_input_at_every_length(tmp_path):
    path = tmp_path / "t"
    write_tensors(path, {"a": torch.arange(3), "b": torch.zeros(2)}, {"step": 3})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="delete its run folder"):
            read_tensors(path)


def test_a_missing_or_foreign_file_of_tensors_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_tensors(tmp_path / "missing")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(InputError, match="cannot read"):
        read_tensors(tmp_path / "foreign")


def finished(folder: Path) -> dict[str, bytes]:
    """A small finished run; returns the content of its files."""
    write_atomically(folder / "config.json", canonical_json({"key": "k"}) + "\n")
    write_lines(folder / "readings.jsonl", [{"step": 0}])
    write_lines(folder / "forecasts.jsonl", [{"step": 0, "crash_step": math.inf}])
    write_tensors(folder / "trace.safetensors", {"trace": torch.arange(4.0).reshape(2, 2)}, {"columns": ["a", "b"]})
    names = ("trace.safetensors", "config.json", "readings.jsonl", "forecasts.jsonl")
    write_outcome(folder, {"crash_step": 2, "key": "k"}, names)
    return {name: (folder / name).read_bytes() for name in names}


def test_a_finished_run_is_read_back(tmp_path):
    contents = finished(tmp_path)
    outcome = read_outcome(tmp_path)
    assert outcome == {
        "crash_step": 2,
        "key": "k",
        "sha256": {name: digest(content) for name, content in contents.items()},
    }
    record = read_run(tmp_path)
    assert record.outcome == outcome
    assert (record.readings, record.forecasts) == ([{"step": 0}], [{"step": 0, "crash_step": math.inf}])
    assert {name: column.tolist() for name, column in record.trace.items()} == {"a": [0.0, 2.0], "b": [1.0, 3.0]}


def test_every_changed_byte_is_noticed(tmp_path):
    for name, content in finished(tmp_path).items():
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 1
            (tmp_path / name).write_bytes(changed)
            with pytest.raises(InputError, match=f"{name} in .* changed after the run"):
                read_outcome(tmp_path)
        for changed in (content[:-1], content + b"\n"):
            (tmp_path / name).write_bytes(changed)
            with pytest.raises(InputError, match="changed after the run"):
                read_outcome(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match=f"{name} in .* changed after the run"):
            read_outcome(tmp_path)
        (tmp_path / name).write_bytes(content)
    assert read_outcome(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", "3", "{}", '{"sha256":3}', b"\xff"])
def test_a_damaged_outcome_is_bad_input(tmp_path, damage):
    finished(tmp_path)
    (tmp_path / "outcome.json").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    with pytest.raises(InputError, match="is damaged"):
        read_outcome(tmp_path)


def test_an_unfinished_run_has_no_outcome(tmp_path):
    assert read_outcome(tmp_path) is None
    assert read_outcome(tmp_path / "missing") is None
    with pytest.raises(InputError, match="no finished run"):
        read_run(tmp_path)
