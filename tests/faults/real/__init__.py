"""Faults of a real engine, registry, hub and farm; `python -m tests.faults` runs all of them and records the result."""
