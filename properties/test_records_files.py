"""Files of a record: written whole or not at all, sealed by their hashes, and refused when they are damaged.

Hypothesis of the seal: SHA-256 has no collisions. A file of tensors by itself has no hash: flipped bytes in it are
refused or change numbers. Outcomes and checkpoints seal theirs.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from seem.errors import InputError
from seem.records import (
    read_outcome,
    read_tensors,
    write_atomically,
    write_outcome,
    write_tensors,
)

contents = st.binary(max_size=40) | st.text(max_size=20)


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A new folder that is gone afterwards; nothing waits for the disk."""
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        yield Path(folder)


def as_bytes(content: bytes | str) -> bytes:
    """What a file of this content holds."""
    return content.encode() if isinstance(content, str) else content


class HalfFile:
    """A file that takes half of what is written to it, and then fails."""

    def __init__(self, descriptor: int, error: BaseException) -> None:
        self.descriptor, self.error = descriptor, error

    def __enter__(self) -> "HalfFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, content: bytes) -> None:
        """Write half, and fail."""
        os.write(self.descriptor, content[: len(content) // 2])
        raise self.error


def failing(error: BaseException) -> Callable[..., Any]:
    """A function that fails with this error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


FAULTS = {
    "half of the content is written": lambda error: patch("os.fdopen", lambda fd, _: HalfFile(fd, error)),
    "the disk does not take it": lambda error: patch("os.fsync", failing(error)),
    "its mode is not set": lambda error: patch.object(Path, "chmod", failing(error)),
    "it is not renamed": lambda error: patch.object(Path, "replace", failing(error)),
}


@given(
    old=st.none() | contents,
    new=contents,
    fault=st.sampled_from(sorted(FAULTS)),
    error=st.sampled_from((OSError(28, "No space left on device"), KeyboardInterrupt())),
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(old, new, fault, error):
    with fresh_folder() as folder:
        path = folder / "file"
        if old is not None:
            write_atomically(path, old)
        with FAULTS[fault](error), pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
            write_atomically(path, new)
        assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == (
            {} if old is None else {"file": as_bytes(old)}
        )
        write_atomically(path, new)
        assert path.read_bytes() == as_bytes(new)


NAMES = ("config.json", "readings.jsonl", "trace.safetensors")
records = st.sets(st.sampled_from(NAMES), min_size=1).flatmap(
    lambda names: st.fixed_dictionaries({name: st.binary(min_size=1, max_size=20) for name in sorted(names)})
)
outcomes = st.fixed_dictionaries(
    {"crash_step": st.none() | st.integers(0, 10**6), "seconds": st.floats(0, 1e9)},
    optional={"rate": st.floats(allow_nan=False), "mechanism": st.sampled_from(("overshoot", "self-excitation"))},
)


def seal(folder: Path, files: dict[str, bytes], outcome: dict[str, Any]) -> dict[str, Any]:
    """Write and seal a record; returns the outcome that is read back."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_outcome(folder, outcome, files)
    sealed = read_outcome(folder)
    assert sealed is not None
    return sealed


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    """With what message a file or folder is refused; "" when it is read."""
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


def changed(content: bytes, data: st.DataObject) -> bytes:
    """Other bytes: one flipped, lost or added."""
    at = data.draw(st.integers(0, len(content) - 1), label="position")
    kind = data.draw(st.sampled_from(("flip", "lose", "add")), label="change")
    if kind == "flip":
        mask = data.draw(st.integers(1, 255), label="mask")
        return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]
    return content[:at] + (b"0" if kind == "add" else b"") + content[at + (kind == "lose") :]


@pytest.mark.claim("RECORDS-SEALED")
@given(files=records, outcome=outcomes, data=st.data())
def test_every_changed_byte_of_a_sealed_file_is_refused(files, outcome, data):
    with fresh_folder() as folder:
        sealed = seal(folder, files, outcome)
        assert {key: value for key, value in sealed.items() if key != "sha256"} == outcome
        name = data.draw(st.sampled_from(sorted(files)), label="file")
        other = data.draw(st.sampled_from(("other bytes", "no file", "a folder")), label="in its place")
        content = changed(files[name], data)
        (folder / name).unlink()
        if other == "other bytes":
            (folder / name).write_bytes(content)
        elif other == "a folder":
            (folder / name).mkdir()
        with pytest.raises(InputError, match=f"{name} in .* changed after the run"):
            read_outcome(folder)


@pytest.mark.claim("RECORDS-SEALED")
@given(files=records, outcome=outcomes, data=st.data())
def test_every_changed_byte_of_an_outcome_is_refused(files, outcome, data):
    """Also white space between values, and another spelling of a number (1e5, 1E5) or of a hash."""
    with fresh_folder() as folder:
        seal(folder, files, outcome)
        path = folder / "outcome.json"
        whole = path.read_bytes()
        other = data.draw(st.sampled_from(sorted(SPELLINGS)), label="change")
        path.write_bytes(SPELLINGS[other](whole, data))
        if path.read_bytes() != whole:
            assert str(folder) in refusal(read_outcome, folder)
            event(other)


SPELLINGS: dict[str, Callable[[bytes, st.DataObject], bytes]] = {
    "a byte": changed,
    "white space": lambda whole, _: whole.replace(b",", b", ", 1),
    "no line end": lambda whole, _: whole[:-1],
    "hex case": lambda whole, _: re.sub(rb"[0-9a-f]{64}", lambda found: found[0].upper(), whole),
    "exponent case": lambda whole, _: re.sub(rb"(\d)e([+-]?\d)", rb"\1E\2", whole),
    "a key twice": lambda whole, _: whole.replace(b"{", b'{"seal":"0",', 1),
    "a line end of another system": lambda whole, _: whole[:-1] + b"\r\n",
}


DTYPES = (torch.float64, torch.float32, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Tensors by name, of any dtype that a record holds, and of any bits."""
    made = {}
    for name in draw(st.sets(st.sampled_from(("a", "b.c", "trace")), min_size=1), label="names"):
        dtype, shape = draw(st.sampled_from(DTYPES), label="dtype"), draw(st.lists(st.integers(0, 3), max_size=3))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1), label="seed"))
        size = torch.empty(shape, dtype=dtype).numel() * dtype.itemsize
        drawn = torch.randint(2 if dtype == torch.bool else 256, (size,), generator=generator, dtype=torch.uint8)
        made[name] = drawn.view(dtype).reshape(shape)
    return made


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """Everything that a tensor is; nan equals nan."""
    return tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes()


@given(tensors=tensors(), metadata=outcomes)
def test_tensors_come_back_bit_for_bit(tensors, metadata):
    with fresh_folder() as folder:
        write_tensors(folder / "t", tensors, metadata)
        found, found_metadata = read_tensors(folder / "t")
    assert {name: bits(tensor) for name, tensor in found.items()} == {n: bits(t) for n, t in tensors.items()}
    assert found_metadata == metadata


@given(tensors=tensors(), data=st.data())
def test_damaged_tensors_are_refused_or_read_and_a_cut_file_is_refused(tensors, data):
    with fresh_folder() as folder:
        path = folder / "t"
        write_tensors(path, tensors, {"step": 3})
        whole = path.read_bytes()
        other = changed(whole, data)
        path.write_bytes(other)
        message = refusal(read_tensors, path)
    event("refused" if message else "read")
    assert str(path) in message or (not message and len(other) == len(whole)), "a file of another length was read"
