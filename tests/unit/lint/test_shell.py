"""Shell scripts are read as simple commands."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from jetson_containers.lint import shell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b; c", [("a", "b"), ("c",)]),
        ("a 'x; y' \"p && q\" # r; s\nb", [("a", "x; y", "p && q"), ("b",)]),
        ("a \\\n  b \\\n  c\nd", [("a", "b", "c"), ("d",)]),
        ("if a; then b; else c; fi", [("a",), ("b",), ("c",)]),
        ("cat > f <<'END'\nx || true\nEND\nb", [("cat",), ("b",)]),
        ("cat <<-END\n\tx\n\tEND\nb", [("cat",), ("b",)]),
        ('grep x <<< "$y"; b', [("grep", "x"), ("b",)]),
        ("v=$(a | b 'c)') d", [("a",), ("b", "c)"), ("d",)]),
        ('e "$(a "b c")" f', [("a", "b c"), ("e", '$(a "b c")', "f")]),
        ("[[ $a == b || ( c && d ) ]] && e", [("[[", "$a", "==", "b", "||", "(", "c", "&&", "d", ")", "]]"), ("e",)]),
        ("x=(a b\nc) y", [("y",)]),
        ("a > b 2>&1 < c d", [("a", "d")]),
        ("a ${b:-c d} $e", [("a", "${b:-c d}", "$e")]),
        ("case $a in b) c ;; esac", [("case", "$a", "in", "b"), ("c",)]),
    ],
)  # fmt: skip
def test_shell_is_read_as_simple_commands(text: str, expected: list[tuple[str, ...]]) -> None:
    """Shell is read as simple commands."""
    assert [command.words for command in shell.commands(text) if command.words] == expected


def test_shell_commands_know_line_function_and_operator() -> None:
    """Commands know their line, function and operator."""
    found = shell.commands("a &&\n  b ||\n\n  c\nf() {\n  d\n}\ne", line=10)
    assert [(c.name, c.line, c.before, c.function) for c in found if c.words != ("}",)] == [
        ("a", 10, "", ""),
        ("b", 11, "&&", ""),
        ("c", 13, "||", ""),
        ("d", 15, "\n", "f"),
        ("e", 17, "\n", ""),
    ]


@pytest.mark.parametrize("text", ["'", '"', "$(", "${", "`", "<<", "(", "a || ", "\\", "f() {", "}", "[[ a"])
def test_shell_that_is_broken_is_read_without_a_crash(text: str) -> None:
    """Broken shell is read to its end: a crash or an endless loop fails here."""
    shell.commands(text)


@given(strategies.text(alphabet="ab \n\t'\"`$(){}[]<>|&;#\\=-!1", max_size=40))
def test_shell_commands_of_any_text_have_lines_that_exist(text: str) -> None:
    """Any text is read to its end, with lines that exist."""
    found = shell.commands(text)
    assert all(1 <= command.line <= command.end <= text.count("\n") + 1 for command in found)


@pytest.mark.parametrize(
    ("text", "words", "outputs"),
    [
        ("a2>out b", ("a2", "b"), ("out",)),
        ("echo 2>out b", ("echo", "b"), ("out",)),
        ("x#y #z", ("x#y",), ()),
        ("{a,b}c%d~e!f", ("{a,b}c%d~e!f",), ()),
        ("é\u00a0ü x", ("é\u00a0ü", "x"), ()),
    ],
)
def test_plain_characters_stay_in_their_word(text: str, words: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Characters that mean themselves are read as they stand, up to the next that means something."""
    (command,) = shell.commands(text)
    assert (command.words, command.outputs) == (words, outputs)


def test_shell_takes_digits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of any length is one step: each would look again how far the digits before a `>` go."""
    taken: list[int] = []
    take = shell._Reader._take

    def counting(reader: shell._Reader, until: int) -> None:
        taken.append(until - reader.at)
        take(reader, until)

    monkeypatch.setattr(shell._Reader, "_take", counting)
    long = "9" * 5000
    assert shell.commands(f"echo {long} a{long}b 12>log")[0].words == ("echo", long, f"a{long}b")
    assert taken == [4, 5000, 1, 5000, 1, 3]
