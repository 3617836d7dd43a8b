"""The growth study on fresh seeds, by thresholds that were set before its runs; without controls."""

from dataclasses import replace

from studies.growth.runs import GrowthOptions
from studies.growth.study import STUDY as GROWTH
from studies.growth.verdicts import judge_by

STUDY = replace(
    GROWTH,
    name="growth-confirmation",
    options=GrowthOptions(env="hopper", controls=False),
    judge=judge_by("growth-confirmation"),
    folder=lambda options: f"growth-confirmation-{options.env}",
)
