"""The tables of constants."""

from __future__ import annotations

import itertools
import re

from jetson_containers.core.facts import load_facts
from jetson_containers.llm.models import known
from tests.unit.llm.fit.helpers import ROOT, board


def test_constants_name_no_model() -> None:
    """No model has a constant of its own."""
    names = [name.lower().rpartition("/")[2] for name in known.configs()]
    ours = ROOT / "jetson_containers"
    models = [ours / "llm" / "models" / name for name in ("gguf.py", "config.py", "layers.py")]
    for path in [*(ours / "llm" / "fit").glob("*.py"), ours / "facts" / "fit.yaml", *models]:
        text = path.read_text(encoding="utf-8").lower()
        assert [name for name in names if name in text] == [], path


def test_constants_have_a_source_in_every_part_of_the_table() -> None:
    """Every part of the table says where it comes from."""
    text = (ROOT / "jetson_containers" / "facts" / "fit.yaml").read_text(encoding="utf-8")
    sections = re.split(r"^(?=\w+:)", text, flags=re.MULTILINE)
    for before, section in itertools.pairwise(sections):
        comment = "".join(re.findall(r"^#.*$", before, flags=re.MULTILINE)[-12:]) + section
        assert "source:" in comment or "fitted" in comment, section.splitlines()[0]


def test_constants_of_power_modes_belong_to_boards() -> None:
    """Every mode belongs to a board."""
    for name, modes in load_facts("fit")["modes"].items():
        assert modes["default"] in modes
        for mode in modes:
            if mode != "default":
                assert board(name, mode=mode).mode == mode
