"""The question "did you mean …?"."""

from __future__ import annotations

from jetson_containers.core.suggest import closest, did_you_mean

WORDS = ("build", "builder", "run")


def test_did_you_mean_names_the_closest_word() -> None:
    """Did you mean names the closest word."""
    assert did_you_mean("biuld", WORDS) == "did you mean `build`?"
    assert did_you_mean("buildr", WORDS, count=2) == "did you mean `builder` or `build`?"
    assert did_you_mean("rum", WORDS, style="`--{}`") == "did you mean `--run`?"


def test_did_you_mean_has_another_answer_when_nothing_is_close() -> None:
    """Did you mean has another answer when nothing is close."""
    assert did_you_mean("xyz", WORDS) == ""
    assert did_you_mean("xyz", WORDS, otherwise="known: build") == "known: build"


def test_closest_is_empty_when_nothing_is_close() -> None:
    """Closest is empty when nothing is close."""
    assert closest("xyz", WORDS) == []
