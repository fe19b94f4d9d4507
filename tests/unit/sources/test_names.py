"""Names of models with the scheme of their source, and Ollama's short form."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from jetson_containers.core.errors import UsageError
from jetson_containers.sources import names


@pytest.mark.parametrize(
    ("text", "repo", "host", "path", "tag"),
    [
        ("ollama://llama3.2:1b", "ollama://llama3.2:1b", "registry.ollama.ai", "library/llama3.2", "1b"),
        ("ollama://llama3.2", "ollama://llama3.2:latest", "registry.ollama.ai", "library/llama3.2", "latest"),
        ("OLLAMA://Llama3.2:1b/", "ollama://llama3.2:1b", "registry.ollama.ai", "library/llama3.2", "1b"),
        ("ollama://library/qwen3:0.6b", "ollama://qwen3:0.6b", "registry.ollama.ai", "library/qwen3", "0.6b"),
        ("ollama://Ann/My-Bot:q4_K_M", "ollama://Ann/My-Bot:q4_K_M", "registry.ollama.ai", "Ann/My-Bot", "q4_K_M"),
        ("ollama://reg.example:5000/ns/m:1", "ollama://reg.example:5000/ns/m:1", "reg.example:5000", "ns/m", "1"),
        (
            "ollama://Registry.Ollama.AI/library/phi4:14b",
            "ollama://phi4:14b",
            "registry.ollama.ai",
            "library/phi4",
            "14b",
        ),
    ],
)
def test_names_of_ollama_are_read_with_their_defaults(text: str, repo: str, host: str, path: str, tag: str) -> None:
    """Host, namespace and tag have Ollama's defaults, and one model has one name."""
    found = names.parse(text)
    assert found is not None
    assert (found.repo, found.host, found.path, found.revision) == (repo, host, path, tag)
    again = names.parse(str(found))
    assert again == found
    assert names.of_folder("ollama", found.folder) == found


@pytest.mark.parametrize(
    "text",
    [
        "ollama://", "ollama://../etc:1b", "ollama://a/../b", "ollama://a..b", "ollama://x:..", "ollama://x:", "ollama://:1b",
        "ollama://a/b/c/d", "ollama://host/ns/x y:1", "ollama://x:1b@sha256:12", "ollama://x?y=1:2", "ollama://x%2e%2e:1",
        "ollama://" + "x" * 200, "ollama://x:" + "1" * 2000, "ollama://bad_host.example:99/ns/x:1", "ollama://x\n:1",
    ],
)  # fmt: skip
def test_names_that_cannot_be_are_refused_with_the_form(text: str) -> None:
    """What cannot be a name is refused, and the form is shown."""
    with pytest.raises(UsageError, match="invalid model name"):
        names.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "org/model",
        "org/model:Q4_K_M",
        "hf.co/org/model",
        "https://huggingface.co/org/model",
        "/data/x.gguf",
        "tiny",
        "",
    ],
)
def test_names_of_other_kinds_are_left_to_the_hub(text: str) -> None:
    """Names of the hub, paths and well-known names are none of a source."""
    assert names.parse(text) is None
    assert names.short_form(text) is None


def test_names_in_short_form_are_of_ollama() -> None:
    """`NAME:TAG` is Ollama's own way to write a model of its library."""
    assert str(names.short_form("Llama3.2:1b")) == "ollama://llama3.2:1b"
    assert names.short_form("llama3.2") is None
    for scheme in ("ollama:x", "hf:x", "oci:x", "https:x"):
        assert names.short_form(scheme) is None


def test_names_with_a_digest_are_pinned() -> None:
    """A digest behind the tag says what it has to mean."""
    pinned = names.parse("ollama://llama3.2:1b@sha256:" + "ab" * 32)
    assert pinned is not None
    assert (pinned.digest, pinned.folder) == ("sha256:" + "ab" * 32, "registry.ollama.ai+library+llama3.2+1b")


@given(strategies.text(alphabet="abz.:/@-_~+% \n\\A0", max_size=40))
def test_names_stay_inside_the_folder_of_their_source(rest: str) -> None:
    """Whatever a name holds, its directory is one part of a path."""
    try:
        found = names.parse(f"ollama://{rest}")
    except UsageError:
        return
    assert found is not None
    assert "/" not in found.folder
    assert not found.folder.startswith(".")
    assert names.of_folder("ollama", found.folder) == names.parse(found.repo)
