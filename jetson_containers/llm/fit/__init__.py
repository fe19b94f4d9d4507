"""Whether a model fits on a board, by its shape alone: memory, conversion peak, decode speed, and what would fit.

`predict` answers one combination of model, runtime, quantization, context and board; `advice` looks for what would
fit instead, and `query` does both for a command. Pure: the constants are `facts/fit.yaml`, the boards
`facts/boards.yaml`; none is per model.
"""
