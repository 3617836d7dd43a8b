"""Writes: files that are whole or not there, and on the disk when the write returns."""

import os
from pathlib import Path

import pytest

from seem.errors import InputError
from seem.records import TAIL_BYTES, append_line, make_folder, read_lines, remove_partial, write_atomically


class Faults:
    """Makes the k-th of the OS calls behind a write fail, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        self.failing, self.calls = failing, 0
        for owner, name in ((os, "fsync"), (os, "fdopen"), (Path, "replace"), (Path, "chmod")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))
        opened = os.fdopen

        def open_faulty(*arguments):
            file = opened(*arguments)
            return FaultyFile(file, self)

        monkeypatch.setattr(os, "fdopen", open_faulty)

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.failing:
            raise OSError(28, "No space left on device")

    def wrap(self, function):
        def counted(*arguments, **options):
            self.count()
            return function(*arguments, **options)

        return counted


class FaultyFile:
    """A file whose writes may fail after half of the content, and whose flush may fail."""

    def __init__(self, file, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(content[: len(content) // 2])
        self.faults.count()
        self.file.write(content[len(content) // 2 :])

    def flush(self) -> None:
        self.faults.count()
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()


def test_a_write_that_fails_at_any_call_leaves_the_old_file(tmp_path):
    path, old, new = tmp_path / "file", b"old" * 100, b"new content" * 100
    calls = 6  # fdopen, write, flush, fsync, chmod, replace
    for failing in range(1, calls + 2):
        path.write_bytes(old)
        with pytest.MonkeyPatch.context() as monkeypatch:
            faults = Faults(monkeypatch, failing)
            if failing <= calls:
                with pytest.raises(InputError, match="No space left on device"):
                    write_atomically(path, new)
            else:
                write_atomically(path, new)
        assert faults.calls == min(failing, calls)
        assert path.read_bytes() == (old if failing <= calls else new)
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"], "no temporary file is left over"


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", "old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_what_a_kill_left_in_a_folder_is_removed(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", "old")
    (tmp_path / ".hidden").write_text("not ours")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # a kill cleans nothing up
        patched.setattr(Path, "replace", lambda *_: None)
        write_atomically(tmp_path / "file", "new")
    assert len(list(tmp_path.iterdir())) == 3
    remove_partial(tmp_path)
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"file": "old", ".hidden": "not ours"}


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for owner, name in ((os, "fsync"), (Path, "replace")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, original=original, name=name: (order.append(name), original(*a)))
    write_atomically(tmp_path / "file", "π")
    assert order == ["fsync", "replace"]
    assert (tmp_path / "file").read_bytes() == "π".encode()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="choose another output folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="choose another output folder"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="choose another output folder"):
        write_atomically(tmp_path / "missing" / "file", "text")
    with pytest.raises(InputError, match="choose another folder"):
        append_line(tmp_path / "missing" / "file", {})
    assert make_folder(tmp_path / "new" / "below").is_dir()
    assert make_folder(tmp_path / "new") == tmp_path / "new"


def test_an_append_is_on_the_disk_when_it_returns(tmp_path, monkeypatch):
    seen, original = [], os.fsync

    def note(descriptor):
        seen.append((tmp_path / "lines.jsonl").read_bytes())
        original(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    append_line(tmp_path / "lines.jsonl", {"a": 1})
    assert seen == [b'{"a":1}\n']


@pytest.mark.parametrize("later", [3, 2, -1, 2.5])
def test_steps_that_do_not_rise_are_refused(later, tmp_path):
    path = tmp_path / "lines.jsonl"
    for step in (0, 3):
        append_line(path, {"step": step, "text": "x" * 10})
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"already reaches step 3 and cannot go on with step {later}: "):
        append_line(path, {"step": later})
    assert path.read_bytes() == before
    append_line(path, {"step": 4})
    append_line(path, {"no": "step"})
    append_line(path, {"step": 4})
    assert len(read_lines(path)) == 5


@pytest.mark.parametrize("length", [1, TAIL_BYTES - 12, TAIL_BYTES, 5 * TAIL_BYTES])
def test_the_last_step_is_found_behind_a_line_of_any_length(length, tmp_path):
    path = tmp_path / "lines.jsonl"
    for step in (7, 8):
        append_line(path, {"step": step, "text": "x" * length})
    with pytest.raises(InputError, match="already reaches step 8"):
        append_line(path, {"step": 8})


@pytest.mark.parametrize("torn", [b'{"step":1', b'{"step":1}', b"\xff\n", b"{\n"])
def test_nothing_is_appended_to_a_damaged_line(torn, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"step":0}\n' + torn)
    with pytest.raises(InputError, match="delete its run folder and run again"):
        append_line(path, {"step": 5})
    assert path.read_bytes() == b'{"step":0}\n' + torn
