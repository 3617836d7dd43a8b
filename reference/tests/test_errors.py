"""How a command ends: its exit status, and its output wherever that goes; each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seem.errors import BAD_INPUT, INTERNAL_ERROR, INTERRUPTED, TRACEBACK

HEAD = "import argparse, os, sys\nfrom seem.errors import InputError, run_command\n"
MANY = 20_000
"""Lines that no pipe holds unread."""
FULL = Path("/dev/full")


def command(body: str) -> list[str]:
    """A process whose ``main`` has this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return [sys.executable, "-c", f"{HEAD}def main():\n{lines}run_command(main)"]


def environment(**variables: str) -> dict[str, str]:
    unwanted = (TRACEBACK, "PYTHONIOENCODING", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | variables


def run(body: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(body), env=environment(**variables), capture_output=True, text=True, encoding="utf-8", check=False
    )


def in_shell(body: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a body under a redirection of the shell, ``"$@" redirection``."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command(body)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 1, BAD_INPUT, 3])
def test_what_main_returns_is_the_status(status):
    done = run(f"print('told')\nreturn {status}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "told\n", "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit()", 0),
        ("sys.exit(1)", 1),
        ("sys.exit(5)", 5),
        ("sys.exit('why')", BAD_INPUT),
        ("argparse.ArgumentParser().parse_args(['--help'])", 0),
        ("argparse.ArgumentParser().parse_args(['--absent'])", BAD_INPUT),
    ],
)
def test_a_parser_may_end_the_command(body, status):
    done = run(body)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_parser_of_options_ends_with_bad_input():
    tyro_main = "import dataclasses, tyro\n@dataclasses.dataclass\nclass Options:\n    n: int = 0\n"
    done = run(f"{tyro_main}tyro.cli(Options, args=['--n', 'many'])\nreturn 0")
    assert done.returncode == BAD_INPUT
    assert "Traceback" not in done.stderr
    assert run(f"{tyro_main}tyro.cli(Options, args=['--help'])\nreturn 1").returncode == 0


def test_bad_input_is_one_line():
    done = run("print('before')\nraise InputError('a file\\nof  two\\n\\tlines: pass another')")
    assert (done.returncode, done.stdout) == (BAD_INPUT, "before\n")
    assert done.stderr == "error: a file of two lines: pass another\n"


@pytest.mark.parametrize("variable", [{}, {TRACEBACK: ""}, {TRACEBACK: "1"}])
def test_an_internal_error_shows_its_traceback_on_request(variable):
    done = run("raise ValueError('two\\nlines')", **variable)
    assert done.returncode == INTERNAL_ERROR
    *before, last = done.stderr.splitlines()
    assert last.startswith("internal error: ValueError: two lines; ")
    assert f"{TRACEBACK}=1" in last
    assert any(line.startswith("Traceback") for line in before) == bool(variable.get(TRACEBACK))
    assert bool(before) == bool(variable.get(TRACEBACK))


@pytest.mark.parametrize("variable", [{}, {TRACEBACK: "1"}])
def test_an_interruption_says_what_resumes(variable):
    done = run("print('begun')\nraise KeyboardInterrupt", **variable)
    assert (done.returncode, done.stdout) == (INTERRUPTED, "begun\n")
    assert done.stderr.splitlines() == ["interrupted: the same command resumes from the last checkpoint"]


@pytest.mark.parametrize("status", [0, 1])
def test_a_reader_that_leaves_changes_nothing(status, tmp_path):
    end = tmp_path / "end"
    body = f"for n in range({MANY}):\n    print('line', n)\nopen({str(end)!r}, 'w').close()\nreturn {status}"
    with subprocess.Popen(
        command(body), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (status, "")
    assert end.exists(), "the command did not go on to its end"


def test_a_reader_that_leaves_the_complaints_changes_no_status():
    with subprocess.Popen(command("raise InputError('x' * 100_000)"), env=environment(), stderr=subprocess.PIPE) as ran:
        assert ran.stderr is not None
        ran.stderr.close()
    assert ran.returncode == BAD_INPUT


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("lines", [1, MANY])
@pytest.mark.parametrize("status", [0, 1])
def test_output_that_cannot_be_written_is_bad_input(lines, status, tmp_path):
    end = tmp_path / "end"
    body = f"for n in range({lines}):\n    print('line', n)\nopen({str(end)!r}, 'w').close()\nreturn {status}"
    done = in_shell(body, f"> {FULL}")
    assert done.returncode == BAD_INPUT
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: standard output cannot be written (No space left on device)")
    assert end.exists(), "the command did not go on to its end"


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_complaints_that_cannot_be_written_keep_the_status():
    assert in_shell("raise InputError('wrong')", f"2> {FULL}").returncode == BAD_INPUT
    assert in_shell("print('told', file=sys.stderr)\nreturn 0", f"2> {FULL}").returncode == 0
    assert in_shell("print('told', end='', file=sys.stderr)\nreturn 0", f"2> {FULL}").returncode == 0


ASKING = "sys.stdout.isatty(), sys.stdout.encoding, sys.stderr.isatty(), sys.stdout.writable()\n"
"""What libraries ask a stream before they write."""


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return 0", 0),
        ("return 1", 1),
        ("raise InputError('wrong')", BAD_INPUT),
        ("raise ValueError('wrong')", INTERNAL_ERROR),
        ("raise KeyboardInterrupt", INTERRUPTED),
    ],
)
def test_closed_streams_keep_the_status(body, status, redirection):
    telling = "print('told')\nprint('told', file=sys.stderr, flush=True)\n"
    done = in_shell(ASKING + telling + body, redirection)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert (done.stdout == "") == (">&-" in redirection.split())


@pytest.mark.parametrize("redirection", [">&-", "<&- >&-"])
def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path, redirection):
    out = tmp_path / "out"
    file = f"with open({str(out)!r}, 'w') as file:\n    file.write('kept')\n    file.flush()\n    "
    done = in_shell(f"{file}os.write(1, b'astray')\nreturn 0", redirection)
    assert done.returncode == 0
    assert out.read_text() == "kept"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict"])
def test_what_an_encoding_lacks_is_an_escape(encoding):
    done = run("print('γ ≤ 1')\nraise InputError('η is impossible')", PYTHONIOENCODING=encoding)
    assert done.returncode == BAD_INPUT
    assert done.stdout == "\\u03b3 \\u2264 1\n"
    assert done.stderr == "error: \\u03b7 is impossible\n"


def test_streams_are_given_back():
    body = "before = sys.stdout\ndef inner():\n    assert sys.stdout is not before\n    return 0\n"
    body += "try:\n    run_command(inner)\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
    body += "assert sys.stdout is before\nreturn 0"
    assert run(body).returncode == 0
