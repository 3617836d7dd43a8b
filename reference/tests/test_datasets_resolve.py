"""Which data set answers which request, in which order of places, and what is said about it."""

import importlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from seem.datasets import ENTRIES, Download, Entry, cache_dir, describe, environment_of, load, resolve
from seem.datasets.hashes import record_hash, sha256_of
from seem.datasets.registry import PINNED
from seem.errors import InputError

RESOLVE = importlib.import_module("seem.datasets.resolve")  # the package's attribute of this name is the function
DIMENSIONS = {"hopper": (11, 3), "walker2d": (17, 6), "halfcheetah": (17, 6)}


def write(path: Path, env: str = "hopper", rows: int = 5) -> Path:
    """A small file in D4RL's layout with one time-out at its end; it yields ``rows`` - 1 transitions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    states, actions = DIMENSIONS[env]
    with h5py.File(path, "w") as file:
        file["observations"] = np.random.default_rng(rows).standard_normal((rows, states)).astype(np.float32)
        file["actions"] = np.zeros((rows, actions), np.float32)
        file["rewards"] = np.zeros(rows, np.float32)
        file["terminals"] = np.zeros(rows, bool)
        file["timeouts"] = np.arange(rows) == rows - 1
    return path


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """An empty machine: no cache, no SEEM_D4RL_DIR, nothing embedded, no network and no pinned hashes."""
    monkeypatch.setenv("SEEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    monkeypatch.setattr(RESOLVE, "EMBEDDED", tmp_path / "embedded")

    def no_network(entry, folder):
        raise AssertionError(f"download of {entry.name} was tried")

    monkeypatch.setattr(RESOLVE, "download", no_network)
    for name in ("hopper-medium-v2", "walker2d-medium-v2"):
        monkeypatch.setitem(ENTRIES, name, Entry(name, ENTRIES[name].url))
    return tmp_path


def pin(monkeypatch, name: str, path: Path) -> None:
    entry = Entry(name, ENTRIES[name].url, path.stat().st_size, sha256_of(path))
    monkeypatch.setitem(ENTRIES, name, entry)


def vouch(monkeypatch, name: str, label: str, path: Path) -> Path:
    """Make a file's content known."""
    monkeypatch.setitem(PINNED, sha256_of(path), (name, label))
    return path


def refused(match: str, *arguments) -> None:
    with pytest.raises(InputError, match=match) as caught:
        resolve(*arguments)
    assert "\n" not in str(caught.value)
    assert ". " not in str(caught.value)


def test_default_order_is_v2_then_windows_then_embedded(places, monkeypatch):
    refused("no data set of hopper is on this machine: pass --dataset hopper-medium-v2 to download it", "hopper")
    embedded = write(places / "embedded" / "hopper-medium.hdf5")
    vouch(monkeypatch, "hopper-medium", "embedded (made by this project)", embedded)
    assert resolve("hopper").label == "embedded (made by this project)"
    assert resolve("hopper").path == embedded
    data = places / "data"
    windows = write(data / "d4rl-v0-windows" / "hopper-medium-v0_399x20.hdf5", rows=6)
    vouch(monkeypatch, "hopper-medium-v0", "D4RL v0 windows", windows)
    monkeypatch.setenv("SEEM_D4RL_DIR", str(data))
    assert (resolve("hopper").label, resolve("hopper").path) == ("D4RL v0 windows", windows)
    cached = write(places / "cache" / "hopper_medium-v2.hdf5", rows=7)
    assert (resolve("hopper").label, resolve("hopper").path) == ("unverified file hopper_medium-v2.hdf5", cached)
    pin(monkeypatch, "hopper-medium-v2", cached)
    assert (resolve("hopper").label, resolve("hopper").path) == ("D4RL hopper-medium-v2", cached)
    own = write(data / "hopper_medium-v2.hdf5", rows=7)
    own.write_bytes(cached.read_bytes())
    assert resolve("hopper").path == own


def test_nothing_but_the_explicit_folder_is_looked_at(places, monkeypatch):
    write(places / "cache" / "hopper_medium-v2.hdf5")
    write(places / "other" / "hopper-medium-v0_1x5.hdf5")
    write(places / "embedded" / "hopper-medium.hdf5")
    monkeypatch.setenv("SEEM_D4RL_DIR", str(places / "other"))
    (places / "empty").mkdir()
    refused("empty holds neither hopper_medium-v2.hdf5 nor hopper-medium-v0", "hopper", None, places / "empty")
    refused("empty does not hold hopper_medium-v2.hdf5", "hopper", "hopper-medium-v2", str(places / "empty"))
    refused("no hopper-medium-v0_.* is in .*empty: name the folder", "hopper", "hopper-medium-v0", places / "empty")
    refused(r"absent \(from --data-dir\) is not a folder", "hopper", None, places / "absent")


def test_the_folder_of_the_environment_variable_must_exist_but_may_be_empty(places, monkeypatch):
    embedded = write(places / "embedded" / "hopper-medium.hdf5")
    monkeypatch.setenv("SEEM_D4RL_DIR", str(places / "absent"))
    refused(r"absent \(from SEEM_D4RL_DIR\) is not a folder", "hopper")
    (places / "absent").mkdir()
    assert resolve("hopper").path == embedded
    monkeypatch.setenv("SEEM_D4RL_DIR", "")
    assert resolve("hopper").path == embedded


def test_a_registry_name_is_found_in_the_folder_the_cache_or_the_net(places, monkeypatch):
    asked = []

    def stand_in(entry, folder):
        asked.append((entry.name, folder))
        path = write(folder / entry.filename, rows=9)
        return Download(path, sha256_of(path), verified=False)

    monkeypatch.setattr(RESOLVE, "download", stand_in)
    found = resolve("hopper", "hopper-expert-v2")
    assert asked == [("hopper-expert-v2", places / "cache")]
    assert (found.name, found.label) == ("hopper-expert-v2", "unverified file hopper_expert-v2.hdf5")
    assert resolve("hopper", "hopper-expert-v2").sha256 == found.sha256
    assert len(asked) == 1
    own = write(places / "data" / "hopper_expert-v2.hdf5")
    assert resolve("hopper", "hopper-expert-v2", places / "data").path == own
    monkeypatch.setenv("SEEM_D4RL_DIR", str(places / "data"))
    assert resolve("hopper", "hopper-expert-v2").path == own


@pytest.mark.parametrize("arguments", [("hopper",), ("hopper", "hopper-medium-v2")])
def test_a_file_under_a_pinned_name_with_another_hash_is_refused(places, monkeypatch, arguments):
    path = write(places / "cache" / "hopper_medium-v2.hdf5")
    pin(monkeypatch, "hopper-medium-v2", path)
    assert resolve(*arguments).label == "D4RL hopper-medium-v2"
    write(path, rows=6)
    refused("hopper_medium-v2.hdf5 has SHA-256 .* instead of .*: delete it and download it again", *arguments)


def test_an_unpinned_file_is_held_against_its_recorded_hash(places):
    path = write(places / "cache" / "hopper_expert-v2.hdf5")
    record_hash(path, sha256_of(path))
    assert resolve("hopper", "hopper-expert-v2").path == path
    write(path, rows=6)
    refused("hopper_expert-v2.hdf5 has SHA-256 .* instead of", "hopper", "hopper-expert-v2")


@pytest.mark.parametrize("as_string", [True, False])
def test_a_path_is_read_where_it_is(places, as_string):
    path = write(places / "my.hdf5")
    found = resolve("hopper", str(path) if as_string else path)
    assert (found.label, found.path, len(found.transitions)) == ("unverified file my.hdf5", path, 4)
    refused("absent.hdf5 does not exist", "hopper", str(places / "absent.hdf5"))


def test_an_unpinned_file_says_so_whenever_it_is_used(places, monkeypatch):
    path = write(places / "cache" / "hopper_expert-v2.hdf5")
    for _ in range(2):
        assert "; unpinned: only known to be what was first" in describe(
            "hopper", resolve("hopper", "hopper-expert-v2")
        )
    pin(monkeypatch, "hopper-expert-v2", path)
    assert "unpinned" not in describe("hopper", resolve("hopper", "hopper-expert-v2"))


def test_another_environment_is_refused_before_it_is_downloaded(places):
    refused("antmaze-umaze-v2 is no data set of hopper: pass one of hopper", "hopper", "antmaze-umaze-v2")


def test_windows_are_found_by_name_beside_and_one_folder_down(places, monkeypatch):
    refused("name the folder that holds it with --data-dir or SEEM_D4RL_DIR", "hopper", "hopper-expert-v0")
    path = write(places / "data" / "d4rl-v0-windows" / "hopper-expert-v0_399x20.hdf5")
    unknown = resolve("hopper", "hopper-expert-v0", places / "data")
    assert (unknown.name, unknown.label) == (path.stem, f"unverified file {path.name}")
    vouch(monkeypatch, "hopper-expert-v0", "D4RL v0 windows", path)
    for folder in (places / "data", path.parent):
        found = resolve("hopper", "hopper-expert-v0", folder)
        assert (found.name, found.label, found.path) == ("hopper-expert-v0", "D4RL v0 windows", path)
    monkeypatch.setenv("SEEM_D4RL_DIR", str(path.parent))
    assert resolve("hopper", "hopper-expert-v0").path == path
    write(path.with_name("hopper-expert-v0_10x20.hdf5"))
    refused("holds several files that fit .*pass the path of one with --dataset", "hopper", "hopper-expert-v0")


def test_medium_does_not_find_medium_replay(places):
    write(places / "data" / "hopper-medium-replay-v0_399x20.hdf5")
    write(places / "data" / "hopper_medium_replay-v2.hdf5")
    refused("holds neither", "hopper", None, places / "data")


def test_windows_listed_with_another_hash_are_refused(places):
    path = write(places / "data" / "d4rl-v0-windows" / "hopper-medium-v0_399x20.hdf5")
    (places / "data" / "SHA256SUMS").write_text(f"{'0' * 64}  d4rl-v0-windows/{path.name}\n")
    refused("SHA256SUMS lists 000000000000…", "hopper", None, places / "data")


def test_a_file_of_any_task_is_read_where_it_is_named_without_an_environment(places, monkeypatch):
    monkeypatch.setitem(DIMENSIONS, "ant", (27, 8))
    found = resolve(None, write(places / "ant-dir_1.hdf5", "ant"))
    assert (found.transitions.observation_dim, found.transitions.action_dim) == (27, 8)
    assert environment_of(found) is None
    assert describe(environment_of(found), found).endswith("states of 27 and actions of 8 components")
    assert resolve(None, write(places / "data" / "antmaze-umaze-v2.hdf5", "ant")).name == "antmaze-umaze-v2"
    named = resolve(None, "hopper-medium-v2", write(places / "d" / "hopper_medium-v2.hdf5").parent)
    assert environment_of(named) == "hopper"
    refused("no data are named: pass an environment", None)
    refused("27 and 8 components, but hopper has 11 and 3", "hopper", places / "ant-dir_1.hdf5")
    write(places / "other" / "hopper_medium-v2.hdf5", "ant")
    refused("27 and 8 components, but hopper has 11 and 3", None, "hopper-medium-v2", places / "other")


def test_unknown_environments_and_names_are_refused(places):
    refused("no environment 'ant': pass one of halfcheetah, hopper, walker2d", "ant")
    refused("did you mean hopper-medium-v2", "hopper", "hopper-medum-v2")


def test_a_data_set_of_another_environment_is_refused(places):
    cheetah = write(places / "halfcheetah_expert-v2.hdf5", "halfcheetah")
    refused("17 and 6 components.*, but hopper has 11 and 3: pass a data set of hopper", "hopper", cheetah)
    # walker2d and halfcheetah have the same dimensions, so the name has to tell them apart
    refused("components of halfcheetah, but walker2d", "walker2d", "halfcheetah-expert-v2", places)
    assert resolve("halfcheetah", "halfcheetah-expert-v2", places).name == "halfcheetah-expert-v2"


def test_the_description_names_label_rows_and_hash_and_the_way_to_the_full_set(places, monkeypatch):
    windows = resolve("walker2d", write(places / "w" / "walker2d-random-v0_2x3.hdf5", "walker2d"))
    digest = windows.sha256[:12]
    assert describe("walker2d", windows) == (
        f"unverified file walker2d-random-v0_2x3.hdf5: walker2d-random-v0_2x3, 4 transitions, SHA-256 {digest}…; "
        "states of 17 and actions of 6 components; the full D4RL set: --dataset walker2d-medium-v2 (downloads once)"
    )
    path = write(places / "d4rl-v0-windows" / "walker2d-random-v0_2x3.hdf5", "walker2d")
    inside = load(vouch(monkeypatch, "walker2d-random-v0", "D4RL v0 windows", path))
    assert describe("walker2d", inside).endswith("--dataset walker2d-random-v2 (downloads once)")
    path = write(places / "cache" / "hopper_medium-v2.hdf5")
    pin(monkeypatch, "hopper-medium-v2", path)
    found = resolve("hopper")
    assert describe("hopper", found) == (
        f"D4RL hopper-medium-v2: hopper-medium-v2, 4 transitions, SHA-256 {found.sha256[:12]}…; "
        "states of 11 and actions of 3 components"
    )


def test_nothing_is_printed(places, capfd):
    resolve("hopper", write(places / "my.hdf5"))
    assert capfd.readouterr() == ("", "")


def test_a_data_set_is_frozen(places):
    found = load(write(places / "my.hdf5"))
    with pytest.raises(AttributeError):
        found.label = "D4RL hopper-medium-v2"


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SEEM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "seem-verify"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir() == Path("/x/seem-verify")
    monkeypatch.setenv("SEEM_CACHE", "~/own")
    assert cache_dir() == tmp_path / "own"
