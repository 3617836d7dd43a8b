"""The studies in pieces, on the CPU: a piece that is too short is taken up again, and bad input is one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "run_gpu.sh"
WINDOWS = os.environ.get("SEEM_D4RL_DIR")
SMALL = ("--seeds", "0", "--width", "8", "--depths", "2", "--batch", "16", "--budget", "20", "--workers", "1")


def call(*arguments, **variables):
    """The script with this interpreter, on the CPU."""
    environment = os.environ | {"PYTHON": sys.executable, "SEEM_DEVICE": "cpu"} | variables
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )


def test_folders_are_asked_for(tmp_path):
    missing = call(tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    empty = call(tmp_path, tmp_path / "out")
    assert empty.returncode == 2
    assert "holds no D4RL v0 windows" in empty.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(WINDOWS is None, reason="SEEM_D4RL_DIR does not name a folder of D4RL v0 windows")
def test_pieces_add_up_to_finished_studies(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name in ("hopper-medium", "walker2d-random"):
        (source,) = Path(WINDOWS).glob(f"{name}-v0_*.hdf5")
        shutil.copy(source, data)
    assert call(data, out, *SMALL, SEEM_PIECE_SECONDS="1").returncode == 75
    finished = call(data, out, *SMALL, SEEM_PIECE_SECONDS="300")
    assert finished.returncode == 0, finished.stderr
    assert "all 2 studies are finished" in finished.stdout
    assert {path.parent.name for path in out.glob("*/results.json")} == {"hopper-medium-v0", "walker2d-random-v0"}
    assert call(data, out, *SMALL, SEEM_PIECE_SECONDS="300").stdout.count("\n") == 1, "finished studies are left alone"


@pytest.mark.skipif(WINDOWS is None, reason="SEEM_D4RL_DIR does not name a folder of D4RL v0 windows")
def test_bad_options_end_it_with_their_own_status(tmp_path):
    assert call(WINDOWS, tmp_path / "out", *SMALL, "--width", "0").returncode == 2
