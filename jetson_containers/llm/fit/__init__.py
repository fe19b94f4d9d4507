"""Whether a model fits on a board, by its shape alone: memory, conversion peak, decode speed, and what would fit.

`predict` answers one combination of model, runtime, quantization, context and board; `advise` looks for what would
fit instead. Pure: the constants are `facts/fit.yaml`, the boards `facts/boards.yaml`; none is per model.
"""

from jetson_containers.llm.fit.advice import Advice, FitRequest, advise, ask
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, board_named, of_board, of_platform, of_target
from jetson_containers.llm.fit.predict import Fit, FitOptions, FitVerdict, predict

__all__ = [
    "GIB",
    "Advice",
    "Fit",
    "FitOptions",
    "FitRequest",
    "FitVerdict",
    "Machine",
    "advise",
    "ask",
    "board_named",
    "of_board",
    "of_platform",
    "of_target",
    "predict",
]
