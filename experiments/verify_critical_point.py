"""Is there a critical point: does the kernel keep its direction, and X* its place, once a critic diverges?

python experiments/verify_critical_point.py --data hopper
"""

from studies.shared.study import main
from studies.training.critical_point import STUDY

if __name__ == "__main__":
    main(STUDY)
