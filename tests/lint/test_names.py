"""One name for one thing: imports keep the names that modules have, and no two classes of the package share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.lint.test_layers import PACKAGE, ROOT, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = (PACKAGE, "tests", "tools", "benchmarks", "scripts")
# Names that several classes still have.
SHARED = {
    "Answer", "Candidate", "Choice", "Decision", "Ended", "Environment", "Failure", "Finding", "Found",
    "Host", "Job", "Kind", "Listing", "Option", "Options", "Outcome", "Part", "Plan", "Progress",
    "Repository", "Result", "Rule", "Search", "Severity", "Source", "State",
}  # fmt: skip
