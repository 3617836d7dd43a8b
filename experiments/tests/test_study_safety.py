"""Studies under hostile circumstances: names that mean something to a library, options, and two processes at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from studies.shared.record import read_results
from studies.shared.registry import MODULES, find_study
from studies.shared.study import parse, run_study

from seem.errors import InputError
from seem.locks import lock_folder
from seem.plots import new_figure, save_figure

EXPERIMENTS = Path(__file__).parents[1]
SCRIPT = EXPERIMENTS / "verify_baird.py"
HOSTILE = ("[/x]out", "[red]a[/red]", "$\\bad$", "nan", "inf", "a b", "ü – λ", "-dash", "{0}%s", ":smile:")
SMALL = ("--quick", "--steps", "0.1", "--discounts", "0.5", "0.9")


def verify(*arguments, script=SCRIPT, **settings):
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_may_have_any_name(name, tmp_path, capsys):
    study = find_study("baird")
    assert run_study(study, parse(study, [*SMALL, "--out", str(tmp_path / name)])) == 0
    assert f"records and figures: {tmp_path / name}" in capsys.readouterr().out
    assert len(read_results(tmp_path / name)[1]) == 5


@pytest.mark.parametrize("name", HOSTILE)
def test_a_figure_may_show_any_name(name, tmp_path):
    figure: Figure = new_figure(3, 2)
    axis = figure.subplots()
    axis.loglog([1, 10, 100], [1, 10, 100], label=name)
    axis.set(title=name, xlabel=name)
    axis.legend()
    figure.suptitle(name)
    save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_ticks_are_written_as_powers_and_names_as_they_are(tmp_path):
    figure: Figure = new_figure(6, 3)
    for axis in figure.subplots(1, 2, sharey=True):
        axis.loglog([1e-4, 1, 1e6], [1e-4, 1, 1e6], label="$a^b$")
        axis.set(title="$a^b$")
    save_figure(figure, tmp_path / "figure.png")
    figure.canvas.draw()
    for axis in figure.axes:
        written = [*axis.get_xticklabels(), *axis.get_yticklabels()]
        assert sum("10^{" in label.get_text() for label in written) > 4
        assert all(label.get_parse_math() for label in written)
        assert not axis.title.get_parse_math()


BAD = {
    "a seed twice": ("--seeds", "0", "0"),
    "a large seed": ("--seeds", str(2**63)),
    "a negative seed": ("--seeds", "-1"),
    "no workers": ("--workers", "0"),
}
OWN = {
    "growth": (
        ("--env", "hopper", "--adam-steps", "0"),
        ("--env", "hopper", "--depths", "2", "2"),
        ("--env", "hopper", "--depths", "99"),
        ("--env", "hopper", "--width", "0"),
        ("--env", "hopper", "--width", "99999999"),
        ("--env", "hopper", "--lr", "nan"),
        ("--env", "hopper", "--lr", "inf"),
        ("--env", "hopper", "--adam-lr", "-1"),
        ("--env", "hopper", "--discount", "nan"),
        ("--env", "hopper", "--device", "meta"),
        ("--env", "hopper", "--device", "cuda:99"),
        ("--env", "hopper", "--batch", "0"),
        ("--env", "hopper", "--budget", "-5"),
        ("--env", "hopper", "--dataset", "~nosuchuser/x.hdf5"),
    ),
    "surge": (
        ("--data", "hopper", "hopper"),
        ("--steps", "0"),
        ("--rows", "10000000"),
        ("--device", "meta"),
        ("--steps", str(10**12)),
    ),
    "laws": (("--depths", "2", "2"), ("--laws", "sgd", "sgd"), ("--width", "3"), ("--laws", "nan")),
    "baird": (("--steps", "0.1", "0.1"), ("--steps", "nan"), ("--discounts", "-0.1"), ("--discounts", "inf")),
    "toy-maze": (("--budget", "9"), ("--discounts", "0.9", "0.9"), ("--seeds", str(2**32)), ("--discounts", "1")),
    "ntk-map": (
        ("--points", "1"),
        ("--width", "8"),
        ("--references", "nan", "1"),
        ("--references", "1", "1", "1", "1"),
    ),
    "small-data": (("--episodes", "0"), ("--width", "0"), ("--episodes", str(10**9))),
}
CASES = [(name, options) for name in MODULES for options in (*BAD.values(), *OWN.get(name, ()))]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}: {' '.join(o)}" for n, o in CASES])
def test_an_impossible_option_is_one_sentence_that_names_it_and_nothing_is_written(
    name, options, tmp_path, monkeypatch
):
    monkeypatch.delenv("SEEM_D4RL_DIR", raising=False)
    study = find_study(name)
    needed = ["--env", "hopper"] if name == "growth" and "--env" not in options else []
    with pytest.raises(InputError) as caught:
        run_study(study, parse(study, ["--out", str(tmp_path / "out"), *needed, *options]))
    assert "\n" not in str(caught.value)
    named = [option for option in options if option.startswith("--") and option != "--env"]
    if named[0] != "--dataset":
        assert re.search(rf"{named[0]}\b|seeds?", str(caught.value)), caught.value
    assert not (tmp_path / "out").exists()


def test_a_second_process_on_a_folder_is_refused_in_one_sentence(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with lock_folder(out):
        second = verify(*SMALL, "--out", out)
        assert second.returncode == 2
        assert second.stderr.startswith(f"error: the folder {out} is in use by")
        assert len(second.stderr.splitlines()) == 1
        assert {path.name for path in out.iterdir()} == {".lock"}
    assert verify(*SMALL, "--out", out).returncode == 0


def test_processes_at_once_on_one_folder_leave_one_record(tmp_path):
    command = [sys.executable, str(SCRIPT), *SMALL, "--out", str(tmp_path / "out")]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    statuses = sorted(process.wait() for process in both)
    assert statuses[0] == 0
    assert set(statuses) <= {0, 2}
    assert verify(*SMALL, "--out", tmp_path / "alone").returncode == 0
    assert read_results(tmp_path / "out") == read_results(tmp_path / "alone")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"env": {"PYTHONIOENCODING": "ascii"}}, 0),
        ({"env": {"PYTHONOPTIMIZE": "1"}}, 0),
        ({"cwd": "/"}, 0),
        ({"env": {"HOME": "/nonexistent"}}, 0),
    ],
)
def test_odd_surroundings(settings, status, tmp_path):
    settings = {**settings, "env": {"PATH": "/usr/bin:/bin", **settings.get("env", {})}}
    done = verify(*SMALL, "--out", tmp_path / "out", **settings)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
