"""The manifest, name lookup, hashes beside files, and the honest label of every file."""

import hashlib
import re
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from seem.datasets import ENTRIES, Entry, load, lookup
from seem.datasets.dataset import EMBEDDED
from seem.datasets.hashes import check_sums, record_hash, recorded_hash, sha256_of
from seem.datasets.registry import PINNED, PINS, identify
from seem.errors import InputError


def write(path: Path, attributes: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["observations"] = np.arange(33, dtype=np.float32).reshape(3, 11)
        file["actions"] = np.zeros((3, 3), np.float32)
        file["rewards"] = np.zeros(3, np.float32)
        file["terminals"] = np.zeros(3, bool)
        file.attrs.update(attributes or {})
    return path


def test_manifest_holds_every_promised_name():
    levels = ("random", "medium", "medium-replay", "medium-expert", "expert", "full-replay")
    names = {f"{env}-{level}-v2" for env in ("halfcheetah", "hopper", "walker2d", "ant") for level in levels}
    mazes = ("umaze", "umaze-diverse", "medium-play", "medium-diverse", "large-play", "large-diverse")
    names |= {f"antmaze-{maze}-v{version}" for maze in mazes for version in (0, 1, 2)}
    assert set(ENTRIES) == names
    assert len({entry.url for entry in ENTRIES.values()}) == len(names) == 42


def test_manifest_entries_are_well_formed():
    for entry in ENTRIES.values():
        assert re.fullmatch(r"http://rail\.eecs\.berkeley\.edu/datasets/offline_rl/\w+/[\w-]+\.hdf5", entry.url)
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.bytes is None or (entry.bytes > 10**7 and entry.sha256)
        if not entry.name.startswith("antmaze"):
            env, level = entry.name.removesuffix("-v2").split("-", 1)
            assert entry.filename == f"{env}_{level.replace('-', '_')}-v2.hdf5"
    pinned = {entry.name for entry in ENTRIES.values() if entry.sha256}
    replays = {"hopper-medium-replay-v2", "walker2d-medium-replay-v2"}
    assert pinned == {"hopper-medium-v2", "hopper-medium-expert-v2", *replays}


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("hopper-medum-v2", "did you mean hopper-medium-v2"),
        ("walker-medium-v2", "did you mean walker2d-medium-v2"),
        ("%%%", "pass a D4RL name such as hopper-medium-v2"),
    ],
)
def test_unknown_name_is_answered_with_the_closest(wrong, remedy):
    with pytest.raises(InputError, match=f"no data set named '{wrong}': {remedy}"):
        lookup(wrong)


def test_an_entry_admits_web_addresses_only():
    with pytest.raises(InputError, match="file:///etc/passwd: give one that starts with http"):
        Entry("x", "file:///etc/passwd")


def test_hash_is_that_of_the_bytes(tmp_path):
    content = np.random.default_rng(0).bytes(3_000_001)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=r"absent cannot be read \(No such file or directory\): pass"):
        sha256_of(tmp_path / "absent")


def test_recorded_hash_comes_back_and_leaves_no_temporary_file(tmp_path):
    assert recorded_hash(tmp_path / "x.hdf5") is None
    record_hash(tmp_path / "x.hdf5", "ab" * 32)
    assert recorded_hash(tmp_path / "x.hdf5") == "ab" * 32
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5.sha256"]


@pytest.mark.parametrize("listing", ["folder/SHA256SUMS", "SHA256SUMS"])
@pytest.mark.parametrize("prefix", ["", "./", "*"])
def test_sums_beside_and_above_are_held_against_the_file(tmp_path, listing, prefix):
    path = write(tmp_path / "folder" / "x.hdf5")
    name = path.relative_to((tmp_path / listing).parent).as_posix()
    lines = f"{'0' * 64}  other.hdf5\n{sha256_of(path)} {' ' if prefix != '*' else ''}{prefix}{name}\n"
    (tmp_path / listing).write_text(lines)
    check_sums(path, sha256_of(path))
    assert load(path).sha256 == sha256_of(path)
    (tmp_path / listing).write_text(lines.replace(sha256_of(path), "1" * 64))
    with pytest.raises(InputError, match=r"SHA256SUMS lists 1{12}…: fetch the file again"):
        load(path)


WINDOW = {
    "source_dataset": "D4RL hopper-expert-v0 (file hopper_expert.hdf5)",
    "changes": "the last row of every 20-row window is marked timeout",
}


@pytest.mark.parametrize(
    ("place", "attributes", "label", "name"),
    [
        ("x/my_data.hdf5", {}, "unverified file my_data.hdf5", "my_data"),
        ("x/hopper_medium-v2.hdf5", {}, "unverified file hopper_medium-v2.hdf5", "hopper_medium-v2"),
        (
            "d4rl-v0-windows/hopper-medium-v0_399x20.hdf5",
            {},
            "unverified file hopper-medium-v0_399x20.hdf5",
            "hopper-medium-v0_399x20",
        ),
        ("x/hopper-expert-v0_1.hdf5", WINDOW, "unverified file hopper-expert-v0_1.hdf5", "hopper-expert-v0_1"),
        ("x/a.hdf5", {"label": "collected (made by this project)"}, "unverified file a.hdf5", "a"),
        ("x/a.hdf5", {"label": "D4RL hopper-medium-v2"}, "unverified file a.hdf5", "a"),
        ("x/a.hdf5", {"label": "embedded (made by this project)"}, "unverified file a.hdf5", "a"),
        ("x/plain.hdf5", {"source_dataset": "D4RL hopper-medium-v2"}, "unverified file plain.hdf5", "plain"),
        ("surrogate/a.hdf5", {}, "surrogate", "a"),
        ("d4rl-v0-windows/a.hdf5", {"WARNING": "SURROGATE, NOT a D4RL dataset"}, "surrogate", "a"),
        ("embedded/hopper-medium.hdf5", {}, "unverified file hopper-medium.hdf5", "hopper-medium"),
    ],
)
def test_no_file_name_or_folder_claims_a_label(tmp_path, place, attributes, label, name):
    path = write(tmp_path / place, attributes)
    found = load(path)
    assert (found.label, found.name, found.path) == (label, name, path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(found.transitions) == 2


def test_a_pinned_hash_gives_the_d4rl_label_whatever_the_file_is_called(tmp_path, monkeypatch):
    path = write(tmp_path / "renamed.hdf5", {"WARNING": "SURROGATE"})
    entry = Entry("hopper-medium-v2", "http://127.0.0.1/hopper_medium-v2.hdf5", sha256=sha256_of(path))
    monkeypatch.setitem(ENTRIES, entry.name, entry)
    assert (load(path).label, load(path).name) == ("D4RL hopper-medium-v2", "hopper-medium-v2")


@pytest.mark.parametrize(
    "label", ["D4RL v0 windows", "NeoRL-2 A, training file", "embedded (made by this project)", "surrogate"]
)
def test_a_label_is_earned_by_content(tmp_path, monkeypatch, label):
    path = write(tmp_path / "renamed.hdf5")
    monkeypatch.setitem(PINNED, sha256_of(path), ("A", label))
    assert (load(path, "asked").label, load(path, "asked").name) == (label, "A")
    with h5py.File(path, "a") as file:
        file["more"] = 1
    assert (load(path, "asked").label, load(path, "asked").name) == ("unverified file renamed.hdf5", "asked")


def test_the_embedded_set_is_known_by_its_content():
    (path,) = EMBEDDED.glob("*.hdf5")
    assert identify(sha256_of(path)) == (path.stem, "embedded (made by this project)")


def test_no_content_has_two_names():
    entries = [entry.sha256 for entry in ENTRIES.values() if entry.sha256]
    hashes = [*entries, *(sha for names in tomllib.loads(PINS.read_text()).values() for sha in names.values())]
    assert len(set(hashes)) == len(hashes) == len(PINNED) + len(entries)
    assert all(len(sha) == 64 and set(sha) <= set("0123456789abcdef") for sha in hashes)


def test_continuity_is_not_asked_of_a_pinned_file(tmp_path, monkeypatch):
    path = write(tmp_path / "x.hdf5")
    with h5py.File(path, "a") as file:
        file["next_observations"] = np.zeros((3, 11), np.float32)
    with pytest.raises(InputError, match="next_observations differ"):
        load(path)
    entry = Entry("hopper-medium-v2", "http://127.0.0.1/hopper_medium-v2.hdf5", sha256=sha256_of(path))
    monkeypatch.setitem(ENTRIES, entry.name, entry)
    assert len(load(path).transitions) == 2
