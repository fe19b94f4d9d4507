"""Names of repositories, and where tokens come from."""

from __future__ import annotations

import email.utils
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.hub.transfer import errors
from jetson_containers.hub.transfer.credentials import Token, find_token
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.hub.transfer.reference import Reference, is_safe, is_wanted, parse, split_patterns

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hf_" + "x" * 34


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt2", Reference("gpt2")),
        ("gpt2@v1", Reference("gpt2", "v1")),
        ("org/name", Reference("org/name")),
        ("org/name/", Reference("org/name")),
        ("org/name@main", Reference("org/name", "main")),
        ("org/name@refs/pr/12", Reference("org/name", "refs/pr/12")),
        ("org/name@refs/pr/12/config.json", Reference("org/name", "refs/pr/12", "config.json")),
        ("org/name/config.json", Reference("org/name", None, "config.json")),
        ("org/name@v1/dir/a file@2.bin", Reference("org/name", "v1", "dir/a file@2.bin")),
        ("https://huggingface.co/org/name", Reference("org/name")),
        ("https://huggingface.co/org/name/tree/v1", Reference("org/name", "v1")),
        ("https://hf.co/org/name/resolve/main/d/x%20y.gguf?download=true", Reference("org/name", "main", "d/x y.gguf")),
        ("huggingface.co/datasets/org/set/blob/main/a.csv", Reference("org/set", "main", "a.csv", "dataset")),
        ("HF://mlc-ai/name-MLC", Reference("mlc-ai/name-MLC")),
        ("huggingface://org/name/x.gguf", Reference("org/name", None, "x.gguf")),
        ("hf://org/name@v1/file", Reference("org/name", "v1", "file")),
    ],
)  # fmt: skip
def test_parse_reads_references(text: str, expected: Reference) -> None:
    """Names, links and file references are read."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a b", "org/na me", "org/../../etc", "/etc/passwd/../x", "org/name.git", "org/na--me", "-org/name", "@main",
     "org/name/a/../b", "org/name@", "https://huggingface.co/org", "https://huggingface.co/docs/hub/index/deep"],
)  # fmt: skip
def test_parse_refuses_other_text(text: str) -> None:
    """Text that is not a reference is refused as a usage error."""
    with pytest.raises(DownloadError) as caught:
        parse(text)
    assert caught.value.status == errors.USAGE


def test_reference_prints_as_it_is_read() -> None:
    """A reference prints as it is read."""
    for text in ("gpt2", "org/name@v1/dir/file", "org/name/file", "org/name@refs/pr/1"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("name", "include", "exclude", "wanted"),
    [
        ("onnx/a.bin", ["onnx/"], [], True),
        ("a.bin", ["onnx/"], [], False),
        ("onnx/a.bin", ["*.bin"], [], True),  # a star crosses slashes, as in the library
        ("a.bin", [], ["*.bin"], False),
        ("a.bin", ["a*,b*"], ["*.pt"], True),
    ],
)
def test_patterns_choose_files(name: str, include: list[str], exclude: list[str], wanted: bool) -> None:
    """Patterns of include and exclude choose files."""
    assert is_wanted(name, split_patterns(include), split_patterns(exclude)) is wanted


@pytest.mark.parametrize("name", ["", "/a", "a/../b", "..", "a//b", "a\\b", "./a"])
def test_is_safe_refuses_names_that_leave_the_directory(name: str) -> None:
    """Names that leave the directory are not safe."""
    assert not is_safe(name)


@pytest.mark.parametrize(
    ("given", "env", "value", "source"),
    [
        ("a", {"HF_TOKEN": "b"}, "a", "--token"),
        ("", {"HF_TOKEN": " b\n", "HUGGINGFACE_TOKEN": "c"}, "b", "HF_TOKEN"),
        ("", {"HF_TOKEN": "", "HUGGINGFACE_TOKEN": "'c'"}, "c", "HUGGINGFACE_TOKEN"),
        ("", {"HUGGING_FACE_HUB_TOKEN": "d", "HF_TOKEN_PATH": "{file}"}, "d", "HUGGING_FACE_HUB_TOKEN"),
        ("", {"HF_TOKEN_PATH": "{file}"}, SECRET, "the file in HF_TOKEN_PATH"),
        ("", {"HUGGINGFACE_TOKEN_FILE": "{file}"}, SECRET, "the file in HUGGINGFACE_TOKEN_FILE"),
        ("", {"HF_TOKEN": "{file}"}, SECRET, "the file in HF_TOKEN"),
        ("", {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "", ""),
    ],
)
def test_token_is_found(tmp_path: Path, given: str, env: dict[str, str], value: str, source: str) -> None:
    """A token is found on the command line, in the environment and in files."""
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    found = find_token(given, {name: text.format(file=file) for name, text in env.items()})
    assert (found.value, found.source) == (value, source)


def test_token_file_of_the_login_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that a login wrote comes last."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: SECRET)
    assert find_token("", {}) == Token(SECRET, "the file of `hf auth login`")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HF_TOKEN_FILE": "/nowhere/token"}, "/nowhere/token"),
        ({"HF_TOKEN": "two words"}, "is not a token"),
        ({"HF_TOKEN": "hf_é"}, "is not a token"),
    ],
)
def test_token_that_cannot_be_sent_is_refused_unshown(env: dict[str, str], words: str) -> None:
    """A token that cannot be sent is refused without being shown."""
    with pytest.raises(DownloadError) as caught:
        find_token("", env)
    assert caught.value.status == errors.NOT_READY
    assert words in caught.value.message
    assert "two words" not in caught.value.message


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({"Retry-After": "12"}, 503, 12.0),
        ({"Retry-After": email.utils.formatdate(1_000_030)}, 429, 30.0),
        ({"Retry-After": "soon"}, 429, None),
        ({"RateLimit": '"api";r=0;t=44'}, 429, 44.0),
        ({"RateLimit": '"api";r=5;t=44'}, 429, None),
        ({}, 429, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], status: int, seconds: float | None) -> None:
    """How long a server asks to wait is read from its header."""
    error = ConnectionError()
    error.response = SimpleNamespace(status_code=status, headers=headers)  # type: ignore[attr-defined]
    assert errors.retry_after(error, now=1_000_000) == seconds


def test_address_without_its_signature() -> None:
    """Addresses lose their signature before they are shown."""
    assert errors.one_line("GET https://cdn/x?Signature=abc\n failed") == "GET https://cdn/x failed"
