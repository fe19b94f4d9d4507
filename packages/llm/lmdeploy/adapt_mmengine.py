"""Let mmengine log without torch.distributed, which the PyTorch of JetPack 5 was built without.

mmengine's logger asks its own `dist` package for the process' rank, and that package needs `torch.distributed.ReduceOp`.
One process has rank 0. Where torch has the class, nothing is changed; where the line is not found, that is an error.
"""

import importlib.util
import re
import sys
from pathlib import Path

try:
    import torch.distributed

    complete = hasattr(torch.distributed, "ReduceOp")
except (ImportError, OSError):  # it wants the driver, which no build has
    complete = False
if complete:
    print("this PyTorch has torch.distributed: mmengine stays as it is")
    sys.exit(0)

package = importlib.util.find_spec("mmengine").submodule_search_locations[0]
logger = Path(package, "logging", "logger.py")
text = logger.read_text()
changed, count = re.subn(r"^(\s*)global_rank = _get_rank\(\)$", r"\1global_rank = 0", text, flags=re.MULTILINE)
if not count:
    sys.exit("%s: no line sets the rank; this is not the mmengine the recipe was written for" % logger)
logger.write_text(changed)
print("%s: the rank is 0" % logger)
