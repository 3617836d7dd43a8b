"""The studies: one room per family, and what they share in `studies.shared`."""
