"""Starts the command line from this checkout, whatever directory the user stands in.

`python -m jetson_containers` would put the current directory first on the module path (Python 3.10 cannot be told not
to), so that a stray folder there could be run instead of us.
"""

import gc
import sys
from pathlib import Path

# Most commands end within a tenth of a second and leave little garbage; collecting it takes longer than to start.
gc.set_threshold(50_000)
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jetson_containers.cli.main import entry  # noqa: E402 - the path has to be right first

entry()
