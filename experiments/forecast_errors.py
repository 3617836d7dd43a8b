"""Collect the forecast errors of several growth studies into one Markdown table and one figure of error curves.

    python experiments/forecast_errors.py --studies runs/windows/* --out runs/windows

Every study is an output folder of verify_growth.py; its records are checked against their hashes first.
"""

import tyro
from studies.growth.forecast_errors import ForecastErrorOptions, collect

from seem.errors import run_command

if __name__ == "__main__":
    run_command(lambda: collect(tyro.cli(ForecastErrorOptions)))
