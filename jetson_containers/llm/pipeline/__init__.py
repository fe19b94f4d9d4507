"""Steps from a checkpoint to what a runtime loads.

`types` are the steps, `steps` plans and runs them, and `manifest` records what was made of what, so that a finished
step is not repeated.
"""
