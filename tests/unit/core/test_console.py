"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import enum
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetson_containers.core.console import Console, Level, human_bytes, human_seconds
from jetson_containers.core.errors import BuildError


def make(level: Level = Level.NORMAL, **env: str) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(level=level, out=out, err=err, env=env), out, err


def test_messages_never_reach_stdout() -> None:
    """Messages never reach the standard output."""
    console, out, err = make(Level.VERBOSE)
    console.info("a")
    console.detail("b")
    console.ok("c")
    console.warning("d", "e")
    console.error(BuildError("f", hint="g", details=["h"]))
    console.table(("x",), [("y",)])
    assert out.getvalue() == ""
    assert all(letter in err.getvalue() for letter in "abcdefghxy")


def test_quiet_console_keeps_results_warnings_and_errors() -> None:
    """Quiet, the console keeps results, warnings and errors."""
    console, out, err = make(Level.QUIET)
    console.info("talk")
    console.ok("talk")
    console.result("result")
    console.warning("careful")
    assert out.getvalue() == "result\n"
    assert err.getvalue() == "warning: careful\n"


def test_color_is_used_only_where_it_is_shown() -> None:
    """Color is used only where it is shown."""
    assert make()[0].color is False
    assert make(FORCE_COLOR="1")[0].color is True
    assert make(FORCE_COLOR="1", NO_COLOR="1")[0].color is False


def test_json_results_accept_types_of_the_program() -> None:
    """JSON results accept enumerations, paths and versions."""

    class Kind(enum.Enum):
        A = "a"

    @dataclass(frozen=True)
    class Thing:
        path: Path
        kinds: tuple[Kind, ...]
        names: frozenset[str]

    console, out, _ = make()
    console.result_json(Thing(Path("/x"), (Kind.A,), frozenset({"b", "a"})))
    assert json.loads(out.getvalue()) == {"path": "/x", "kinds": ["a"], "names": ["a", "b"]}


def test_confirm_without_a_terminal_gives_the_default() -> None:
    """A question without a terminal has the default answer."""
    console, _, err = make()
    assert console.confirm("build it?") is False
    assert console.confirm("build it?", default=True) is True
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5.6e9, "5.6 GB"), (3.98e12, "4.0 TB")]
)
def test_human_bytes_are_written_as_docker_does(count: float, text: str) -> None:
    """Sizes are written as docker writes them."""
    assert human_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.21, "4.2s"), (185, "3m05s"), (3725, "1h02m")])
def test_human_seconds_are_short(seconds: float, text: str) -> None:
    """Durations are written shortly."""
    assert human_seconds(seconds) == text
