"""Do normalisations prevent divergence for 5,000 steps, where 1,000 left it open?

python experiments/verify_normalisation_long.py
"""

from studies.shared.study import main
from studies.training.normalisation_long import STUDY

if __name__ == "__main__":
    main(STUDY)
