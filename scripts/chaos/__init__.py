"""Disturbs whatever a worker depends on, under load; knows nothing of how a worker is made."""
