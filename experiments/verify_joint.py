"""Do twins crash when their joint matrix says so, or when each one's own does?

python experiments/verify_joint.py --data hopper
"""

from studies.growth.joint import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
