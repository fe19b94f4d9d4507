"""Images of other projects: what their tags hold, by host, and what is not known of them."""

from __future__ import annotations

import pytest
from packaging.version import Version

from jetson_containers.core.facts import load_facts
from jetson_containers.images import official
from jetson_containers.images.compat import ImageFacts, compatible, facts_of
from jetson_containers.images.name import ImageName
from jetson_containers.platforms.detect import parse_target
from jetson_containers.platforms.platform import Arch


def facts(reference: str, target: str, arch: str | None = "arm64") -> ImageFacts:
    name = ImageName.parse(reference)
    return official.completed(facts_of(name, docker_arch=arch), name, parse_target(target))


@pytest.mark.parametrize(
    ("reference", "arch", "l4t", "cuda", "version", "variant"),
    [
        ("ghcr.io/nvidia-ai-iot/vllm:latest-jetson-orin", "tegra", "36.4", "12.6", None, None),
        ("ghcr.io/nvidia-ai-iot/vllm:gemma4-jetson-thor", "sbsa", "38.2", "13.0", None, "gemma4"),
        (
            "ghcr.io/nvidia-ai-iot/vllm:0.16.0-g15d76f74e-r38.2-arm64-sbsa-cu130-24.04",
            "sbsa",
            "38.2",
            "13.0",
            "0.16.0",
            None,
        ),
        ("ghcr.io/nvidia-ai-iot/vllm:0.14.0-r36.4-tegra-aarch64-cu126-22.04", "tegra", "36.4", "12.6", "0.14.0", None),
        ("vllm/vllm-openai:v0.23.0-aarch64-ubuntu2404", "sbsa", None, "13.0", "0.23.0", None),
        ("vllm/vllm-openai:v0.21.0-cu129", "sbsa", None, "12.9", "0.21.0", None),
        ("docker.io/vllm/vllm-openai:latest", "sbsa", None, "13.0", None, None),
        ("nvcr.io/nvidia/vllm:26.01-py3", "sbsa", None, "13.1", "0.11.1", None),
        ("lmsysorg/sglang:v0.5.21.post1", "sbsa", None, "13.0", "0.5.21.post1", None),
        ("lmsysorg/sglang:v0.5.16-cu130", "sbsa", None, "13.0", "0.5.16", None),
        ("lmsysorg/sglang:v0.5.9-cu126", "sbsa", None, "12.6", "0.5.9", None),
        ("docker.io/lmsysorg/sglang:latest-cu130", "sbsa", None, "13.0", None, None),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda13", "sbsa", None, "13.4", None, None),
    ],
)
def test_official_tag_holds_what_the_table_says(
    reference: str, arch: str, l4t: str | None, cuda: str, version: str | None, variant: str | None
) -> None:
    """A tag without L4T holds what the table says, one with it what it says itself."""
    found = facts(reference, "r38.2")
    assert (found.arch, found.l4t) == (Arch(arch), Version(l4t) if l4t else None)
    assert (found.cuda, found.version, found.variant) == (Version(cuda), version, variant)


@pytest.mark.parametrize(
    "reference",
    [
        "vllm/vllm-openai:v0.11.0",  # before 0.20 the CUDA was another one
        "vllm/vllm-openai:nightly",
        "nvcr.io/nvidia/vllm:25.09-py3",
        "ollama/ollama:0.31.2-rocm",
        "lmsysorg/sglang:v0.5.19",  # the last for which CUDA 12 was built too
        "lmsysorg/sglang:v0.5.14-cu130",  # its kernels were not read
        "lmsysorg/sglang:dev-cu13",
        "ghcr.io/ggml-org/llama.cpp:server-cuda",
        "ghcr.io/ggml-org/llama.cpp:server-cuda13-b9445",
        "ghcr.io/nvidia-ai-iot/vllm:main",
        "somebody/vllm-openai:v0.29.0",
    ],
)
def test_official_tag_without_a_rule_is_refused(reference: str) -> None:
    """What no rule knows runs nowhere."""
    for target in ("r39.2", "r38.2", "r36.4.3", "sbsa"):
        assert not compatible(facts(reference, target), parse_target(target)).ok


@pytest.mark.parametrize(
    ("reference", "runs", "refuses"),
    [
        ("lmsysorg/sglang:v0.5.22", ("agx-thor,r38.2", "agx-thor,r39.2", "gb10"), ("agx-orin-64gb,r39.2", "r36.4.3")),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda13", ("sbsa,cu134",), ("agx-thor,r39.2", "agx-orin-64gb,r39.2")),
    ],
)
def test_official_tag_runs_on_the_boards_it_has_code_for(
    reference: str, runs: tuple[str, ...], refuses: tuple[str, ...]
) -> None:
    """Code that was found in an image decides between boards of one release."""
    answers = {target: compatible(facts(reference, target), parse_target(target)).ok for target in (*runs, *refuses)}
    assert answers == dict.fromkeys(runs, True) | dict.fromkeys(refuses, False)


def test_official_tag_with_several_user_spaces_holds_that_of_the_host() -> None:
    """Of an image that holds something for two JetPacks, the host decides; on a third it is refused."""
    found = {target: facts("ollama/ollama:0.33.3", target) for target in ("r36.4.3", "r35.4.1", "r39.2")}
    assert found["r36.4.3"].cuda == Version("12.6")
    assert found["r35.4.1"].cuda == Version("11.4")
    assert not compatible(found["r39.2"], parse_target("r39.2")).ok


def test_official_tag_of_another_architecture_is_for_that_one() -> None:
    """The amd64 image of a tag is for PCs, and a rule about Jetson does not make it one for Jetson."""
    assert facts("vllm/vllm-openai:v0.29.0", "x86_64,cu130", "amd64").arch is Arch.X86_64
    pc = facts("ollama/ollama:0.33.3", "r36.4.3", "amd64")
    assert not compatible(pc, parse_target("r36.4.3")).ok


def test_official_image_names_its_family() -> None:
    """The package that an image holds is known by its repository, with the version where the tag says one."""
    assert facts("vllm/vllm-openai:v0.29.0", "r39.2").packages == ("vllm:0.29.0",)
    assert facts("vllm/vllm-openai:nightly", "r39.2").packages == ("vllm",)


def test_official_environment_is_that_of_the_host() -> None:
    """Ollama has to be told its JetPack, and only on Jetson."""
    name = ImageName.parse("ollama/ollama:0.33.3")
    assert official.environment_for(name, parse_target("r36.4.3")) == {"JETSON_JETPACK": "6"}
    assert official.environment_for(name, parse_target("r35.4.1")) == {"JETSON_JETPACK": "5"}
    assert official.environment_for(name, parse_target("sbsa")) == {}
    assert official.environment_for(ImageName.parse("ollama/ollama"), parse_target("r36.4.3")) == {
        "JETSON_JETPACK": "6"
    }
    assert official.environment_for(ImageName.parse("ollama/ollama:0.1.32"), parse_target("r36.4.3")) == {}


def test_official_rules_all_name_their_source() -> None:
    """Every rule says who says so."""
    for row in load_facts("images")["images"]:
        assert all(rule["source"] and rule["holds"] for rule in row["tags"])
        assert len(row["repository"].split("/")) == 3
