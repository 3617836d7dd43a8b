"""`verify_growth.py` as a user runs it: bad input, a whole small study, a kill and its resumption."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from studies.growth.study import STUDY
from studies.shared.record import read_results
from studies.shared.study import parse, run_study

from reference.tests.small_runs import write_pairs
from seem.errors import InputError

SCRIPT = Path(__file__).parents[1] / "verify_growth.py"
SMALL = ("--quick", "--depths", "2", "--width", "16", "--batch", "32", "--budget", "40", "--adam-steps", "20")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A data set of hopper's shape in D4RL's layout whose states double, so that plain critics excite themselves."""
    generator = np.random.default_rng(0)
    states = np.abs(generator.normal(size=(200, 11)))
    states[1::2] = 2 * states[::2]
    actions = generator.uniform(-1, 1, (200, 3))
    return write_pairs(tmp_path_factory.mktemp("data") / "doubling.hdf5", states, actions)


def call(*options: str) -> int:
    """The command in this process, for what does not hang on a process of its own."""
    return run_study(STUDY, parse(STUDY, ["--workers", "1", *options]))


BAD = {
    "unknown environment": (("--env", "ant"), "hopper"),
    "unknown data set": (("--env", "hopper", "--dataset", "hopper-medum-v2"), "hopper-medium-v2"),
    "missing file": (("--env", "hopper", "--dataset", "missing.hdf5"), "missing.hdf5"),
    "missing folder": (("--env", "hopper", "--data-dir", "missing"), "missing"),
    "device": (("--env", "hopper", "--device", "abacus"), "--device cpu"),
    "dtype": (("--env", "hopper", "--dtype", "float16"), "float32"),
    "depth": (("--env", "hopper", "--depths", "0"), "from 1 to 64"),
    "discount": (("--env", "hopper", "--discount", "1.5"), "of at least 0 and up to 1"),
    "negative discount": (("--env", "hopper", "--control-discount", "-0.1"), "of at least 0 and up to 1"),
    "lr": (("--env", "hopper", "--lr", "0"), "above 0"),
    "budget": (("--env", "hopper", "--budget", "0"), "from 1 to"),
    "too many rows": (("--env", "hopper", "--batch", "1000000"), "does not fit"),
    "workers": (("--env", "hopper", "--workers", "0"), "1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, data, tmp_path):
    options, remedy = BAD[name]
    given = options if {"--dataset", "--data-dir"} & set(options) else (*options, "--dataset", str(data))
    rows = () if "--batch" in options else ("--batch", "32")
    out = tmp_path / "out"
    with pytest.raises(InputError, match=re.escape(remedy)) as caught:
        call(*given, *rows, "--out", str(out))
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_bad_input_exits_with_2_and_one_line(tmp_path):
    arguments = [sys.executable, str(SCRIPT), "--env", "ant", "--out", str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_unwritable_output_folder(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    options = ("--env", "hopper", "--dataset", str(data), "--out", str(tmp_path / "file" / "out"), *SMALL)
    with pytest.raises(InputError, match="choose another output folder"):
        call(*options)


def test_damaged_data_never_trains(data, tmp_path):
    truncated = tmp_path / "truncated.hdf5"
    truncated.write_bytes(data.read_bytes()[:-2000])
    options = ("--env", "hopper", "--dataset", str(truncated), "--out", str(tmp_path / "out"), *SMALL)
    with pytest.raises(InputError, match=r"truncated\.hdf5"):
        call(*options)
    assert not (tmp_path / "out").exists()


def test_small_study_writes_everything_and_is_not_repeated(data, tmp_path, capsys):
    options = ("--env", "hopper", "--dataset", str(data), "--out", str(tmp_path), "--lr", "0.05", *SMALL)
    status = call(*options)
    printed = capsys.readouterr().out.splitlines()
    assert "unverified file doubling.hdf5" in printed[0]
    verdicts = [line.split()[0] for line in printed if line.startswith(("VERIFIED ", "REFUTED ", "OPEN "))]
    results, runs = read_results(tmp_path)
    assert [judged["verdict"].upper() for judged in results["verdicts"]] == verdicts
    assert status == 0
    assert printed[-1] == "no record of this declaration, these options and these data"
    assert runs[0]["crash_step"] is not None, "the doubling data must make a plain critic crash"
    for name in ("forecast.png", "power_lines.png", "seem_and_q.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    outcomes = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/outcome.json")}
    assert len(outcomes) == 4
    assert call(*options) == status
    assert {path: path.stat().st_mtime_ns for path in outcomes} == outcomes
    assert read_results(tmp_path) == (results, runs)


def test_linear_critic_follows_the_exponential_law(data, tmp_path, capsys):
    linear = [option for option in SMALL if option not in ("--depths", "2", "--budget", "40")]
    options = ("--env", "hopper", "--dataset", str(data), "--out", str(tmp_path), "--lr", "0.02", *linear)
    call(*options, "--depths", "1", "--budget", "2000")
    assert "L=1: Q grows exponentially" in capsys.readouterr().out


def test_killed_study_resumes_to_the_same_records(data, tmp_path):
    def options(out: Path) -> tuple[str, ...]:
        return ("--env", "hopper", "--dataset", str(data), "--out", str(out), "--lr", "0.05", *SMALL)

    call(*options(tmp_path / "whole"))
    arguments = [sys.executable, str(SCRIPT), *options(tmp_path / "killed"), "--workers", "1"]
    killed = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("runs/*/outcome.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 0 < len(list((tmp_path / "killed").glob("runs/*/outcome.json"))) < 4, "killed too late to test anything"
    call(*options(tmp_path / "killed"))

    def records(out: Path) -> dict[str, bytes]:
        names = ("readings.jsonl", "forecasts.jsonl", "trace.safetensors")
        return {str(path.relative_to(out)): path.read_bytes() for name in names for path in out.glob(f"runs/*/{name}")}

    whole = records(tmp_path / "whole")
    assert len(whole) == 12
    assert records(tmp_path / "killed") == whole
