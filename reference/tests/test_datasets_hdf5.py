"""HDF5 files that lie: data elsewhere, more declared than held, locks; and honest ones that are compressed as far."""

import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from seem.datasets import describe, load, read_d4rl
from seem.errors import InputError

ROWS = 40


def arrays(rows: int = ROWS) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "observations": generator.standard_normal((rows, 3)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": np.zeros(rows, np.float32),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.arange(rows) % 10 == 9,
    }


def write(path: Path, content: dict, **options) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in content.items():
            file.create_dataset(key, data=values, **options)
    return path


def refused(path: Path) -> str:
    messages = []
    for read in (read_d4rl, load):
        with pytest.raises(InputError) as caught:
            read(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(str(path))
    assert "\n" not in messages[0]
    assert ". " not in messages[0]
    return messages[0]


def external_link(file: h5py.File, other: Path, key: str) -> None:
    file[key] = h5py.ExternalLink(str(other), f"/{key}")


def soft_link_through_an_external_one(file: h5py.File, other: Path, key: str) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(other), "/")
    file[key] = h5py.SoftLink(f"/elsewhere/{key}")


def external_storage(file: h5py.File, other: Path, key: str) -> None:
    values = arrays()[key]
    other.with_suffix(".raw").write_bytes(values.tobytes())
    file.create_dataset(key, values.shape, values.dtype, external=[(str(other.with_suffix(".raw")), 0, values.nbytes)])


def virtual(file: h5py.File, other: Path, key: str) -> None:
    values = arrays()[key]
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(str(other), key, values.shape)
    file.create_virtual_dataset(key, layout)


ELSEWHERE = {
    external_link: "as a link to another file",
    soft_link_through_an_external_one: "as a link to another file",
    external_storage: "in another file",
    virtual: "in another file",
}


@pytest.mark.parametrize("key", [*arrays(), "next_observations"])
@pytest.mark.parametrize("way", ELSEWHERE)
def test_data_outside_the_file_are_refused(way, key, tmp_path):
    content = arrays()
    if key == "next_observations":
        content[key] = content["observations"]
        if way in (external_storage, virtual):
            pytest.skip("made from `arrays`, which has none")
    other = write(tmp_path / "other.hdf5", content)
    path = write(tmp_path / "file.hdf5", {name: values for name, values in content.items() if name != key})
    with h5py.File(path, "a") as file:
        way(file, other, key)
    assert ELSEWHERE[way] in refused(path)


def test_a_group_outside_the_file_is_refused(tmp_path):
    path = write(tmp_path / "file.hdf5", {k: v for k, v in arrays().items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.ExternalLink("/etc/passwd", "/rewards")
    assert "as a link to another file" in refused(path)


@pytest.mark.parametrize("target", ["/kept/rewards", "kept/rewards", "other", "kept/../kept/rewards"])
def test_soft_links_inside_the_file_are_followed(target, tmp_path):
    content = arrays()
    path = write(tmp_path / "file.hdf5", {k: v for k, v in content.items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        file["kept/rewards"] = content["rewards"]
        file["other"] = h5py.SoftLink("kept/./rewards")
        file["rewards"] = h5py.SoftLink(target)
    if ".." in target:
        assert "lacks rewards" in refused(path)
    else:
        assert len(read_d4rl(path)) == ROWS - 4


def test_links_in_a_circle_and_to_nowhere_are_refused(tmp_path):
    path = write(tmp_path / "file.hdf5", {k: v for k, v in arrays().items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.SoftLink("/again")
        file["again"] = h5py.SoftLink("/rewards")
    assert "links in a circle" in refused(path)
    with h5py.File(path, "a") as file:
        del file["rewards"]
        file["rewards"] = h5py.SoftLink("/nowhere")
    assert "lacks rewards" in refused(path)


def declare(path: Path, rows: int, **options) -> Path:
    """A small file whose arrays claim many rows and hold none."""
    with h5py.File(path, "w") as file:
        for key, values in arrays().items():
            shape = (rows, *values.shape[1:])
            file.create_dataset(key, shape, values.dtype, **options)
    return path


LIES = {
    "contiguous": {},
    "chunked": {"chunks": True},
    "compressed": {"chunks": True, "compression": "gzip"},
    "huge chunks": {"chunks": True, "maxshape": (None,)},
}


@pytest.mark.parametrize("rows", [10**4, 10**7, 10**15])
@pytest.mark.parametrize("way", ["contiguous", "chunked", "compressed"])
def test_rows_that_are_declared_and_not_held_are_refused_before_they_are_read(way, rows, tmp_path, monkeypatch):
    path = declare(tmp_path / "file.hdf5", rows, **LIES[way])
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("the rows are read"))
    assert "bytes of observations but holds 0: download it again" in refused(path)


def test_a_chunk_that_is_larger_than_the_file_could_hold_is_refused(tmp_path, monkeypatch):
    content = arrays()
    path = write(tmp_path / "file.hdf5", {k: v for k, v in content.items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        rewards = file.create_dataset("rewards", (ROWS,), "f4", chunks=(10**9,), maxshape=(None,), compression="gzip")
        rewards.id.write_direct_chunk((0,), b"x" * 100)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("the rows are read"))
    assert "declares" in refused(path)


def test_chunks_that_are_missing_are_refused(tmp_path):
    path = write(tmp_path / "file.hdf5", {k: v for k, v in arrays().items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (ROWS,), "f4", chunks=(10,))[:30] = 1
    assert "declares 160 bytes of rewards but holds 120" in refused(path)


def test_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "file.hdf5", arrays())
    monkeypatch.setattr(os, "sysconf", lambda name: 1000 if name == "SC_PHYS_PAGES" else 1)
    assert "fits into this machine's memory" in refused(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip", "compression_opts": 9, "shuffle": True},
        {"compression": "gzip", "chunks": True, "fletcher32": True},
        {"compression": "lzf"},
        {"chunks": True},
    ],
)
def test_honest_files_pass_however_well_they_are_compressed(options, tmp_path):
    rows = 300_000
    content = arrays(rows) | {"observations": np.zeros((rows, 3), np.float32), "actions": np.zeros((rows, 2), "f4")}
    path = write(tmp_path / "file.hdf5", content, **options)
    assert len(read_d4rl(path)) == rows - rows // 10
    with h5py.File(path) as file:
        ratio = file["rewards"].nbytes / file["rewards"].id.get_storage_size()
    assert ratio > 400 or options.get("compression") != "gzip"


def test_the_best_ratio_of_deflate_passes(tmp_path):
    path = tmp_path / "file.hdf5"
    rows = 4_000_000
    with h5py.File(path, "w") as file:
        for key, values in arrays(rows=2).items():
            shape = (rows, *values.shape[1:])
            file.create_dataset(key, shape, values.dtype, chunks=shape, compression="gzip", compression_opts=9)
            file[key][...] = 0
        assert file["terminals"].nbytes / file["terminals"].id.get_storage_size() > 1000
    assert len(read_d4rl(path, check_continuity=False)) == rows - 1


REFERENCE = h5py.special_dtype(ref=h5py.Reference)
DTYPES = {
    "references": np.array([None] * ROWS, dtype=REFERENCE),
    "compound": np.zeros(ROWS, dtype=[("x", "f4"), ("y", "f4")]),
    "arrays": np.zeros(ROWS, dtype=np.dtype(("f4", (3,)))),
    "opaque": np.zeros(ROWS, dtype="V8"),
}


@pytest.mark.parametrize("kind", DTYPES)
def test_dtypes_that_are_no_numbers_are_refused(kind, tmp_path):
    path = write(tmp_path / "file.hdf5", {k: v for k, v in arrays().items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        if kind == "arrays":
            file.create_dataset("rewards", (ROWS,), dtype=np.dtype(("f4", (3,))))
        else:
            file["rewards"] = DTYPES[kind]
    assert "rewards of " in refused(path)


def test_lists_of_any_length_are_refused(tmp_path):
    path = write(tmp_path / "file.hdf5", {k: v for k, v in arrays().items() if k != "rewards"})
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (ROWS,), dtype=h5py.vlen_dtype(np.float32))
    assert "rewards of dtype object" in refused(path)


HOLD = """
import sys, h5py
with h5py.File(sys.argv[1], "a") as file:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("asked", [None, "FALSE"])
def test_a_locked_file_is_named_as_locked(asked, tmp_path, monkeypatch):
    path = write(tmp_path / "file.hdf5", arrays())
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline()
        if asked:
            monkeypatch.setenv("HDF5_USE_FILE_LOCKING", asked)
            assert len(load(path).transitions) == ROWS - 4
        else:
            message = refused(path)
            assert "is locked by a process that writes it: pass it once that has closed it" in message
            assert "HDF5_USE_FILE_LOCKING=FALSE" in message
            assert "truncated" not in message
        holder.stdin.close()
    assert len(load(path).transitions) == ROWS - 4


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "file.hdf5", arrays())
    values = h5py.Dataset.__getitem__

    def change(self, key):
        os.utime(path, (time.time() + 9, time.time() + 9))
        return values(self, key)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", change)
    with pytest.raises(InputError, match="changed while it was read: pass it once nobody writes it"):
        load(path)


def test_a_path_that_is_exchanged_while_it_is_read_changes_nothing(tmp_path, monkeypatch):
    content = arrays()
    path = write(tmp_path / "file.hdf5", content)
    expected = load(path)
    write(tmp_path / "other.hdf5", content | {"rewards": np.ones(ROWS, np.float32)})
    opened = h5py.File

    def exchange(*arguments, **options):
        file = opened(*arguments, **options)
        if (tmp_path / "other.hdf5").exists():
            (tmp_path / "other.hdf5").replace(path)
        return file

    monkeypatch.setattr(h5py, "File", exchange)
    found = load(path)
    assert found.sha256 == expected.sha256
    assert found.transitions.rewards.equal(expected.transitions.rewards)


def with_late_timeouts(rows: int = 2000, length: int = 500) -> dict[str, np.ndarray]:
    content = arrays(rows)
    ends = np.arange(rows) % length == length - 1
    content["next_observations"] = np.roll(content["observations"], -1, axis=0)
    content["next_observations"][ends] += 1
    content["timeouts"] = np.roll(ends, 1)
    return content


def test_late_timeouts_that_the_successors_contradict_are_counted_and_said(tmp_path):
    found = load(write(tmp_path / "late.hdf5", with_late_timeouts()))
    (note,) = found.notes
    assert note.startswith("3 of 1,995 rows inside episodes (the first is row 499) are followed by a row that is not")
    assert note in describe("hopper", found)
    content = with_late_timeouts()
    content["timeouts"] = np.roll(content["timeouts"], -1)
    assert load(write(tmp_path / "right.hdf5", content)).notes == ()


def test_discrete_actions_are_refused_or_said(tmp_path):
    for dtype in (np.int64, np.uint8):
        content = arrays() | {"actions": (np.arange(2 * ROWS) % 2).reshape(ROWS, 2).astype(dtype)}
        assert "discrete actions" in refused(write(tmp_path / "file.hdf5", content))
    content = arrays() | {"actions": (np.arange(ROWS) % 2).reshape(ROWS, 1).astype(np.float32)}
    found = load(write(tmp_path / "file.hdf5", content))
    assert found.notes == ("every action is 0 or 1, and is read as a number of [-1, 1]",)
    content["actions"][0] = -1
    assert load(write(tmp_path / "file.hdf5", content)).notes == ()
