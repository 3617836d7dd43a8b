"""Under the optimiser that really trains: how fast does the TD error grow, and when does a critic leave its bound?

python experiments/verify_optimiser.py --data hopper
"""

from studies.optimiser.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
