"""Where docker's options end, which word is IMAGE, and what is left for the container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.launch.docker_options import FLAGS, SHORT, VALUED, DockerOption, Group, RunLine, parse


def read(line: str, own: dict[str, bool] | None = None) -> RunLine:
    return parse(line.split(), own)


@pytest.mark.parametrize(
    ("line", "image", "command"),
    [
        ("img", "img", ""),
        ("img ls -l", "img", "ls -l"),
        ("--rm img", "img", ""),
        ("--rm=false img", "img", ""),
        ("--rm false img", "false", "img"),  # a flag never takes the next word
        ("--name x img", "img", ""),
        ("--name=x img", "img", ""),
        ("--name --rm img", "img", ""),  # a value may look like an option
        ("-it img", "img", ""),
        ("-i -t img", "img", ""),
        ("-itv /a:/b img", "img", ""),
        ("-itv/a:/b img", "img", ""),
        ("-it=false img", "img", ""),
        ("-e A=1 img", "img", ""),
        ("-eA=1 img", "img", ""),
        ("-e=A=1 img", "img", ""),
        ("-e= img", "img", ""),
        ("-p8080:80 img", "img", ""),
        ("-- img -x", "img", "-x"),
        ("--rm -- img", "img", ""),
        ("--rm -- --name x img", "img", ""),
        ("img --name y", "img", "--name y"),  # belongs to the command
        ("img -- --name y", "img", "-- --name y"),
        ("--net host img", "img", ""),
        ("--gpus all --shm-size 1g img cmd", "img", "cmd"),
        ("- img", "-", "img"),  # pflag: a single dash is an argument
        ("--new-option x img", "img", ""),  # unknown: most of docker's options have a value
        ("--new-option img", "img", ""),  # … but an image has to be left
        ("--new-option --rm img", "img", ""),
        ("-x img", "img", ""),
        ("-xy img", "img", ""),
    ],
)
def test_parse_finds_the_image_and_command_that_docker_would(line: str, image: str, command: str) -> None:
    """Image and command are those that docker would see."""
    parsed = parse(line.split(" "))
    assert (parsed.image, " ".join(parsed.command)) == (image, command)


@pytest.mark.parametrize("line", ["", "--rm", "-it", "--name x", "--", "--gpus all --rm"])
def test_parse_without_an_image_gives_none(line: str) -> None:
    """A line of options alone has no image."""
    assert parse(line.split()).image is None


def test_parse_keeps_an_empty_word_as_the_image() -> None:
    """An empty word stands where the image should."""
    assert parse(["--rm", "", "cmd"]).image == ""


@pytest.mark.parametrize("line", [["--name"], ["-e"], ["-ite"], ["--rm", "--volume"]])
def test_parse_refuses_an_option_without_its_value(line: list[str]) -> None:
    """A missing value is the user's mistake."""
    with pytest.raises(UsageError, match="needs a value"):
        parse(line)


def test_parse_gives_options_their_long_names() -> None:
    """Options are read with their long names."""
    line = read("-itd -e A=1 --env=B=2 -eC --net host --rm=false --runtime nvidia img")
    assert line.values("env") == ["A=1", "B=2", "C"]
    assert line.env_names == {"A", "B", "C"}
    assert line.last("network") == "host"
    assert line.is_on("detach")
    assert line.has("rm")
    assert not line.is_on("rm")
    assert not line.is_on("privileged")
    assert line.last("name") is None


def test_parse_finds_mount_targets_of_each_spelling() -> None:
    """The targets of mounts are found in every spelling."""
    line = parse(
        [
            *("-v", "/a:/b/", "--volume=/c:/d:ro", "-v", "/anonymous", "--tmpfs", "/t:size=1m"),
            *("--mount", "type=bind,source=/x,target=/y", "--mount=type=volume,dst=/z", "--mount", "type=bind", "img"),
            *("-v", "/not:/mine"),
        ]
    )
    assert line.mount_targets == {"/b", "/d", "/anonymous", "/t", "/y", "/z"}


def test_parse_finds_devices() -> None:
    """The devices are found."""
    assert read("--device /dev/a:/dev/b:r --device nvidia.com/gpu=all img").devices == {
        "/dev/a",
        "nvidia.com/gpu=all",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--env", "A=1"], ("--env", "A")),
        (["--env=A=1"], ("--env=A",)),
        (["-e", "A=1"], ("-e", "A")),
        (["-eA=1"], ("-eA",)),
        (["-e=A=1"], ("-e=A",)),
        (["-ite", "A=1"], ("-ite", "A")),
        (["-iteA=1"], ("-iteA",)),
        (["-e", "A=A=1"], ("-e", "A")),
    ],
)
def test_with_value_keeps_the_spelling_of_the_user(words: list[str], expected: tuple[str, ...]) -> None:
    """A value is replaced in the user's spelling."""
    (group,) = parse([*words, "img"]).groups
    changed = group.with_value("A")
    assert changed.words == expected
    assert parse([*changed.words, "img"]).values("env") == ["A"]


def test_with_value_refuses_a_group_without_a_value() -> None:
    """A group without a value has none to replace."""
    with pytest.raises(ValueError, match="no value"):
        Group(("--rm",), (DockerOption(name="rm"),)).with_value("x")


def test_parse_marks_unknown_options() -> None:
    """Unknown options are marked."""
    line = read("--runtme nvidia --rm -x img")
    assert [(option.name, option.known) for option in line.options] == [("runtme", False), ("rm", True), ("x", False)]


def test_parse_ends_own_options_at_the_image_and_at_two_dashes() -> None:
    """Own options end at the image and at two dashes."""
    own = {"dry-run": False, "data": True}
    assert [option.known for option in read("--dry-run --data d img --dry-run", own).options] == [True, True]
    assert [option.known for option in read("--data d -- --dry-run img", own).options] == [True, False]


def test_option_tables_do_not_overlap() -> None:
    """The tables of options do not overlap."""
    assert not FLAGS & VALUED
    assert set(SHORT.values()) <= FLAGS | VALUED


# Properties: for every mix of known options, the line is taken apart and put together again without loss.

values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
short_of = {name: letter for letter, name in SHORT.items()}
flag_letters = "".join(letter for letter, name in SHORT.items() if name in FLAGS)


@st.composite
def spelled_options(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Words of one group, and the options it stands for."""
    if draw(st.booleans()):
        cluster = draw(st.text(flag_letters, min_size=1, max_size=3))
        options: list[tuple[str, str | None]] = [(SHORT[letter], None) for letter in cluster]
        if draw(st.booleans()):
            return ["-" + cluster], options
        name = draw(st.sampled_from(sorted(VALUED & set(SHORT.values()))))
        value = draw(values)
        if value and not value.startswith("=") and draw(st.booleans()):
            return ["-" + cluster + short_of[name] + value], [*options, (name, value)]
        return ["-" + cluster + short_of[name], value], [*options, (name, value)]
    if draw(st.booleans()):
        flag = draw(st.sampled_from(sorted(FLAGS)))
        state = draw(st.sampled_from([None, "true", "false"]))
        return [f"--{flag}" + (f"={state}" if state else "")], [(flag, state)]
    name = draw(st.sampled_from(sorted(VALUED - {"net", "net-alias", "dns-opt"})))
    value = draw(values)
    return draw(st.sampled_from([[f"--{name}", value], [f"--{name}={value}"]])), [(name, value)]


images = st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,20}(:[a-z0-9.]{1,8})?", fullmatch=True)


@pytest.mark.long
@given(st.lists(spelled_options(), max_size=8), images, st.lists(values, max_size=4), st.booleans())
def test_parse_finds_image_and_command_behind_any_options(
    spelled: list[tuple[list[str], list[tuple[str, str | None]]]], image: str, command: list[str], dashes: bool
) -> None:
    """Image and command are found behind any mix of options."""
    words = [word for group, _ in spelled for word in group]
    line = parse([*words, *(["--"] if dashes else []), image, *command])
    assert (line.image, line.command) == (image, tuple(command))
    assert list(line.words) == words
    assert [(option.name, option.value) for option in line.options] == [o for _, options in spelled for o in options]
    assert all(option.known for option in line.options)


@given(st.lists(values, max_size=8))
def test_parse_of_any_words_loses_none_or_refuses(words: list[str]) -> None:
    """Any words are taken apart without loss or refused."""
    try:
        line = parse(words)
    except UsageError:
        return
    rest = [] if line.image is None else [line.image, *line.command]
    before = words[: len(words) - len(rest)]
    assert words[len(before) :] == rest
    assert [word for word in before if word != "--"] == [word for word in line.words if word != "--"]


def test_parse_of_an_empty_line_is_empty() -> None:
    """An empty line has no words."""
    assert parse([]) == RunLine()
