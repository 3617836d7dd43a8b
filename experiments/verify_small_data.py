"""Does LayerNorm help where transitions are few, and what does a policy constraint cost?

python experiments/verify_small_data.py
"""

from studies.shared.study import main
from studies.small_data.study import STUDY

if __name__ == "__main__":
    main(STUDY)
