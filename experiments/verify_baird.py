"""Run Baird's star and compare with its exact solution: growth per step, the complex window, the thresholds.

python experiments/verify_baird.py --quick
"""

from studies.baird.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
