"""Reading Dockerfiles: instructions, heredocs, directives, stages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import RecipeError
from jetson_containers.dockerfile.parser import KEYWORDS, Heredoc, named_images, parse, stages
from tests.unit.dockerfile.helpers import case


class TestParse:
    def test_parse_keeps_the_lines_of_an_instruction(self) -> None:
        """An instruction knows its first and last line."""
        text = "FROM a\n\n# why\nrun one \\\n  # not this\n\n  two\nCOPY x y\n"
        found = [(step.keyword, step.value, step.line, step.end) for step in parse(text)]
        assert found == [("FROM", "a", 1, 1), ("RUN", "one   two", 4, 7), ("COPY", "x y", 8, 8)]

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("RUN echo a\\\\", "echo a\\\\"),  # an escaped backslash goes on nowhere
            ("RUN echo a \\  ", "echo a RUN b"),  # white space after the backslash does not count
            ("RUN\techo", "echo"),
            ("RUN \\", "RUN b"),
        ],
    )
    def test_parse_joins_continued_lines(self, line: str, value: str) -> None:
        """A backslash at the end of a line joins it with the next, where docker does."""
        assert parse(f"FROM a\n{line}\nRUN b")[1].value == value

    def test_parse_follows_the_escape_directive(self) -> None:
        """The escape directive changes what continues a line."""
        assert [step.value for step in parse(case("escape"))] == ["ubuntu:22.04", "echo a  && echo C:\\", "echo b"]

    def test_parse_takes_a_directive_below_a_comment_as_a_comment(self) -> None:
        """A directive below a comment is a comment."""
        assert [step.line for step in parse("# hello\n# escape=`\nFROM a\nRUN x `\nRUN y")] == [3, 4, 5]

    def test_parse_reads_heredocs_with_their_bodies(self) -> None:
        """Heredocs hold their bodies."""
        first, second, third = parse(case("heredoc"))[1:]
        assert first.heredocs == (
            Heredoc("FIRST", "FROM nothing\nRUN not an instruction\n"),
            Heredoc("SECOND", "tabbed\n"),
        )
        assert second.heredocs == (Heredoc("END", "# not a comment\n"),)
        assert third.heredocs == ()

    @pytest.mark.parametrize("text", ["echo '<<EOF", 'sh -c "cat <<EOF"', "cat <<<EOF", "echo $((1 << 2))", "a<<EOF"])
    def test_parse_finds_heredocs_only_where_docker_does(self, text: str) -> None:
        """Quoted and arithmetic `<<` begin no heredoc."""
        assert [step.keyword for step in parse(f"FROM a\nRUN {text}\nRUN b")] == ["FROM", "RUN", "RUN"]

    def test_parse_tells_flags_from_arguments(self) -> None:
        """Flags are told from arguments."""
        step = parse("FROM --platform=linux/arm64 a AS b\nRUN --mount=type=cache,target=/x --network=none ls --all")[1]
        assert step.flags == ("--mount=type=cache,target=/x", "--network=none")
        assert step.arguments == "ls --all"
        assert step.option("network") == "none"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("a b /c", ("a", "b", "/c")),
            ('["a b", "/c"]', ("a b", "/c")),
            ("[a] /c", ("[a]", "/c")),
            ("1 2", ("1", "2")),
        ],
    )
    def test_parse_words_of_the_json_form(self, value: str, words: tuple[str, ...]) -> None:
        """The words of both forms, shell and JSON, are read."""
        assert parse(f"FROM a\nCOPY {value}")[1].words == words

    def test_parse_drops_windows_line_ends_and_a_byte_order_mark(self) -> None:
        """Windows line ends and a byte order mark are dropped."""
        assert parse("\ufeffFROM a\r\nRUN b \\\r\n c\r\n") == parse("FROM a\nRUN b \\\n c\n")

    @pytest.mark.parametrize(
        ("text", "message", "line"),
        [
            ("FROM a\nRUM x", "unknown instruction `RUM`", 2),
            ("FROM a\nRUN x\n&& y", "unknown instruction `&&`", 3),
            ("RUN x\nFROM a", "`RUN` stands before the first FROM", 1),
            ("ARG A\nCOPY x y\nFROM a", "`COPY` stands before the first FROM", 2),
            ("FROM a\nRUN cat <<EOF\nEOF \n", "the heredoc `EOF` has no end", 2),
            ("# nothing\n", "has no FROM", None),
            ("ARG A", "has no FROM", None),
        ],
    )
    def test_parse_errors_name_file_and_line(self, text: str, message: str, line: int | None) -> None:
        """Errors name file and line."""
        with pytest.raises(RecipeError, match=message) as caught:
            parse(text, Path("x/Dockerfile"))
        assert caught.value.line == line
        assert caught.value.message.startswith(f"x/Dockerfile:{line}: " if line else "x/Dockerfile: ")

    def test_parse_suggests_the_nearest_instruction(self) -> None:
        """A mistyped instruction gets a suggestion."""
        with pytest.raises(RecipeError) as caught:
            parse("FROM a\nENTRYPIONT x")
        assert caught.value.hint == "did you mean `ENTRYPOINT`?"

    @pytest.mark.long
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(KEYWORDS), st.from_regex(r"[a-z0-9/=.]{1,8}( [a-z0-9/=.]{1,8}){0,3}", fullmatch=True)
            )
        )
    )
    def test_parse_reads_what_was_written(self, steps: list[tuple[str, str]]) -> None:
        """Any instructions are read as they were written."""
        lines = (f"{keyword} {value}".replace(" ", " \\\n") for keyword, value in steps)
        text = "\n".join(["FROM a", *lines])
        assert [(step.keyword, step.value) for step in parse(text)] == [("FROM", "a"), *steps]


class TestStages:
    def test_stages_have_names_and_bases(self) -> None:
        """Stages have names and bases."""
        found = [(stage.index, stage.name, stage.base, stage.runs) for stage in stages(parse(case("multi-stage")))]
        assert found == [
            (0, "tools", "${TOOLS}", True),
            (1, "more", "tools", True),
            (2, "empty", "scratch", False),
            (3, None, "${BASE_IMAGE}", True),
        ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n", ("base:1",)),
        ("ARG V=22.04\nFROM ubuntu:$V AS one\nFROM one\nCOPY --from=one /a /\nCOPY --from=0 /b /\n", ("ubuntu:22.04",)),
        ("FROM scratch\nCOPY --from=tools/a:1 /a /a\nRUN --mount=type=bind,from=tools/b:1,target=/b true\n",
         ("tools/a:1", "tools/b:1")),
        ("FROM x/${UNKNOWN:-y}:1\nFROM --platform=linux/arm64 z/$UNKNOWN\n", ("x/y:1", "z/$UNKNOWN")),
    ],
)  # fmt: skip
def test_named_images_are_what_a_builder_may_pull(text: str, found: tuple[str, ...]) -> None:
    """FROM, `--from=` and mounts, with variables filled in; names of stages before are not images."""
    assert named_images(parse(text), {"BASE_IMAGE": "base:1"}) == found
