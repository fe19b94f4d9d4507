"""Make MLC's Python speak to TVM 0.26.0: `adapt_source.py TREE`.

There a variable has a `name` where it had a `name_hint`; global variables and blocks keep the older one. Every edit has to
apply: a source that looks different fails here and not when a model is compiled.
"""

import re
import sys
from pathlib import Path

PASSES = ("python", "mlc_llm", "compiler_pass")
EDITS = {
    "scatter_tuple_get_item.py": r"(\bvar)\.name_hint\b",
    "pipeline_parallel_rewrite.py": r"(\bvar|\breceive_var|\brequired_param|\bparams\[num_input\])\.name_hint\b",
}


def main(root):
    for name, pattern in EDITS.items():
        path = Path(root, *PASSES, name)
        changed, count = re.subn(pattern, r"\1.name", path.read_text())
        if not count:
            sys.exit("%s: nothing matches %r; this is not the source the recipe was written for" % (path, pattern))
        path.write_text(changed)
        print("%s: %d times `name`" % (path, count))


if __name__ == "__main__":
    main(*sys.argv[1:])
