"""The parts of `builder`: what is to be done, in which order, and what is said about it."""
