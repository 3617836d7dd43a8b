"""Does SEEM rise before Q does, and does it tell better than simpler signals which critic is about to diverge?

python experiments/verify_surge.py --data hopper walker2d halfcheetah
"""

from studies.shared.study import main
from studies.training.surge import STUDY

if __name__ == "__main__":
    main(STUDY)
