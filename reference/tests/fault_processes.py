"""Processes for the fault injection: new ones, or forks of this one, which has loaded what takes seconds to load."""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.tests.inject.sitecustomize import install

ROOT = Path(__file__).parents[2]
INJECT = Path(__file__).parent / "inject"
SECONDS = 600.0
"""A process that runs longer counts as hanging."""
HANGS = 124
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Done:
    """How a process ended: its status (minus the signal's number), and what it said."""

    status: int
    output: str
    errors: str


def run(words: Sequence[str], injected: dict[str, Any], env: dict[str, str], *, elsewhere: bool, fork: bool) -> Done:
    """Run Python with a fault in it.

    Args:
        words: What follows ``python``: options, then ``-m MODULE`` or a script, then its arguments.
        injected: Arguments of `reference.tests.inject.sitecustomize.install`.
        env: Further environment variables.
        elsewhere: Whether the working directory is another one than the repository.
        fork: Whether a fork of this process will do, which is faster by the seconds of the imports.

    Returns:
        How it ended.
    """
    env = {**env, "SEEM_FAULT": json.dumps(injected), "PYTHONPATH": f"{INJECT}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    folder = tempfile.gettempdir() if elsewhere else str(ROOT)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        if fork and not words[0].startswith("-O"):
            process = os.fork()
            if process == 0:
                _become(words, injected, env, folder, (output.fileno(), errors.fileno()))
            status = _wait(process)
        else:
            command = [sys.executable, *words]
            options: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": output,
                "stderr": errors,
                "timeout": SECONDS,
            }
            try:
                done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=False, **options)  # noqa: S603
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = HANGS
        said = []
        for stream in (output, errors):
            stream.seek(0)
            said.append(stream.read().decode(errors="replace"))
    return Done(status, *said)


def _wait(process: int) -> int:
    deadline = time.monotonic() + SECONDS
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return HANGS
        time.sleep(POLL_SECONDS)


def _become(
    words: Sequence[str], injected: dict[str, Any], env: dict[str, str], folder: str, streams: tuple[int, int]
) -> None:
    """What a fork does; it never returns."""
    status = 1
    try:
        for name in ("SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, source in ((1, streams[0]), (2, streams[1])):
            os.dup2(source, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        os.environ.update(env)
        os.chdir(folder)
        warnings.filterwarnings("ignore", message=".*found in sys.modules.*")
        install(**injected)
        script, *arguments = words[1:] if words[0] == "-m" else words
        sys.argv = [script, *arguments]
        if words[0] == "-m":
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str((ROOT / script).parent))
            runpy.run_path(str(ROOT / script), run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
