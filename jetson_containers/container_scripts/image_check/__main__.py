"""`python3 -m image_check [PLACE...]`."""

from __future__ import annotations

import sys

from .contents import main

main(sys.argv[1:])
