"""Keeps the Chinese pages of docs/zh in step with the English ones, paragraph by paragraph.

docs/zh/state.json holds a hash of each English block and of its translation. Without options: says which blocks are out
of step (exit code 1). `--accept`: records the present state. An English block that changed while its translation did
not is refused, unless `--same` says that the translation still holds.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "docs" / "zh" / "state.json"
PAGES = {
    "README.md": "docs/zh/README.md",
    "docs/start.md": "docs/zh/start.md",
    "docs/tutorials.md": "docs/zh/tutorials.md",
}
LANGUAGES = re.compile(r"^\[(?:中文|English)\]\([^)]*\)$")  # the link between the two, on each page
COMMENT = re.compile(r"(?:^|\s+)#\s.*$", re.MULTILINE)

State = dict[str, list[list[str]]]


def blocks(text: str) -> list[str]:
    """The headings, paragraphs, lists, tables and code blocks of a page, without the links between languages."""
    found: list[list[str]] = [[]]
    in_code = False
    for line in text.splitlines():
        begins = not in_code and line.startswith(("```", "<!--", "#"))
        if begins or (not in_code and found[-1][:1] and found[-1][0].startswith(("```", "<!--"))):
            found.append([])
        in_code ^= line.startswith("```")
        if line.strip() or in_code:
            found[-1].append(line)
        else:
            found.append([])
    made = ["\n".join(block) for block in found if block]
    return [block for block in made if not LANGUAGES.match(block)]


def shape(block: str) -> tuple[object, ...]:
    """What both languages have alike: the kind, the level of a heading, rows and items, code without its comments."""
    if block.startswith("```"):
        return ("code", *(line.rstrip() for line in COMMENT.sub("", block).splitlines() if line.strip()))
    first = block.splitlines()[0]
    if heading := re.match(r"#+ ", first):
        return ("heading", heading[0])
    if block.startswith("<!--"):
        return ("comment", block)
    if first.startswith("|"):
        return ("table", *(row.replace(r"\|", "").count("|") for row in block.splitlines()))
    items = re.findall(r"^(?:\*|-|\d+\.) ", block, re.MULTILINE)
    return ("list", len(items)) if items else ("paragraph",)


def digest(block: str) -> str:
    """Eight digits that change with the words of a block, but not where it is wrapped anew."""
    return hashlib.sha256(" ".join(block.split()).encode()).hexdigest()[:8]


def pairs(english: str, chinese: str) -> list[tuple[str, str]]:
    """Each English block with its translation; where one page is longer, the other has an empty one."""
    return list(zip_longest(blocks(english), blocks(chinese), fillvalue=""))


def out_of_step(english: str, chinese: str, recorded: list[list[str]]) -> list[str]:
    """What is wrong with a translation, a sentence each."""
    found = []
    for number, (left, right) in enumerate(pairs(english, chinese)):
        if not left or not right or shape(left) != shape(right):
            return [*found, f"block {number + 1} differs in kind: {left[:60]!r} and {right[:60]!r}"]
        known = recorded[number][0] if number < len(recorded) else ""
        if known != digest(left):
            found.append(f"block {number + 1} has changed in English: {left[:60]!r}")
    return found


def stale(english: str, chinese: str, recorded: list[list[str]]) -> list[str]:
    """Blocks that `accept` refuses: new in English, and the translation is one that was recorded with another text."""
    before = {right: left for left, right in recorded}
    return [
        left[:60] for left, right in pairs(english, chinese)
        if not left.startswith(("```", "<!--")) and before.get(digest(right), digest(left)) != digest(left)
    ]  # fmt: skip


def main() -> int:
    """Check, or record with `--accept`; 1 where something is out of step."""
    if {"--help", "-h"} & set(sys.argv):
        sys.stdout.write("usage: translations.py [--accept [--same]]\n\nChecks docs/zh against the English pages.\n")
        return 0
    state: State = json.loads(STATE.read_text(encoding="utf-8")) if STATE.is_file() else {}
    texts = {name: [(ROOT / page).read_text(encoding="utf-8") for page in (name, PAGES[name])] for name in PAGES}
    if "--accept" not in sys.argv:
        said = [f"{name}: {line}" for name in PAGES for line in out_of_step(*texts[name], state.get(name, []))]
    else:
        said = [f"{name}: not translated anew: {line!r}" for name in PAGES
                for line in stale(*texts[name], state.get(name, [])) if "--same" not in sys.argv]  # fmt: skip
        if not said:
            made = {name: [[digest(left), digest(right)] for left, right in pairs(*texts[name])] for name in PAGES}
            STATE.write_text(written(made), encoding="utf-8")
    sys.stdout.write("".join(f"{line}\n" for line in said))
    return int(bool(said))


def written(state: State) -> str:
    """One block a line, so that changes of two people meet seldom."""
    rows = {name: ",\n".join(f"  {json.dumps(row)}" for row in found) for name, found in state.items()}
    return "{\n" + ",\n".join(f' "{name}": [\n{row}\n ]' for name, row in rows.items()) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
