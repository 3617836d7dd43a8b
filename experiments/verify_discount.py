"""Does the discount at which critics begin to diverge lie where SEEM leaves zero?

python experiments/verify_discount.py --data hopper
"""

from studies.shared.study import main
from studies.training.discount import STUDY

if __name__ == "__main__":
    main(STUDY)
