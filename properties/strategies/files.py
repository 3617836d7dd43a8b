"""Strategies for D4RL's HDF5 files, whole and damaged; a file is a recipe, and its repr reproduces it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
End = Literal["terminal", "timeout", "both", "open"]

FLAGS = ("terminals", "timeouts")


@dataclass(frozen=True)
class D4RLFile:
    """A file in D4RL's layout: episodes one after the other, row i followed by row i+1 inside an episode.

    Attributes:
        episodes: Number of rows and kind of end of each; only the last one may be left "open".
        observation_dim: Number of state components.
        action_dim: Number of action components.
        seed: Of the generator of all numbers.
        number: numpy's dtype of states, actions and rewards.
        flag: numpy's dtype of terminals and time-outs.
        timeouts: Whether time-outs are stored; without, an episode that no terminal ends is not marked.
        successors: Whether next_observations is stored.
        column: Whether rewards and flags are stored as one column instead of one axis.
        compression: "gzip" or None.
        groups: Whether there are groups, which a reader must ignore.
    """

    episodes: tuple[tuple[int, End], ...]
    observation_dim: int = 1
    action_dim: int = 1
    seed: int = 0
    number: str = "f4"
    flag: str = "bool"
    timeouts: bool = True
    successors: bool = False
    column: bool = False
    compression: Literal["gzip"] | None = None
    groups: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(length for length, _ in self.episodes)

    @property
    def longest(self) -> int:
        """Rows of the longest episode."""
        return max(length for length, _ in self.episodes)

    def arrays(self) -> Arrays:
        """What the file holds, by key."""
        generator, rows = np.random.default_rng(self.seed), self.rows
        last = np.cumsum([length for length, _ in self.episodes]) - 1
        ends = {flag: np.zeros(rows, dtype=self.flag) for flag in FLAGS}
        for row, (_, end) in zip(last, self.episodes, strict=True):
            ends["terminals"][row] = end in ("terminal", "both")
            ends["timeouts"][row] = end in ("timeout", "both")
        states = generator.standard_normal((rows, self.observation_dim)).astype(self.number)
        made: Arrays = {
            "observations": states,
            "actions": np.tanh(generator.standard_normal((rows, self.action_dim))).astype(self.number),
            "rewards": generator.standard_normal(rows).astype(self.number),
            **ends,
        }
        if not self.timeouts:
            del made["timeouts"]
        if self.successors:
            made["next_observations"] = np.roll(states, -1, axis=0)
            made["next_observations"][last] += 1  # the true last states, which no other row holds
        return {key: array.reshape(-1, 1) if self.column and array.ndim == 1 else array for key, array in made.items()}

    def write(self, path: Path, arrays: Arrays | None = None) -> Path:
        """Write the file, with its own arrays or with others; returns the path."""
        with h5py.File(path, "w") as file:
            for key, values in (self.arrays() if arrays is None else arrays).items():
                options = {"compression": self.compression} if np.ndim(values) and np.size(values) else {}
                file.create_dataset(key, data=values, **options)
            if self.groups:
                file["infos/qpos"] = np.full(self.rows, np.nan)
                file["metadata/algorithm"] = "SAC"
        return path


@st.composite
def files(
    draw: st.DrawFn,
    *,
    first: int = 2,
    timeouts: bool | None = None,
    successors: bool | None = None,
    **fixed: Any,
) -> D4RLFile:
    """Valid files of up to four episodes.

    Args:
        draw: Given by Hypothesis.
        first: Smallest number of rows of the first episode; with two of them one transition is usable.
        timeouts: Whether time-outs are stored; None draws it.
        successors: Whether next_observations is stored; None draws it.
        fixed: Other attributes of `D4RLFile` that are not drawn.
    """
    marked = draw(st.booleans(), label="timeouts") if timeouts is None else timeouts
    ends = ("terminal", "timeout", "both") if marked else ("terminal",)
    lengths = [draw(st.integers(first, 6), label="rows of the first episode")]
    lengths += draw(st.lists(st.integers(1, 6), max_size=3), label="rows of the others")
    kinds = [draw(st.sampled_from(ends), label="end") for _ in lengths]
    if draw(st.booleans(), label="last episode left open"):
        kinds[-1] = "open"
    attributes = {
        "observation_dim": st.integers(1, 3),
        "action_dim": st.integers(1, 2),
        "seed": st.integers(0, 2**32 - 1),
        "number": st.sampled_from(("f4", "f8", "f2")),
        "flag": st.sampled_from(("bool", "u1", "i8", "f4")),
        "successors": st.booleans() if successors is None else st.just(successors),
        "column": st.booleans(),
        "compression": st.sampled_from((None, "gzip")),
        "groups": st.booleans(),
    } | {name: st.just(value) for name, value in fixed.items()}
    settings = draw(st.fixed_dictionaries(attributes), label="settings")
    return D4RLFile(tuple(zip(lengths, kinds, strict=True)), timeouts=marked, **settings)


def _with(arrays: Arrays, key: str, values: Any) -> Arrays:
    return {**arrays, key: values}


def _put(array: NDArray[Any], row: int, value: float) -> NDArray[Any]:
    changed = array.astype("f8")
    changed.reshape(len(array), -1)[row, -1] = value
    return changed


REQUIRED = ("observations", "actions", "rewards", "terminals")


def lose_keys(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Leave out keys that a file needs."""
    lost = data.draw(st.sets(st.sampled_from(REQUIRED), min_size=1), label="missing")
    return {key: values for key, values in arrays.items() if key not in lost}


def hide_in_a_group(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Make a key a group that holds the array."""
    key = data.draw(st.sampled_from(sorted(arrays)), label="key")
    return {name if name != key else f"{name}/values": values for name, values in arrays.items()}


def change_rows(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Repeat or cut the rows of one array."""
    key = data.draw(st.sampled_from(sorted(arrays)), label="key")
    rows = len(arrays[key])
    count = data.draw(st.integers(0, rows - 1) | st.integers(rows + 1, 2 * rows), label="rows")
    return _with(arrays, key, np.resize(arrays[key], (count, *arrays[key].shape[1:])))


def change_axes(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Give an array another number of axes or columns."""
    key = data.draw(st.sampled_from(sorted(arrays)), label="key")
    flat = key in (*FLAGS, "rewards")
    changes = {
        "one more": lambda v: v.reshape(*v.shape, 1, 1),
        "none": lambda v: v.reshape(-1)[0],
        "two columns" if flat else "one": lambda v: np.stack([v.reshape(-1)] * 2, 1) if flat else v[:, 0],
        "no column": lambda v: v.reshape(len(v), -1)[:, :0],
    }
    return _with(arrays, key, changes[data.draw(st.sampled_from(sorted(changes)), label="axes")](arrays[key]))


def change_dtype(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Give an array a dtype that holds no such numbers."""
    key = data.draw(st.sampled_from(sorted(arrays)), label="key")
    dtypes = ("S4", "c8", "V4") if key in FLAGS else ("S4", "c8", "V4", "bool")
    dtype = data.draw(st.sampled_from(dtypes), label="dtype")
    return _with(arrays, key, np.zeros(arrays[key].shape, dtype=dtype))


def spoil_number(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Put a number that float32 cannot hold into a row."""
    key = data.draw(st.sampled_from(sorted(set(arrays) - set(FLAGS))), label="key")
    row = data.draw(st.integers(0, len(arrays[key]) - 1), label="row")
    value = data.draw(st.sampled_from((np.nan, np.inf, -np.inf)) | st.floats(1e39, 1e300), label="value")
    return _with(arrays, key, _put(arrays[key], row, value))


def spoil_flag(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Put a number that is no flag into a row."""
    key = data.draw(st.sampled_from(sorted(set(arrays) & set(FLAGS))), label="key")
    row = data.draw(st.integers(0, len(arrays[key]) - 1), label="row")
    others = (st.floats(max_value=0, exclude_max=True), st.floats(0, 1, exclude_min=True, exclude_max=True))
    value = data.draw(st.one_of(*others, st.floats(min_value=1, exclude_min=True), st.just(np.nan)), label="value")
    return _with(arrays, key, _put(arrays[key], row, value))


def leave_the_box(data: st.DataObject, arrays: Arrays) -> Arrays:
    """Put an action outside [-1, 1] into a row."""
    row = data.draw(st.integers(0, len(arrays["actions"]) - 1), label="row")
    value = data.draw(st.sampled_from((1, -1)), label="side") * data.draw(st.floats(1.00001, 1e30), label="size")
    return _with(arrays, "actions", _put(arrays["actions"], row, value))


DAMAGES: dict[str, Callable[[st.DataObject, Arrays], Arrays]] = {
    "a key is missing": lose_keys,
    "a key is a group": hide_in_a_group,
    "an array has another number of rows": change_rows,
    "an array has another number of axes": change_axes,
    "an array has a dtype of something else": change_dtype,
    "a number is not finite in float32": spoil_number,
    "a flag is neither 0 nor 1": spoil_flag,
    "an action is outside the box": leave_the_box,
}
"""Kinds of damage: each takes Hypothesis's data and a valid file's arrays, and returns arrays that must be refused."""
