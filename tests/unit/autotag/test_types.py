"""What autotag is asked for: packages and images, read from words."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jetson_containers.autotag.types import Wanted
from jetson_containers.core.errors import UsageError
from jetson_containers.images.name import ImageName
from jetson_containers.registry.snapshot import SNAPSHOT


@pytest.mark.parametrize(
    ("text", "registry", "namespace", "name", "tag"),
    [
        ("mlc", None, None, "mlc", None),
        ("mlc:0.20.0", None, None, "mlc", "0.20.0"),
        ("ns/mlc", None, "ns", "mlc", None),
        ("dustynv/mlc:0.20.0-r36.4.0", None, "dustynv", "mlc", "0.20.0-r36.4.0"),
        ("reg:5000/ns/mlc:tag", "reg:5000", "ns", "mlc", "tag"),
        ("reg:5000/mlc", "reg:5000", None, "mlc", None),
        ("docker.io/dustynv/mlc", "docker.io", "dustynv", "mlc", None),
        ("ghcr.io/a/b/mlc:1", "ghcr.io", "a/b", "mlc", "1"),
        ("pytorch:2.*", None, None, "pytorch", "2.*"),
        ("torch:2.8+cu126", None, None, "torch", "2.8-cu126"),
        ("DustyNV/Nano_LLM:R36.4.0", None, "dustynv", "nano_llm", "R36.4.0"),
    ],
)
def test_wanted_parse_reads_a_package_or_an_image(
    text: str, registry: str | None, namespace: str | None, name: str, tag: str | None
) -> None:
    """A request is a package or an image."""
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace, wanted.name, wanted.tag) == (registry, namespace, name, tag)


@pytest.mark.parametrize(
    "text", ["", " ", "mlc:", "a b", "-x", "ns//mlc", "mlc:$(x)", "mlc@sha256:1", "/mlc", "mlc;ls"]
)
def test_wanted_parse_refuses_other_text(text: str) -> None:
    """A text that is neither a package nor an image is refused."""
    with pytest.raises(UsageError, match="neither a package nor an image"):
        Wanted.parse(text)


@pytest.mark.parametrize(
    ("wanted", "tag", "fits"),
    [
        ("mlc", "anything", True),
        ("mlc:0.20.0", "0.20.0", True),
        ("mlc:0.20.0", "0.20.0-r36.4.0", True),
        ("mlc:0.20.0-r36.4.0", "0.20.0-r36.4.0", True),
        ("mlc:0.2", "0.20.0-r36.4.0", False),
        ("mlc:0.20", "0.20.0-r36.4.0", True),
        ("mlc:0.20", "0.200.0-r36.4.0", False),
        ("mlc:v0.20", "0.20.0-r36.4.0", True),
        ("vllm:0.29.0", "v0.29.0", True),
        ("pytorch:2.7.0", "2.7-r36.4.0", True),
        ("pytorch:2.7.0", "2.7.1-r36.4.0", False),
        ("pytorch:2.0", "2-r36.4.0", True),
        ("llama_cpp:b52", "b5283-r36.4.0", False),
        ("l4t-ml:r36.4", "r36.4.0", True),
        ("l4t-ml:r36", "r35.4.1", False),
        ("ros:Humble", "humble-desktop-l4t-r36.4.0", True),
        ("ros:hum", "humble-desktop", False),
        ("mlc>=0.19", "0.19.3-r36.4.0", True),
        ("mlc >= 0.19, <0.20", "0.20.0-r36.4.0", False),
        ("mlc==0.19.*", "0.19.3", True),
        ("mlc>=0.19", "r36.4.0", False),
        ("mlc>=0.19", "b5283-r36.4.0", False),
        ("mlc:0.20.*", "0.20.0-r36.4.0", True),
        ("mlc:0.2?.0", "0.20.0-r36.4.0", True),
        ("mlc:r36.4.0", "0.20.0-r36.4.0", False),
        ("mlc:r36.4.0", "r36.4.0-cu128", True),
    ],
)
def test_wanted_fits_tags_of_its_name_series_or_range(wanted: str, tag: str, fits: bool) -> None:
    """A tag fits as upstream has it, and by what `build` takes a version for."""
    assert Wanted.parse(wanted).fits(tag) is fits


def test_wanted_of_a_published_reference_fits_only_itself() -> None:
    """All 752: the exact name of an image is a request that this image, and no other of its repository, is called."""
    for entry in json.loads(SNAPSHOT.read_bytes())["repositories"]:
        tags = [tag["tag"] for tag in entry["tags"]]
        for tag in tags:
            wanted = Wanted.parse(f"{entry['repository']}:{tag}")
            assert wanted.names_image(ImageName.parse(f"{entry['repository']}:{tag}"))
            assert all(other.startswith(f"{tag}-") for other in tags if wanted.is_called(other) and other != tag)


WORD = st.from_regex(r"[a-z0-9]{1,6}([_.-][a-z0-9]{1,6}){0,2}", fullmatch=True)


@given(
    st.sampled_from(["", "docker.io/", "localhost/", "reg:5000/", "ghcr.io/"]), st.lists(WORD, max_size=2), WORD,
    st.none() | WORD,
)  # fmt: skip
def test_wanted_parse_gives_the_parts_of_a_reference(
    registry: str, namespace: list[str], name: str, tag: str | None
) -> None:
    """A request has the parts of its reference."""
    text = registry + "/".join([*namespace, name]) + (f":{tag}" if tag else "")
    assume(registry or not namespace or (not set(namespace[0]) & set(".:") and namespace[0] != "localhost"))
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace) == (registry.rstrip("/") or None, "/".join(namespace) or None)
    assert (wanted.name, wanted.tag) == (name, tag)
    assert wanted.in_place(ImageName.parse(text))


@given(st.text(max_size=30))
def test_wanted_parse_of_any_text_succeeds_or_is_a_usage_error(text: str) -> None:
    """Any text is a request or a usage error."""
    with contextlib.suppress(UsageError):
        Wanted.parse(text)


@pytest.mark.parametrize("text", ["mlc=0.20", "mlc>=", "dustynv/mlc>=0.19", "mlc>=x"])
def test_wanted_parse_refuses_what_is_no_range(text: str) -> None:
    """A range is one of PEP 440, after the name of a package."""
    with pytest.raises(UsageError, match="neither a package nor an image"):
        Wanted.parse(text)


@pytest.mark.parametrize("text", ["jupyter numpy", "jupyter,numpy", "jupyter, numpy"])
def test_wanted_parse_says_that_packages_are_words(text: str) -> None:
    """Several packages in one word are named one by one."""
    with pytest.raises(UsageError) as caught:
        Wanted.parse(text)
    assert "`autotag jupyter numpy`" in str(caught.value.hint)
