"""Faults: damaged, missing, foreign and half-written state; the next run finishes."""
