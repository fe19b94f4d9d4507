"""What tests of container_scripts share: helpers and examples."""

from __future__ import annotations

from tests.paths import ROOT_DIR

SCRIPTS_DIR = ROOT_DIR / "jetson_containers" / "container_scripts"


WORDS = "one two three four five six"
