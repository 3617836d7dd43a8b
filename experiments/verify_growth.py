"""Forecast the step at which a critic blows up, go on training, and compare; then judge the growth laws.

python experiments/verify_growth.py --env hopper
"""

from studies.growth.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
