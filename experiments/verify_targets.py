"""What slower targets do: the extended laws say that they delay a divergence and do not move its criterion.

python experiments/verify_targets.py --data hopper
"""

from studies.shared.study import main
from studies.training.targets import STUDY

if __name__ == "__main__":
    main(STUDY)
