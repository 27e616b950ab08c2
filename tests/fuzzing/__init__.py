"""Hostile models for the loader and every verb: `python -m tests.fuzzing --minutes 60 --seed 0`."""
