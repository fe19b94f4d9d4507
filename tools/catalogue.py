"""Writes docs/packages from the package tree; `--check` only says whether it is current, and what is not.

Run after changing a recipe: .venv/bin/python tools/catalogue.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TARGET = ROOT / "docs" / "packages"


def stale(pages: dict[str, str], folder: Path) -> list[str]:
    """Names of pages that are missing, differ, or belong to a family that is gone."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*pages, *there} if pages.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check compare them."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    from tools import package_pages

    pages = package_pages.pages([ROOT / "packages"], ROOT)
    changed = stale(pages, TARGET)
    if "--check" in arguments:
        for name in changed:
            print(f"docs/packages/{name} is not current: .venv/bin/python tools/catalogue.py", file=sys.stderr)
        return int(bool(changed))
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in pages:
            (TARGET / name).write_text(pages[name], encoding="utf-8")
        else:
            (TARGET / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
