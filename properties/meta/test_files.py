"""Drawn files are in D4RL's layout and valid, every kind of them is drawn, and every damage does change them."""

import io
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from properties.meta.search import SEARCH
from properties.strategies.files import DAMAGES, FLAGS, REQUIRED, D4RLFile, files


@given(file=files())
def test_the_recipe_says_what_is_written(file):
    arrays = file.arrays()
    with tempfile.TemporaryDirectory() as folder, h5py.File(file.write(Path(folder) / "f.hdf5")) as read:
        assert set(arrays) == {key for key in read if isinstance(read[key], h5py.Dataset)}
        for key, values in arrays.items():
            assert np.array_equal(read[key][()], values)
            assert read[key].dtype == values.dtype
            assert read[key].compression == file.compression
        assert ("infos" in read) == file.groups
    assert set(REQUIRED) <= set(arrays)
    assert {len(values) for values in arrays.values()} == {file.rows}
    assert all(np.isfinite(values).all() for values in arrays.values())
    assert np.abs(arrays["actions"]).max() <= 1


@given(file=files())
def test_every_episode_ends_as_its_recipe_says(file):
    arrays = file.arrays()
    rows = np.cumsum([length for length, _ in file.episodes]) - 1
    unmarked = np.zeros(file.rows, dtype=bool)
    flags = [arrays.get(key, unmarked).reshape(-1)[rows].astype(bool) for key in FLAGS]
    for terminal, timeout, (_, end) in zip(*flags, file.episodes, strict=True):
        assert (terminal, timeout) == (end in ("terminal", "both"), end in ("timeout", "both"))
    assert sum(int(arrays[key].sum()) for key in FLAGS if key in arrays) == sum(flag.sum() for flag in flags)


@given(file=files())
def test_a_recipe_survives_its_repr(file):
    again = eval(repr(file))  # noqa: S307 - the repr is what a failure prints
    assert again == file
    assert all(np.array_equal(values, file.arrays()[key]) for key, values in again.arrays().items())


@given(file=files(first=3, timeouts=True, successors=False, number="f8"))
def test_arguments_are_kept(file):
    assert file.episodes[0][0] >= 3
    assert (file.timeouts, file.successors, file.number) == (True, False, "f8")


@given(file=files(), data=st.data(), kind=st.sampled_from(sorted(DAMAGES)))
def test_every_damage_changes_the_file(file, data, kind):
    before = file.arrays()
    after = DAMAGES[kind](data, before)
    assert after.keys() != before.keys() or any(
        np.shape(after[key]) != before[key].shape
        or np.asarray(after[key]).dtype != before[key].dtype
        or not np.array_equal(after[key], before[key])
        for key in before
    )
    assert all(np.array_equal(values, file.arrays()[key]) for key, values in before.items()), "the original was changed"
    with h5py.File(io.BytesIO(), "w") as written:  # and what it makes can be written
        for key, values in after.items():
            written[key] = values


KINDS = {
    "time-outs and terminals": lambda file: {"timeout", "terminal"} <= {end for _, end in file.episodes},
    "both at once": lambda file: "both" in {end for _, end in file.episodes},
    "an open end": lambda file: file.episodes[-1][1] == "open",
    "no time-outs": lambda file: not file.timeouts,
    "four episodes": lambda file: len(file.episodes) == 4,
    "an episode of one row": lambda file: any(length == 1 for length, _ in file.episodes),
    "successors": lambda file: file.successors,
    "columns": lambda file: file.column,
    "compressed float16": lambda file: file.compression == "gzip" and file.number == "f2",
    "integer flags and groups": lambda file: file.flag == "i8" and file.groups,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_found(kind):
    assert KINDS[kind](find(files(), KINDS[kind], settings=SEARCH))


def test_shrinks_to_two_rows():
    assert find(files(), lambda _: True) == D4RLFile(episodes=((2, "terminal"),), timeouts=False)
