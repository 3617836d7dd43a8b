"""Records: one text a value, what is read back and what is refused, hashes that notice every byte."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from seem.errors import InputError
from seem.records import (
    append_line,
    canonical_json,
    digest,
    parse_json,
    read_lines,
    read_outcome,
    read_run,
    read_tensors,
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


def test_lines_of_two_processes_in_one_record_are_refused(tmp_path):
    names = ("trace.safetensors", "config.json", "readings.jsonl", "forecasts.jsonl")
    for name in ("readings.jsonl", "forecasts.jsonl"):
        finished(tmp_path)
        write_lines(tmp_path / name, [{"step": step} for step in (0, 0, 4, 4, 8)])
        write_outcome(tmp_path, {"crash_step": 2, "key": "k"}, names)
        with pytest.raises(InputError, match=rf"{name} goes from step 0 to 0: delete its run folder"):
            read_run(tmp_path)


def test_an_unfinished_run_has_no_outcome(tmp_path):
    assert read_outcome(tmp_path) is None
    assert read_outcome(tmp_path / "missing") is None
    with pytest.raises(InputError, match="no finished run"):
        read_run(tmp_path)
