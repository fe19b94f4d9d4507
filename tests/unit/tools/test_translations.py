"""The Chinese pages follow the English ones, and a change of the English is noticed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.paths import ROOT_DIR
from tools import translations

ENGLISH = """# Title

[中文](zh/x.md)

Some words,
on two lines.

<!-- needs: engine -->
```bash
./build.sh x   # a comment

./run.sh x
```
After it.

| a | b |
|---|---|
| `x \\| y` | z |

* one
* two
"""
CHINESE = """# 标题

[English](../x.md)

一些话。

<!-- needs: engine -->
```bash
./build.sh x   # 注释

./run.sh x
```
然后。

| 甲 | 乙 |
|---|---|
| `x \\| y` | 丙 |

* 一
* 二
"""
RECORDED = [
    [translations.digest(left), translations.digest(right)] for left, right in translations.pairs(ENGLISH, CHINESE)
]


def test_translations_are_in_step_with_the_english_pages() -> None:
    """No block of an English page has changed since it was translated, and both have the same blocks and code."""
    done = subprocess.run(
        [sys.executable, "tools/translations.py"], cwd=ROOT_DIR, capture_output=True, text=True, check=False
    )
    assert done.stdout == "", "translate it, then run .venv/bin/python tools/translations.py --accept"
    assert done.returncode == 0


def test_translations_take_apart_headings_comments_code_and_tables() -> None:
    """A page is taken apart into its blocks, without the link to the other language; code may hold blank lines."""
    kinds = [translations.shape(block)[0] for block in translations.blocks(ENGLISH)]
    assert kinds == ["heading", "paragraph", "comment", "code", "paragraph", "table", "list"]
    assert translations.out_of_step(ENGLISH, CHINESE, RECORDED) == []


def test_translations_may_wrap_a_paragraph_anew() -> None:
    """Where a line is broken is not a change."""
    wrapped = ENGLISH.replace("Some words,\non two lines.", "Some words, on\ntwo lines.")
    assert translations.out_of_step(wrapped, CHINESE, RECORDED) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Some words", "Other words", "block 2 has changed"),
        ("# Title", "## Title", "block 1 differs"),
        ("./run.sh x", "./run.sh y", "block 4 differs"),
        ("* two", "* two\n* three", "block 7 differs"),
        ("| a | b |", "| a | b | c |", "block 6 differs"),
        ("After it.", "After it.\n\nAnd more.", "block 6 differs"),
    ],
)
def test_translations_notice_a_change_of_the_english(old: str, new: str, said: str) -> None:
    """Each kind of change is said, with the block that has it."""
    found = translations.out_of_step(ENGLISH.replace(old, new), CHINESE, RECORDED)
    assert any(said in line for line in found)


def test_translations_are_not_accepted_without_a_new_text() -> None:
    """What changed in English while the translation did not is refused; a new translation is not."""
    changed = ENGLISH.replace("Some words", "Other words")
    assert len(translations.stale(changed, CHINESE, RECORDED)) == 1
    assert translations.stale(changed, CHINESE.replace("一些话", "另一些话"), RECORDED) == []


def test_translations_are_recorded_a_block_a_line() -> None:
    """The record is JSON that git merges by line."""
    text = translations.written({"x.md": RECORDED})
    assert json.loads(text) == {"x.md": RECORDED}
    assert len(text.splitlines()) == len(RECORDED) + 4
