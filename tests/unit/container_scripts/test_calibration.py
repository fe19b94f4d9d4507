"""The text that models are calibrated with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.driver_images import Images, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_calibration_rows_of_the_builtin_text_never_change(image: Images) -> None:
    """The text that is always there gives rows that never change."""
    calibration = image.driver("calibration")
    rows = calibration.rows(Tokenizer(), "builtin", 5, 64)
    assert [len(row) for row in rows] == [64] * 5
    assert rows == calibration.rows(Tokenizer(), "builtin", 5, 64)
    assert len({tuple(row) for row in rows}) == 5
    assert len(calibration.read("builtin")) > 300_000


def test_calibration_text_may_be_a_file(image: Images, tmp_path: Path) -> None:
    """A text file replaces the built-in text."""
    calibration = image.driver("calibration")
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("one three five")
    lines.write_text('{"text": "one"}\n\n{"text": "three five"}\n')
    assert calibration.rows(Tokenizer(), str(plain), 2, 3) == [[3, 5, 4]] * 2
    assert calibration.rows(Tokenizer(), str(lines), 1, 3) == [[3, 5, 4]]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing", "no calibration text `nothing`"),
        ("{short}", "one sample needs 64"),
        ("wikitext2", "needs the package `datasets`"),
    ],
)
def test_calibration_text_that_is_missing_is_an_error(image: Images, tmp_path: Path, source: str, words: str) -> None:
    """A text that is missing or too short is an error."""
    short = tmp_path / "short.txt"
    short.write_text("too short")
    image.monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SystemExit, match=words):
        image.driver("calibration").rows(Tokenizer(), source.format(short=short), 1, 64)


def test_calibration_reads_no_more_of_a_dataset_than_needed(image: Images) -> None:
    """Of a dataset no more is read than is needed."""
    read = []

    def entries() -> Iterator[dict[str, str]]:
        for number in range(1000):
            read.append(number)
            yield {"text": "word " * 100}

    calls = []
    image.holds("datasets", load_dataset=lambda *args, **kwargs: calls.append((args, kwargs)) or entries())
    rows = image.driver("calibration").rows(Tokenizer(), "wikitext2", 2, 50)
    assert len(rows) == 2
    assert len(read) <= 3
    assert calls[0][0] == ("Salesforce/wikitext", "wikitext-2-raw-v1")
    assert calls[0][1]["streaming"] is True
