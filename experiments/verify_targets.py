"""Do slower targets delay a divergence, and leave its criterion where it is?

python experiments/verify_targets.py --data hopper
"""

from studies.shared.study import main
from studies.training.targets import STUDY

if __name__ == "__main__":
    main(STUDY)
