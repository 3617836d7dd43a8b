"""SAC without target networks: does it diverge offline, and online, and does LayerNorm prevent it?

python experiments/verify_sac.py --data hopper
"""

from studies.shared.study import main
from studies.training.sac import STUDY

if __name__ == "__main__":
    main(STUDY)
