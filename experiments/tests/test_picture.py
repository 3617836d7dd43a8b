"""The README's picture is that of the records, and its runs are those of the rule."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from studies.growth import picture
from studies.growth.verdicts import of_kind
from studies.shared.record import read_results

from seem.analysis import forecast_error

PIXELS = 0.0001
"""Share of pixels that another machine may draw otherwise; a point of a panel that moves changes more."""


@pytest.fixture(scope="module")
def drawn() -> Figure:
    return picture.picture()


def words(figure: Figure, panel: int) -> str:
    axis = figure.axes[panel]
    return " | ".join([axis.get_title(), *(text.get_text() for text in axis.texts)])


def test_a_median_run_came_true(drawn):
    errors = sorted(abs(error) for _, row in picture.window_runs() if (error := picture.error_of(row)) is not None)
    run = picture.came_true()
    error = forecast_error(run.forecasts, run.outcome["crash_step"], picture.FRACTION)
    assert abs(error["crash"]) == np.median(errors)
    assert f"crash at step {run.outcome['crash_step']}" in words(drawn, 0)
    assert "D4RL v0 windows" in words(drawn, 0)


def test_the_worst_run_that_does_not_crash_is_shown(drawn):
    shown = picture.never_came()
    rows = [row for _, row in picture.window_runs() if row["crash_step"] is None]
    shares = [
        np.mean([line["crash_step"] <= 400 for line in picture.read_run(folder).forecasts])
        for folder, row in picture.window_runs()
        if row in rows
    ]
    named = [line["crash_step"] <= 400 for line in shown.forecasts]
    assert shown.outcome["crash_step"] is None
    assert np.mean(named) == max(shares)
    assert f"{sum(named)} of {len(named)} forecasts named one" in words(drawn, 1)


def test_every_critic_of_the_declared_study_is_counted(drawn):
    results, runs = read_results(picture.DECLARED)
    assert results["declaration"]["written"] == "before the runs"
    rows = of_kind(runs, "plain")
    points = sum(len(line.get_xdata()) for line in drawn.axes[2].lines)
    assert points == sum(row["crash_step"] is not None for row in rows)
    assert f"All {len(rows)} critics" in words(drawn, 2)
    assert f"and {len(rows) - points} that were\nforecast to crash\nand did not" in words(drawn, 2)
    assert all(row["promised"] for row in rows if row["crash_step"] is None)
    (eighty,) = [item["evidence"] for item in results["verdicts"] if item["sentence"].endswith("at 80% of the run")]
    near, _, crashed, *_ = eighty.split()
    assert f"{near} of {points} within 10 %" in words(drawn, 2)
    assert int(crashed) == points
    assert "embedded (made by this project)" in words(drawn, 2)


def test_the_committed_picture_is_the_one_that_is_drawn_now(tmp_path):
    assert picture.write_picture(picture.PictureOptions(tmp_path / "new" / "picture.png")) == 0
    paths = (tmp_path / "new" / "picture.png", picture.PICTURE)
    fresh, kept = (np.asarray(Image.open(path).convert("L"), dtype=int) for path in paths)
    assert fresh.shape == kept.shape, "run python experiments/picture.py"
    assert np.mean(np.abs(fresh - kept) > 64) < PIXELS, "run python experiments/picture.py"
