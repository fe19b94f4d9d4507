"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import enum
import fcntl
import io
import json
import os
import pty
import struct
import termios
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetson_containers.core.console import Console, Level, columns, human_bytes, human_seconds, width_of, wrapped
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


def test_messages_hide_logins_of_addresses() -> None:
    """Of an address the password is hidden, and a token in place of a name; users of ssh, digests and results stay."""
    console, out, err = make(Level.VERBOSE)
    console.error(BuildError("http://me:pass@host/x", hint="git clone https://ghp_1@host", details=["a://:pass@h"]))
    console.warning("ssh://me@host ubuntu:24.04@sha256:1", "tcp://me:pass@host")
    console.table(("setting", "is"), [("index_url", "https://me:pass@host/simple")], to_result=True)
    console.result("https://me:pass@host")
    assert err.getvalue().splitlines() == [
        "error: http://***@host/x", "  a://***@h", "hint: git clone https://***@host",
        "warning: ssh://me@host ubuntu:24.04@sha256:1", "hint: tcp://***@host",
    ]  # fmt: skip
    assert out.getvalue().splitlines() == [
        "setting    is", "index_url  https://***@host/simple", "https://me:pass@host",
    ]  # fmt: skip


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


@pytest.mark.parametrize(("typed", "agreed"), [("\n", True), ("y\n", True), ("n\n", False), ("", False)])
def test_confirm_takes_the_end_of_the_input_for_a_no(typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter is the default; Ctrl-D and a terminal that went away agree to nothing."""
    console, _, err = make()
    monkeypatch.setattr(type(console), "interactive", True)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert console.confirm("pull it?", default=True) is agreed
    assert err.getvalue().startswith("pull it? [Y/n] ")


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


TABLE = (
    ("name", "what it does", "size"),
    ("alpha-with-a-name", "says hello to everybody who asks for it politely", "1.2 GB"),
    ("b", "", "3 kB"),
)


def test_columns_without_a_width_take_the_room_they_need() -> None:
    """Where no terminal is, a row is one line, however long."""
    assert columns(TABLE) == columns(TABLE, 500)
    assert len(columns(TABLE)) == 3
    assert columns(TABLE)[1].startswith("alpha-with-a-name  says hello to everybody who asks for it politely  1.2 GB")


@pytest.mark.parametrize("width", [40, 50, 60, 74])
def test_columns_go_on_in_the_next_line_between_words(width: int) -> None:
    """On a narrow terminal cells go on below themselves; no word is torn apart and nothing is lost."""
    shown = columns(TABLE, width)
    assert max(map(len, shown)) <= width
    words = [word for row in TABLE for cell in row for word in cell.split()]
    assert sorted(" ".join(shown).split()) == sorted(words)
    assert shown[-1].split() == ["b", "3", "kB"]


def test_columns_that_cannot_fit_are_blocks() -> None:
    """Where even single words are too wide, each row is a block of lines."""
    assert columns(TABLE, 20) == [
        "name          alpha-with-a-name",
        "what it does  says",
        "  hello to everybody",
        "  who asks for it",
        "  politely",
        "size          1.2 GB",
        "",
        "name          b",
        "what it does",
        "size          3 kB",
    ]


def test_columns_of_a_header_alone_keep_the_width() -> None:
    """A table without rows is its header, also where it is narrow."""
    long = tuple(f"{letter * 9}" for letter in "abc")
    assert columns([long], 12) == list(long)


def test_wrapped_line_goes_on_below_its_text() -> None:
    """A label keeps its place, and the text behind it its column; a word that is too long is left whole."""
    line = f"tests   of numpy, cmake, {'x' * 40} and more"
    assert wrapped(line, 0) == wrapped(line, 200) == [line]
    assert wrapped(line, 30) == ["tests   of numpy, cmake,", f"        {'x' * 40}", "        and more"]
    assert wrapped("a plain sentence without a label in front", 20) == [
        "a plain sentence",
        "without a label in",
        "front",
    ]


def test_columns_turn_over_where_that_keeps_a_long_word_within_the_width() -> None:
    """A word of the last column that has room only in a block makes blocks of all rows."""
    shown = columns([("name", "kind", "text"), ("a-long-name", "tool", f"b {'x' * 24}"), ("c", "", "d")], 40)
    assert shown[:4] == ["name  a-long-name", "kind  tool", f"text  b {'x' * 24}", ""]


def test_columns_leave_a_long_word_of_the_last_column_whole() -> None:
    """A key or path in the last column does not turn the table over; the others keep their places."""
    shown = columns([("field", "value"), ("key", f"a b {'x' * 64} c")], 40)
    assert shown == ["field  value", "key    a b", f"       {'x' * 64}", "       c"]


def test_width_of_is_that_of_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has no width; a terminal has what the user says, or what it says itself."""
    assert width_of(None) == 0
    assert width_of(io.StringIO()) == 0
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 71, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    with os.fdopen(follower, "w") as terminal:
        assert width_of(terminal) == 71
        monkeypatch.setenv("COLUMNS", "33")
        assert width_of(terminal) == 33
    os.close(leader)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


HOSTILE = "a\x1b[2J\x1b]52;c;eA==\x07b\x9bK\x1b[31mred\x1b[0m\u202egnp\rc"


def test_terminal_gets_no_control_characters_of_others() -> None:
    """Names and lines of others cannot move the cursor, set a title or the clipboard, or turn text around."""
    out, err = Terminal(), Terminal()
    console = Console(out=out, err=err, env={"NO_COLOR": "1"})
    console.result(HOSTILE)
    console.info(HOSTILE)
    console.table(("name",), [(HOSTILE,)])
    for text in (out.getvalue(), err.getvalue()):
        assert "a[2J]52;c;eA==bK\x1b[31mred\x1b[0mgnpc\n" in text
        assert not set("\x07\x9b\u202e\r") & set(text)


def test_file_gets_the_result_as_it_is() -> None:
    """What is redirected is data, and stays what it was."""
    out = io.StringIO()
    Console(out=out, err=io.StringIO(), env={}).result(HOSTILE)
    assert out.getvalue() == HOSTILE + "\n"
