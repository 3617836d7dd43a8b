"""The D4RL reader: equal to a slow transcription of ``qlearning_dataset``, and one sentence on every bad file."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from seem.datasets import read_d4rl
from seem.errors import InputError

ROWS = 60


def arrays(seed: int = 0, rows: int = ROWS) -> dict[str, np.ndarray]:
    """A well-formed file's content: episodes of 10 rows that end in turn in a time-out and in a terminal."""
    generator = np.random.default_rng(seed)
    last = np.arange(rows) % 10 == 9
    odd = np.arange(rows) // 10 % 2 == 1
    return {
        "observations": generator.standard_normal((rows, 3)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": generator.standard_normal(rows).astype(np.float32),
        "terminals": last & odd,
        "timeouts": last & ~odd,
    }


def write(path: Path, content: dict) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in content.items():
            file[key] = values
    return path


def oracle(content: dict[str, np.ndarray], max_episode_steps: int) -> dict[str, np.ndarray]:
    """D4RL 1.1's ``qlearning_dataset(terminate_on_end=False)``, one row at a time."""
    out = {key: [] for key in ("observations", "actions", "rewards", "next_observations", "terminals")}
    episode_step = 0
    for i in range(content["rewards"].shape[0] - 1):
        done = bool(content["terminals"][i])
        final = content["timeouts"][i] if "timeouts" in content else episode_step == max_episode_steps - 1
        if final:
            episode_step = 0
            continue
        if done:
            episode_step = 0
        for key in ("observations", "actions", "rewards"):
            out[key].append(content[key][i].astype(np.float32))
        out["next_observations"].append(content["observations"][i + 1].astype(np.float32))
        out["terminals"].append(done)
        episode_step += 1
    return {key: np.array(values, dtype=np.float32) for key, values in out.items()}


def random_flags(seed: int, rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {"terminals": generator.random(rows) < 0.15, "timeouts": generator.random(rows) < 0.15}


@pytest.mark.parametrize("with_timeouts", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_of_qlearning_dataset(tmp_path, seed, with_timeouts):
    content = arrays(seed) | random_flags(seed, ROWS)
    if not with_timeouts:
        del content["timeouts"]
    path = write(tmp_path / "file.hdf5", content)
    expected = oracle(content, 7)
    assert 0 < len(expected["rewards"]) < ROWS - 1
    assert expected["terminals"].any()
    found = read_d4rl(path, max_episode_steps=7, check_continuity=False)
    for key, values in expected.items():
        assert torch.equal(getattr(found, key), torch.from_numpy(values)), key
        assert getattr(found, key).dtype == torch.float32


def test_counted_timeouts_come_one_row_earlier_after_a_terminal(tmp_path):
    # D4RL's counter is at 1, not 0, on the row after a terminal; the rows kept are worked out by hand, limit 4.
    content = arrays(rows=12) | {"terminals": np.arange(12) == 1}
    del content["timeouts"]
    found = read_d4rl(write(tmp_path / "file.hdf5", content), max_episode_steps=4)
    kept = [0, 1, 2, 3, 5, 6, 7, 9, 10]
    assert torch.equal(found.rewards, torch.from_numpy(content["rewards"][kept]))


def test_a_terminal_row_is_kept_with_the_next_episodes_first_state(tmp_path):
    content = arrays()
    found = read_d4rl(write(tmp_path / "file.hdf5", content))
    row = int(torch.nonzero(found.terminals)[0])
    assert torch.equal(found.next_observations[row], torch.from_numpy(content["observations"][20]))
    assert found.terminals.sum() == 2  # of the three terminals the last is in the last row, which is dropped


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint8, bool])
def test_flags_and_columns_of_other_dtypes_are_read_alike(tmp_path, kind):
    content = arrays()
    expected = read_d4rl(write(tmp_path / "plain.hdf5", content))
    content = {key: values.astype(np.float64) for key, values in content.items()}
    for key in ("terminals", "timeouts"):
        content[key] = content[key].astype(kind).reshape(-1, 1)
    content["rewards"] = content["rewards"].reshape(-1, 1)
    found = read_d4rl(write(tmp_path / "other.hdf5", content))
    assert len(found) == len(expected) == 56
    for key in ("observations", "actions", "rewards", "next_observations", "terminals"):
        assert torch.equal(getattr(found, key), getattr(expected, key)), key


def test_groups_are_ignored_and_the_file_is_not_changed(tmp_path):
    content = arrays() | {"infos/qpos": np.full((ROWS, 6), np.nan), "metadata/algorithm": "SAC"}
    path = write(tmp_path / "file.hdf5", content)
    path.chmod(0o444)
    before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
    assert len(read_d4rl(path)) == 56
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]


def changed(key: str, change) -> dict:
    content = arrays()
    content[key] = change(content[key].copy())
    return content


def put(values: np.ndarray, row: int, value: float) -> np.ndarray:
    values[row] = value
    return values


def without(*keys: str) -> dict:
    return {key: values for key, values in arrays().items() if key not in keys}


BAD_CONTENT = {
    "no keys": ({}, "lacks observations, actions, rewards, terminals"),
    "two keys missing": (without("rewards", "actions"), "lacks actions, rewards:"),
    "only a prefix": ({f"data/{key}": values for key, values in arrays().items()}, "lacks observations"),
    "key is a group": (without("actions") | {"actions/x": np.zeros(3)}, "actions as a group"),
    "matrix of rank 1": (changed("observations", lambda v: v[:, 0]), "observations of shape (60,)"),
    "matrix of rank 3": (changed("actions", lambda v: v[..., None]), "actions of shape (60, 2, 1)"),
    "matrix without columns": (changed("actions", lambda v: v[:, :0]), "actions of shape (60, 0)"),
    "vector with two columns": (changed("rewards", lambda v: np.stack([v, v], 1)), "rewards of shape (60, 2)"),
    "scalar": (changed("rewards", lambda v: v[0]), "rewards of shape ()"),
    "empty dataspace": (changed("rewards", lambda v: h5py.Empty("f")), "rewards of shape ()"),
    "short rewards": (changed("rewards", lambda v: v[:-1]), "59 rows of rewards and 60"),
    "long timeouts": (changed("timeouts", lambda v: np.append(v, False)), "61 rows of timeouts and 60"),
    "successors too narrow": (arrays() | {"next_observations": np.zeros((ROWS, 2))}, "shape (60, 2) and observations"),
    "strings": (changed("rewards", lambda v: v.astype("S4")), "rewards of dtype |S4"),
    "objects": (changed("rewards", lambda v: [str(x) for x in v]), "rewards of dtype object"),
    "complex": (changed("observations", lambda v: v.astype(np.complex64)), "observations of dtype complex64"),
    "boolean observations": (changed("observations", lambda v: v > 0), "observations of dtype bool"),
    "string flags": (changed("terminals", lambda v: v.astype("S1")), "terminals of dtype |S1"),
    "flag 2": (changed("terminals", lambda v: put(v.astype(int), 17, 2)), "terminals, first in row 17"),
    "flag NaN": (changed("timeouts", lambda v: put(v.astype(float), 3, np.nan)), "timeouts, first in row 3"),
    "NaN reward": (changed("rewards", lambda v: put(v, 31, np.nan)), "rewards, first in row 31"),
    "infinite state": (changed("observations", lambda v: put(v, 59, -np.inf)), "observations, first in row 59"),
    "NaN action": (changed("actions", lambda v: put(v, 0, np.nan)), "actions, first in row 0"),
    "beyond float32": (changed("rewards", lambda v: put(v.astype(float), 5, 1e300)), "rewards, first in row 5"),
    "action outside": (changed("actions", lambda v: put(v, 8, -1.001)), "outside [-1, 1], first in row 8"),
    "no rows": ({key: values[:0] for key, values in arrays().items()}, "no usable transition"),
    "one row": ({key: values[:1] for key, values in arrays().items()}, "no usable transition"),
    "only time-outs": (changed("timeouts", np.ones_like), "no usable transition"),
}


def refused(path: Path, **options) -> str:
    """The message of the refusal: one sentence, naming the file and after a colon the remedy; nothing is written."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(InputError) as caught:
        read_d4rl(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    remedy = message.removeprefix(str(path)).rpartition(": ")[2]
    assert remedy.startswith(("pass ", "download ", "repair ", "scale ", "change ")), message
    assert "\n" not in message
    assert ". " not in message
    assert sorted(path.parent.iterdir()) == before
    return message


@pytest.mark.parametrize("case", BAD_CONTENT)
def test_bad_content_is_refused_in_one_sentence(tmp_path, case):
    content, expected = BAD_CONTENT[case]
    assert expected in refused(write(tmp_path / "file.hdf5", content))


def test_actions_may_leave_the_box_by_rounding(tmp_path):
    content = changed("actions", lambda v: put(v, 8, np.nextafter(np.float32(1), np.float32(2))))
    assert len(read_d4rl(write(tmp_path / "file.hdf5", content))) == 56


def test_truncated_files_are_refused(tmp_path):
    whole = write(tmp_path / "whole.hdf5", arrays()).read_bytes()
    path = tmp_path / "file.hdf5"
    for length in [0, 1, 7, 8, 100, *range(500, len(whole), 700), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "not a readable HDF5 file" in refused(path)


def test_damaged_files_are_read_or_refused_never_anything_else(tmp_path):
    content = arrays()
    path = tmp_path / "file.hdf5"
    with h5py.File(path, "w") as file:
        for key, values in content.items():
            file.create_dataset(key, data=values, compression="gzip")
    whole, generator, outcomes = path.read_bytes(), np.random.default_rng(1), set()
    for _ in range(150):
        damaged = bytearray(whole)
        at = int(generator.integers(len(whole) - 8))
        damaged[at : at + 8] = generator.bytes(8)
        path.write_bytes(damaged)
        try:
            read_d4rl(path)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_foreign_files_missing_files_and_folders_are_refused(tmp_path):
    (tmp_path / "notes.hdf5").write_text("not HDF5\n" * 500)
    assert "not a readable HDF5 file" in refused(tmp_path / "notes.hdf5")
    assert "does not exist" in refused(tmp_path / "absent.hdf5")
    (tmp_path / "folder.hdf5").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.hdf5")


def test_a_forbidden_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "file.hdf5", arrays())

    def forbid(*_):  # root may read everything, so the refusal of the system is stood in for
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", forbid)
    assert "may not be read" in refused(path)


def test_a_step_limit_below_two_is_refused(tmp_path):
    with pytest.raises(InputError, match="max_episode_steps is 1"):
        read_d4rl(write(tmp_path / "file.hdf5", arrays()), max_episode_steps=1)


def with_successors(rows: int = 1000) -> dict[str, np.ndarray]:
    content = arrays(rows=rows)
    successors = np.roll(content["observations"], -1, axis=0)
    ends = content["terminals"] | content["timeouts"]
    successors[ends] += 1  # the true last states, which are not the next episode's first
    return content | {"next_observations": successors}


def test_stored_successors_are_ignored_where_they_agree(tmp_path):
    content = with_successors()
    found = read_d4rl(write(tmp_path / "file.hdf5", content))
    assert torch.equal(found.next_observations, torch.from_numpy(oracle(content, 1000)["next_observations"]))


@pytest.mark.parametrize(("differing", "accepted"), [(9, True), (10, False)])  # 900 rows inside episodes, 1 % is 9
def test_a_share_of_unmarked_ends_is_accepted(tmp_path, differing, accepted):
    content = with_successors()
    content["next_observations"][np.arange(differing) * 10 + 4] += 1
    path = write(tmp_path / "file.hdf5", content)
    if accepted:
        assert len(read_d4rl(path)) > 900
    else:
        assert "10 rows inside episodes (the first is row 4)" in refused(path)
        assert len(read_d4rl(path, check_continuity=False)) > 900


def test_shuffled_rows_are_refused(tmp_path):
    order = np.random.default_rng(0).permutation(1000)
    content = {key: values[order] for key, values in with_successors().items()}
    assert "pass a file whose rows are in order" in refused(write(tmp_path / "file.hdf5", content))


@pytest.mark.parametrize(
    ("lengths", "refused_row"),
    [
        ((11, 11, 11, 5), None),  # AntMaze stores limit + 1 rows
        ((11, 22, 11), None),  # two recordings joined without a mark
        ((11, 23, 11), 11),
        ((5, 12, 5, 12), 5),
        ((12,), 0),
        ((11, 5, 23), 16),
    ],
)
def test_episodes_longer_than_the_limit_are_refused_save_for_one_joint(tmp_path, lengths, refused_row):
    content = arrays(rows=sum(lengths))
    content["terminals"] = np.zeros(sum(lengths), dtype=bool)
    content["timeouts"] = np.zeros(sum(lengths), dtype=bool)
    content["timeouts"][np.cumsum(lengths)[:-1] - 1] = True
    path = write(tmp_path / "file.hdf5", content)
    if refused_row is None:
        assert len(read_d4rl(path, max_episode_steps=10)) == sum(lengths) - len(lengths)
    else:
        assert f"from row {refused_row} without a terminal or time-out" in refused(path, max_episode_steps=10)
