"""NeoRL-2's archives and Minari's files: read row by row as they stand, of any task, and refused in one sentence."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from seem.datasets import describe, load, resolve
from seem.datasets.neorl2 import NAMES
from seem.errors import InputError

NEORL2 = Path(os.environ.get("SEEM_D4RL_DIR") or "absent").parent / "neorl2"
ROWS, STATES, ACTIONS = 9, 4, 2


def archive(path, **changed):
    drawn = np.random.default_rng(0)
    arrays = {
        "obs": drawn.standard_normal((ROWS, STATES)).astype(np.float32),
        "action": drawn.uniform(-1, 1, (ROWS, ACTIONS)).astype(np.float32),
        "next_obs": drawn.standard_normal((ROWS, STATES)).astype(np.float32),
        "reward": drawn.standard_normal(ROWS).astype(np.float32),
        "done": (np.arange(ROWS) == 4).astype(np.float32),
        "truncated": (np.arange(ROWS) == ROWS - 1).astype(np.float32),
    }
    arrays |= changed
    np.savez_compressed(path, **{name: value for name, value in arrays.items() if value is not None})
    return arrays


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"truncated": None},
        {"reward": np.arange(ROWS, dtype=np.int64)},
        {"reward": np.ones((ROWS, 1)), "done": np.zeros((ROWS, 1), bool)},
        {"obs": np.asfortranarray(np.random.default_rng(1).standard_normal((ROWS, STATES)))},
        {"extra": np.zeros(3)},
    ],
)
def test_every_row_of_an_archive_is_a_transition(tmp_path, changed):
    stored = archive(tmp_path / "Task-high-9-train.npz", **changed)
    found = load(tmp_path / "Task-high-9-train.npz")
    assert (found.name, found.label) == ("Task-high-9-train", "unverified file Task-high-9-train.npz")
    assert found.layout == "NeoRL-2"
    for theirs, ours in NAMES.items():
        expected = torch.from_numpy(np.array(stored[theirs], np.float32, order="C"))
        values = getattr(found.transitions, ours)
        assert torch.equal(values, expected.reshape(values.shape)), theirs
    assert "states of 4 and actions of 2 components" in describe(None, found)


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"done": None}, "lacks done: pass an archive in NeoRL-2's layout"),
        ({"obs": None, "reward": None}, "lacks obs, reward"),
        ({"action": np.zeros((ROWS, ACTIONS), np.int64)}, "discrete actions"),
        ({"action": np.full((ROWS, ACTIONS), 1.5)}, r"outside \[-1, 1\], first in row 0"),
        ({"reward": np.where(np.arange(ROWS) == 3, np.nan, 0)}, "not finite in float32 in rewards, first in row 3"),
        ({"done": np.full(ROWS, 0.5)}, "a flag other than 0 and 1 in terminals"),
        ({"truncated": np.full(ROWS, 2.0)}, "a flag other than 0 and 1 in timeouts"),
        ({"obs": np.zeros((ROWS, 2, 2))}, r"obs of shape \(9, 2, 2\)"),
        ({"next_obs": np.zeros((ROWS, 3))}, "two shapes"),
        ({"reward": np.zeros(ROWS - 1)}, "8 rows of reward and 9 of obs"),
        ({"obs": np.array([["text"]] * ROWS)}, "dtype <U4"),
        ({"reward": np.zeros(ROWS, np.complex64)}, "dtype complex64"),
        ({name: np.zeros((0, 2)) for name in ("obs", "next_obs", "action")}
         | {name: np.zeros(0) for name in ("reward", "done", "truncated")}, "holds no transition"),
    ],
)  # fmt: skip
def test_an_archive_that_is_no_set_of_transitions_is_one_sentence(tmp_path, changed, match):
    archive(tmp_path / "own.npz", **changed)
    refused(tmp_path / "own.npz", match)


def test_zeros_and_ones_as_actions_are_said(tmp_path):
    archive(tmp_path / "own.npz", action=(np.arange(ROWS * ACTIONS) % 2).reshape(ROWS, ACTIONS).astype(np.float32))
    assert "every action is 0 or 1, and is read as a number of [-1, 1]" in describe(None, load(tmp_path / "own.npz"))


class Trap:
    """What runs a command where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive("own.npz", reward=np.array([Trap()] * ROWS, object))
    refused(Path("own.npz"), "Python objects")
    with zipfile.ZipFile("own.npz", "a") as file:
        file.writestr("other.npy", pickle.dumps(Trap()))
    refused(Path("own.npz"), "Python objects")
    assert not Path("sprung").exists()


def header(shape, dtype="<f4"):
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": dtype, "fortran_order": False, "shape": shape})
    return made.getvalue()


def replaced(path, name, content, **options):
    """The archive with one member's bytes replaced."""
    archive(path.with_name("whole.npz"))
    with zipfile.ZipFile(path.with_name("whole.npz")) as whole, zipfile.ZipFile(path, "w") as made:
        for info in whole.infolist():
            kept = content if info.filename == f"{name}.npy" else whole.read(info)
            made.writestr(info.filename, kept, **options)
    return path


@pytest.mark.parametrize("rows", [10**4, 10**9, 10**15])
def test_an_array_that_declares_more_than_it_holds_is_refused_before_it_is_made(tmp_path, rows):
    path = replaced(tmp_path / "own.npz", "obs", header((rows, STATES)) + bytes(64))
    refused(path, f"declares {16 * rows:,} bytes of obs but holds")


def test_what_is_compressed_beyond_all_measure_or_by_other_means_is_refused(tmp_path):
    refused(replaced(tmp_path / "b.npz", "obs", b"", compress_type=zipfile.ZIP_BZIP2), "another compression")
    path = replaced(tmp_path / "e.npz", "obs", header((ROWS, STATES)) + bytes(4 * ROWS * STATES))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")  # the directory's first entry, whose flags say that it is encrypted
    content[place + 8 : place + 10] = struct.pack("<H", 1)
    path.write_bytes(content)
    refused(path, "encrypted or in another compression")


def test_damaged_archives_are_one_sentence(tmp_path):
    archive(tmp_path / "own.npz")
    content = (tmp_path / "own.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    for damaged in (content[: len(content) // 2], content[:100], b"PK\x03\x04", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(damaged)
        refused(path, r"not a readable npz archive|lacks obs")
    flipped = bytearray(content)
    flipped[content.index(b"obs.npy") + 60] ^= 0xFF
    path.write_bytes(flipped)
    refused(path, "damaged|not finite|npy version|declares|dtype")
    for start in (b"\x93NUMPY\x03\x00", b"\x93NUMPX\x01\x00", b""):
        refused(replaced(path, "obs", start + header((ROWS, STATES))[8:]), "npy version|not a readable npz archive")


@pytest.mark.skipif(not NEORL2.is_dir(), reason="no folder neorl2 stands beside SEEM_D4RL_DIR")
def test_published_files_are_known_and_read_as_numpy_reads_them():
    files = sorted(NEORL2.glob("*.npz"))
    assert files
    for path in files[:3]:
        found = resolve(None, path)
        part = "training" if path.stem.endswith("train") else "validation"
        assert found.label == f"NeoRL-2 {found.name}, {part} file"
        assert path.stem.startswith(found.name)
        with np.load(path) as stored:
            for theirs, ours in NAMES.items():
                assert torch.equal(getattr(found.transitions, ours), torch.from_numpy(stored[theirs])), (path, theirs)


def minari(path, lengths=(3, 1, 4), **changed):
    drawn = np.random.default_rng(0)
    episodes = []
    with h5py.File(path, "w") as file:
        for number, steps in enumerate(lengths):
            episode = {
                "observations": drawn.standard_normal((steps + 1, STATES)),
                "actions": drawn.uniform(-1, 1, (steps, ACTIONS)).astype(np.float32),
                "rewards": drawn.standard_normal(steps),
                "terminations": np.arange(steps) == (steps - 1 if number else -1),
                "truncations": np.arange(steps) == (-1 if number else steps - 1),
            }
            episodes.append(episode)
            # Written in another order than by number: names sort as episode_10 before episode_2.
            group = file.create_group(f"episode_{number + 8}")
            group.create_group("infos")["x"] = np.zeros(steps)
            for name, value in (episode | (changed if number == 1 else {})).items():
                if isinstance(value, dict):
                    group.create_group(name)
                elif value is not None:
                    group[name] = value
    return episodes


def test_every_step_of_an_episode_is_a_transition_and_episodes_come_by_number(tmp_path):
    episodes = minari(tmp_path / "main_data.hdf5")
    found = load(tmp_path / "main_data.hdf5")
    assert (found.layout, found.label) == ("Minari", "unverified file main_data.hdf5")
    rows = found.transitions
    expected = [
        (episode["observations"][t], episode["actions"][t], episode["rewards"][t], episode["observations"][t + 1],
         episode["terminations"][t])
        for episode in episodes for t in range(len(episode["rewards"]))
    ]  # fmt: skip
    assert len(rows) == len(expected) == 8
    columns = zip(*expected, strict=True)
    names = ("observations", "actions", "rewards", "next_observations", "terminals")
    for name, values in zip(names, columns, strict=True):
        assert torch.equal(getattr(rows, name), torch.from_numpy(np.array(values, np.float32))), name


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"terminations": None}, "lacks terminations in episode_9: pass a file in Minari's layout"),
        ({"observations": {}}, "episode_9/observations in several parts"),
        ({"observations": np.zeros((1, STATES))}, "1 rows of episode_9/observations for 1 steps"),
        ({"actions": np.zeros((2, ACTIONS))}, "2 rows of episode_9/actions for 1 steps"),
        ({"actions": np.zeros((1, 3))}, "different numbers of components"),
        ({"actions": np.zeros((1, ACTIONS), np.int64)}, "discrete actions"),
        ({"actions": np.zeros(1)}, r"episode_9/actions of shape \(1,\)"),
        ({"actions": np.full((1, ACTIONS), 2.0)}, r"outside \[-1, 1\], first in row 3"),
        ({"rewards": np.array([np.inf])}, "not finite in float32 in rewards, first in row 3"),
        ({"terminations": np.array([3])}, "a flag other than 0 and 1 in terminals, first in row 3"),
        ({"truncations": np.array([3])}, "a flag other than 0 and 1 in timeouts, first in row 3"),
        ({"observations": np.array([[b"a"], [b"b"]])}, "dtype"),
    ],
)
def test_an_episode_that_is_none_is_one_sentence(tmp_path, changed, match):
    minari(tmp_path / "main_data.hdf5", **changed)
    refused(tmp_path / "main_data.hdf5", match)


def test_episodes_without_a_step_or_in_another_file_are_refused(tmp_path):
    minari(tmp_path / "main_data.hdf5", lengths=(0, 0))
    refused(tmp_path / "main_data.hdf5", "holds no step")
    with h5py.File(tmp_path / "linked.hdf5", "w") as file:
        file["episode_0"] = h5py.ExternalLink("main_data.hdf5", "episode_8")
    refused(tmp_path / "linked.hdf5", "link to another file")
    with h5py.File(tmp_path / "array.hdf5", "w") as file:
        file["episode_0"] = np.zeros(3)
    refused(tmp_path / "array.hdf5", "as no group")
