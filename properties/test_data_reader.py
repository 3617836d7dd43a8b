"""The D4RL reader: what it returns is what was written, by D4RL's rules for ends of episodes.

Hypotheses: rows in the order of their episodes, and every end of an episode marked, save the last one's.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from properties.strategies.files import Arrays, D4RLFile, files
from seem.datasets import load, read_d4rl
from seem.errors import InputError
from seem.transitions import Transitions

LIMITS = st.integers(2, 8)
FIELDS = ("observations", "actions", "rewards", "next_observations", "terminals")


@contextmanager
def written(file: D4RLFile, arrays: Arrays | None = None) -> Iterator[Path]:
    """The file in a new folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield file.write(Path(folder) / "drawn.hdf5", arrays)


def transitions_of(file: D4RLFile, rows: list[int]) -> Transitions:
    """The transitions that start in these rows, each with the next row's state."""
    arrays = file.arrays()
    states, rewards, terminals = arrays["observations"], arrays["rewards"].reshape(-1), arrays["terminals"].reshape(-1)
    after = [row + 1 for row in rows]
    columns = (states[rows], arrays["actions"][rows], rewards[rows], states[after], terminals[rows])
    return Transitions(*(torch.from_numpy(column.astype(np.float32)) for column in columns))


def assert_equal(found: Transitions, expected: Transitions) -> None:
    """Bitwise, field by field."""
    for field in FIELDS:
        assert torch.equal(getattr(found, field), getattr(expected, field)), field
        assert getattr(found, field).dtype == torch.float32


def rows_by_episode(file: D4RLFile) -> list[int]:
    """Rows that start a transition: all inside episodes, and last ones at a terminal that another row follows."""
    rows, first = [], 0
    for length, end in file.episodes:
        last = first + length - 1
        rows += range(first, last)
        rows += [last] if end == "terminal" and last < file.rows - 1 else []
        first += length
    return rows


def rows_by_counter(file: D4RLFile, max_episode_steps: int) -> list[int]:
    """The loop of D4RL 1.1's ``qlearning_dataset`` on a file without time-outs, ``terminate_on_end=False``."""
    rows, episode_step = [], 0
    for row, terminal in enumerate(file.arrays()["terminals"].reshape(-1)[:-1]):
        if episode_step == max_episode_steps - 1:
            episode_step = 0
            continue
        if terminal:
            episode_step = 0
        rows.append(row)
        episode_step += 1
    return rows


@given(file=files(timeouts=True), spare=st.integers(-1, 3))
def test_a_file_comes_back_as_the_steps_of_its_episodes(file, spare):
    limit = max(2, file.longest + spare)  # AntMaze stores one row more than the limit
    with written(file) as path:
        before = path.read_bytes()
        found = read_d4rl(path, max_episode_steps=limit)
        assert path.read_bytes() == before
    assert_equal(found, transitions_of(file, rows_by_episode(file)))
    event(f"terminals: {int(found.terminals.sum())}")


def test_an_end_that_is_not_marked_joins_two_episodes():
    """The hypothesis of marked ends, dropped: a transition that never happened, as D4RL itself would give it."""
    file = D4RLFile(episodes=((2, "open"), (2, "open")))
    with written(file) as path:
        found = read_d4rl(path)
    assert_equal(found, transitions_of(file, [0, 1, 2]))
    assert rows_by_episode(file) == [0, 2]


@given(file=files(timeouts=False), limit=LIMITS)
def test_without_timeouts_they_are_counted_as_d4rl_counts_them(file, limit):
    rows = rows_by_counter(file, limit)
    with written(file) as path:
        found = read_d4rl(path, max_episode_steps=limit)
    assert_equal(found, transitions_of(file, rows))
    event("some time-out was counted" if len(rows) < file.rows - 1 else "no time-out was counted")


def refuses(path: Path, **options) -> bool:
    """Whether the reader refuses a file."""
    try:
        read_d4rl(path, **options)
    except InputError:
        return True
    return False


@given(file=files(timeouts=True, successors=False), limit=LIMITS)
def test_an_episode_beyond_the_limit_is_refused_save_for_one_joint_of_two(file, limit):
    """Hypothesis: a recording holds whole episodes of at most the limit, and one row more as AntMaze stores them."""
    lengths = [length for length, _ in file.episodes]
    too_long = [length for length in lengths if length > limit + 1]
    joint = len(too_long) == 1 < len(lengths) and max(lengths) <= 2 * (limit + 1)
    with written(file) as path:
        assert refuses(path, max_episode_steps=limit) == (bool(too_long) and not joint), f"{lengths}, limit {limit}"
        assert not refuses(path, max_episode_steps=limit, check_continuity=False)


@given(file=files(first=3, successors=True, number="f8"), data=st.data())
def test_rows_out_of_order_are_refused_where_successors_are_stored(file, data):
    """Two rows change places; not the last one, which has no successor to compare."""
    ends = np.cumsum([length for length, _ in file.episodes]) - 1
    row = data.draw(st.sampled_from(sorted(set(range(file.rows - 1)) - set(ends.tolist()))), label="row in an episode")
    other = data.draw(st.sampled_from(sorted(set(range(file.rows - 1)) - {row})), label="other row")
    order = np.arange(file.rows)
    order[[row, other]] = other, row
    shuffled = {key: values[order] for key, values in file.arrays().items()}
    with written(file, shuffled) as path:
        assert refuses(path)
        assert not refuses(path, check_continuity=False)


@given(file=files())
def test_a_loaded_data_set_carries_the_hash_of_its_bytes(file):
    with written(file) as path:
        found = load(path)
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.name, found.label) == ("drawn", "unverified file drawn.hdf5")
