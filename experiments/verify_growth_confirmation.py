"""Forecast crashes and judge the growth laws on fresh seeds, by thresholds that were set before the runs.

python experiments/verify_growth_confirmation.py
"""

from studies.growth.confirmation import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
