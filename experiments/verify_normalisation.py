"""Which normalisations of the critic keep SEEM low and prevent divergence, and which part of LayerNorm does it?

python experiments/verify_normalisation.py --data hopper
"""

from studies.shared.study import main
from studies.training.normalisation import STUDY

if __name__ == "__main__":
    main(STUDY)
