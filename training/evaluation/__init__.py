"""How good checkpoints are on reviews they never saw, and which of two is better."""
