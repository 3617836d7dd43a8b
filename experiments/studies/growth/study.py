"""Forecast the step at which a critic blows up, go on training, and compare; then judge the growth laws."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from studies.growth.runs import KINDS, GrowthOptions, kept_again, plan
from studies.growth.tables import tables
from studies.growth.verdicts import judge, of_kind
from studies.shared.runs import KeptRun
from studies.shared.study import Study

from seem.plots import plot_forecasts, plot_power_lines, plot_seem_and_q
from seem.records import read_run


def figures(runs: Sequence[KeptRun], records: Path) -> dict[str, Figure]:
    """Forecasts against the crash, what the law makes a straight line, and SEEM beside |Q|.

    Args:
        runs: Kept runs.
        records: The folder of all runs.
    """
    plain, layer_norm = (
        [read_run(records / run["folder"]) for run in of_kind(runs, kind)] for kind in ("plain", "layer-norm")
    )
    return {
        "forecast.png": plot_forecasts(plain),
        "power_lines.png": plot_power_lines(plain),
        "seem_and_q.png": plot_seem_and_q(plain, layer_norm),
    }


STUDY = Study(
    name="growth",
    options=GrowthOptions(),
    arms=KINDS,
    plan=plan,
    judge=judge,
    tables=tables,
    figures=figures,
    folder=lambda options: f"growth-{options.env or Path(str(options.dataset)).stem}",
    again=kept_again,
)
