"""Damaged data files give a refusal of one sentence, or data that are valid by themselves, and never anything else.

HDF5 has no checksum of raw data and ignores bytes that it does not need, so the reader alone cannot notice every
flipped bit: what it returns then still is finite, with flags of 0 and 1 and actions in the box. With a known SHA-256,
listed in ``SHA256SUMS``, recorded at a download or pinned in the registry, every change of the file is refused.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from properties.strategies.files import DAMAGES, D4RLFile, files
from seem.datasets import ENTRIES, Dataset, load, read_d4rl, resolve
from seem.datasets.hashes import record_hash
from seem.datasets.tables import ACTION_TOLERANCE
from seem.errors import InputError


def refusal(path: Path, read: Callable[[Path], Any]) -> str:
    """The message with which ``read(path)`` refuses the file, checked to be one sentence; "" when it does not."""
    try:
        read(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(str(path)), message
        told = message.removeprefix(str(path))
        assert ": " in told, f"no remedy: {message}"
        assert "\n" not in told, message
        assert ". " not in told, message
        assert not told.endswith("."), message
        return message
    return ""


@pytest.mark.parametrize("kind", DAMAGES)
@settings(max_examples=max(50, settings.default.max_examples // len(DAMAGES)))  # the kinds share the examples
@given(file=files(), data=st.data())
def test_damaged_content_is_refused(file, data, kind):
    arrays = DAMAGES[kind](data, file.arrays())
    with tempfile.TemporaryDirectory() as folder:
        path = file.write(Path(folder) / "drawn.hdf5", arrays)
        assert refusal(path, read_d4rl), f"{kind}, and it was read"


@given(file=files(), data=st.data())
def test_a_truncated_file_is_refused(file, data):
    with tempfile.TemporaryDirectory() as folder:
        path = file.write(Path(folder) / "drawn.hdf5")
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1), label="bytes left")])
        assert refusal(path, read_d4rl)


def flipped(whole: bytes, data: st.DataObject) -> bytes:
    """The bytes with one of them changed."""
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1), label="position")] ^= data.draw(st.integers(1, 255), label="mask")
    return bytes(changed)


@given(file=files(), data=st.data())
def test_flipped_bytes_give_a_refusal_or_valid_data(file, data):
    with tempfile.TemporaryDirectory() as folder:
        path = file.write(Path(folder) / "drawn.hdf5")
        content = path.read_bytes()
        for _ in range(data.draw(st.integers(1, 3), label="flips")):
            content = flipped(content, data)
        path.write_bytes(content)
        if refusal(path, read_d4rl):
            event("refused")
            return
        found = read_d4rl(path)
    event("read")
    assert all(values.isfinite().all() for values in vars(found).values())
    assert len({len(values) for values in vars(found).values()}) == 1
    assert found.next_observations.shape == found.observations.shape
    assert found.actions.abs().max() <= 1 + ACTION_TOLERANCE
    assert set(found.terminals.tolist()) <= {0.0, 1.0}


NAME, FILENAME = "hopper-expert-v2", "hopper_expert-v2.hdf5"


def list_hash(path: Path, sha256: str) -> None:
    """In ``SHA256SUMS`` beside the file."""
    (path.parent / "SHA256SUMS").write_text(f"{sha256}  {path.name}\n")


def pin_hash(_: Path, sha256: str) -> None:
    """In the registry."""
    ENTRIES[NAME] = replace(ENTRIES[NAME], sha256=sha256)


def by_name(path: Path) -> Dataset:
    """The data set as a user asks for it."""
    return resolve("hopper", NAME, path.parent)


KNOWN = {"listed": (list_hash, load), "recorded": (record_hash, by_name), "pinned": (pin_hash, by_name)}
CHANGES = {
    "flip": flipped,
    "cut": lambda whole, data: whole[: data.draw(st.integers(0, len(whole) - 1), label="bytes left")],
    "more": lambda whole, data: whole + data.draw(st.binary(min_size=1, max_size=8), label="bytes behind"),
}


@given(file=files(observation_dim=11, action_dim=3, timeouts=True), data=st.data())
def test_with_a_known_hash_every_change_is_refused(file, data):
    record, read = KNOWN[data.draw(st.sampled_from(sorted(KNOWN)), label="known by")]
    change = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)), label="change")]
    with tempfile.TemporaryDirectory() as folder, patch.dict(ENTRIES):
        path = file.write(Path(folder) / FILENAME)
        whole = path.read_bytes()
        record(path, hashlib.sha256(whole).hexdigest())
        assert not refusal(path, read)
        path.write_bytes(change(whole, data))
        assert refusal(path, read)


def test_without_a_known_hash_a_flip_in_the_raw_data_is_not_noticed():
    """The hypothesis of the property above, dropped: another reward, silently."""
    file = D4RLFile(episodes=((2, "open"),))
    with tempfile.TemporaryDirectory() as folder:
        path = file.write(Path(folder) / "drawn.hdf5")
        reward = file.arrays()["rewards"][0]
        path.write_bytes(path.read_bytes().replace(reward.tobytes(), (-reward).tobytes()))
        assert read_d4rl(path).rewards.item() == -reward
