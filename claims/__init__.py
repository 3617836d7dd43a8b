"""The claims ledger: every claim, the evidence that bears on it, and the verdict that follows."""
