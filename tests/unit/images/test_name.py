"""Image names: every published tag is read and written back, and what we write is read as we meant it."""

from __future__ import annotations

import contextlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import jetson_containers
from jetson_containers.core.errors import UsageError
from jetson_containers.images.name import ImageName, TagPlatform, distro_word, image_for, platform_tag
from jetson_containers.platforms import tables
from jetson_containers.platforms.detect import parse_target
from jetson_containers.platforms.platform import Arch, Platform

SNAPSHOT = Path(jetson_containers.__file__).parent / "facts" / "registries.json"
DIGEST = "sha256:" + "0123456789abcdef" * 4


@cache
def published() -> tuple[tuple[str, str], ...]:
    """(reference, docker architecture) of every tag of Docker Hub's `dustynv` in the shipped list."""
    data = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    rows = [row for row in data["repositories"] if row["repository"].startswith("dustynv/")]
    return tuple((f"{r['repository']}:{t['tag']}", t["arch"]) for r in rows for t in r["tags"])


def says(**fields: Any) -> TagPlatform:
    for name in ("l4t", "cuda", "python"):
        if name in fields:
            fields[name] = Version(fields[name])
    return TagPlatform(**fields)


class TestPublishedTags:
    def test_published_tags_are_all_there(self) -> None:
        """The whole list of published tags is there."""
        assert len(published()) == 752

    def test_published_tags_are_written_as_they_were_read(self) -> None:
        """Every published tag is written back as it was."""
        assert [str(ImageName.parse(reference)) for reference, _ in published()] == [name for name, _ in published()]

    def test_published_tags_name_their_platform(self) -> None:
        """Nearly every tag says for which platform it is."""
        silent = [ref for ref, _ in published() if ImageName.parse(ref).platform == TagPlatform()]
        assert silent == ["dustynv/jetson-inference:22.06", "dustynv/vila-microservice:36.4.0"]

    def test_published_tags_name_the_right_architecture(self) -> None:
        """The architecture that a tag names is that of the image."""
        for reference, arch in published():
            machine = ImageName.parse(reference).platform.machine
            assert machine in {None, {"arm64": "aarch64", "amd64": "x86_64"}[arch]}, reference

    def test_published_tags_name_only_known_releases(self) -> None:
        """Every release that a tag names is in the table."""
        releases = {parsed.platform.l4t for ref, _ in published() if (parsed := ImageName.parse(ref)).platform.l4t}
        known = {row.l4t for row in tables.releases()}
        assert releases <= known

    def test_published_tags_lose_no_word(self) -> None:
        """Version, variant, platform and plan together use every word of the tag."""
        for reference, _ in published():
            parsed = ImageName.parse(reference)
            assert parsed.tag is not None
            words = parsed.tag.split("-")
            kept = [*parsed.selector.split("-"), *(parsed.plan or "").split("-")]
            rest = [word for word in words if word not in kept]
            platform = [word for word in rest if word[:2] in {"cu", "cp"} or word[:1] in {"r", "2"}]
            assert set(rest) - set(platform) <= {"l4t", "amd64", "sbsa", "x86_64"}, reference


class TestForms:
    @pytest.mark.parametrize(
        ("tag", "version", "variant", "platform", "plan"),
        [
            ("r36.4.0", None, None, says(l4t="36.4", machine="aarch64"), None),
            ("l4t-r36.4.0", None, None, says(l4t="36.4", machine="aarch64"), None),
            ("0.20.0-r36.4.0", "0.20.0", None, says(l4t="36.4", machine="aarch64"), None),
            ("b5283-r36.4-cu128-24.04", "b5283", None,
             says(l4t="36.4", cuda="12.8", distro="24.04", machine="aarch64"), None),
            ("0.3.9-builder-r36.4.0-cu128-24.04", "0.3.9", "builder",
             says(l4t="36.4", cuda="12.8", distro="24.04", machine="aarch64"), None),
            ("51fb0f4-builder-r35.4.1", "51fb0f4", "builder", says(l4t="35.4.1", machine="aarch64"), None),
            ("be12427-r36.2.0", "be12427", None, says(l4t="36.2", machine="aarch64"), None),
            ("0.6.6.post1-r36.4.0", "0.6.6.post1", None, says(l4t="36.4", machine="aarch64"), None),
            ("v2-r36.2.0", "v2", None, says(l4t="36.2", machine="aarch64"), None),
            ("gguf-r36.2.0", None, "gguf", says(l4t="36.2", machine="aarch64"), None),
            ("humble-ros-base-l4t-r36.3.0", None, "humble-ros-base", says(l4t="36.3", machine="aarch64"), None),
            ("r32.7.1-ros-foxy", None, "ros-foxy", says(l4t="32.7.1", machine="aarch64"), None),
            ("r32.5.0-ros-foxy-base", None, "ros-foxy-base", says(l4t="32.5", machine="aarch64"), None),
            ("r36.2.0-20240127", None, None, says(l4t="36.2", machine="aarch64"), "20240127"),
            ("r36.4.3-cu128-cp312-24.04", None, None,
             says(l4t="36.4.3", cuda="12.8", python="3.12", distro="24.04", machine="aarch64"), None),
            ("r36.4-cp312-cu128-24.04", None, None,
             says(l4t="36.4", cuda="12.8", python="3.12", distro="24.04", machine="aarch64"), None),
            ("r35.4.1-cp310", None, None, says(l4t="35.4.1", python="3.10", machine="aarch64"), None),
            ("0.8.6-sbsa-cu128", "0.8.6", None, says(arch=Arch.SBSA, cuda="12.8", machine="aarch64"), None),
            ("2.6-amd64-cu128-24.04", "2.6", None,
             says(arch=Arch.X86_64, cuda="12.8", distro="24.04", machine="x86_64"), None),
            ("12.9-samples-amd64-cu128-24.04", "12.9", "samples",
             says(arch=Arch.X86_64, cuda="12.8", distro="24.04", machine="x86_64"), None),
            ("x86_64", None, None, says(arch=Arch.X86_64, machine="x86_64"), None),
            ("r36.4.tegra-aarch64-cu126-22.04", None, None,
             says(arch=Arch.TEGRA, l4t="36.4", cuda="12.6", distro="22.04", machine="aarch64"), None),
            ("r36.4.tegra-aarch64-cp312-cu126-22.04", None, None,
             says(arch=Arch.TEGRA, l4t="36.4", cuda="12.6", python="3.12", distro="22.04", machine="aarch64"), None),
            ("2.8-r38.4.arm64-sbsa-cu130-24.04", "2.8", None,
             says(arch=Arch.SBSA, l4t="38.4", cuda="13.0", distro="24.04", machine="aarch64"), None),
            ("amd64.x86_64-cu132-24.04", None, None,
             says(arch=Arch.X86_64, cuda="13.2", distro="24.04", machine="x86_64"), None),
            ("r32.7-cu102-18.04", None, None, says(l4t="32.7", cuda="10.2", distro="18.04", machine="aarch64"), None),
            ("1.26-x86_64-cpu-debian12", "1.26", None,
             says(arch=Arch.X86_64, cpu=True, distro="debian12", machine="x86_64"), None),
            ("arm64-cpu-24.04", None, None, says(cpu=True, distro="24.04", machine="aarch64"), None),
            ("cpu-24.04", None, None, says(cpu=True, distro="24.04"), None),
            ("2.6.0-cu128-r36.4-cu126-22.04", "2.6.0", "cu128",
             says(l4t="36.4", cuda="12.6", distro="22.04", machine="aarch64"), None),
            ("1.0-r36.4-cu126-22.04-0f3a9c2d", "1.0", None,
             says(l4t="36.4", cuda="12.6", distro="22.04", machine="aarch64"), "0f3a9c2d"),
            ("22.06", "22.06", None, TagPlatform(), None),
            ("36.4.0", "36.4.0", None, TagPlatform(), None),
            ("latest", None, "latest", TagPlatform(), None),
            ("24.04", "24.04", None, TagPlatform(), None),
            ("r5-something", None, "r5-something", TagPlatform(), None),
            ("a--b", None, "a--b", TagPlatform(), None),
        ],
    )  # fmt: skip
    def test_parse_reads_each_form_of_a_tag(
        self, tag: str, version: str | None, variant: str | None, platform: TagPlatform, plan: str | None
    ) -> None:
        """Every form of a tag that is in use is read."""
        parsed = ImageName.parse(f"dustynv/x:{tag}")
        assert (parsed.version, parsed.variant, parsed.plan) == (version, variant, plan)
        assert parsed.platform == platform
        assert str(parsed) == f"dustynv/x:{tag}"

    @pytest.mark.parametrize(
        ("reference", "registry", "namespace", "name", "tag", "digest"),
        [
            ("mlc", None, None, "mlc", None, None),
            ("mlc:r36.4.0", None, None, "mlc", "r36.4.0", None),
            ("dustynv/mlc:r36.4.0", None, "dustynv", "mlc", "r36.4.0", None),
            ("docker.io/dustynv/mlc", "docker.io", "dustynv", "mlc", None, None),
            ("localhost/mlc:1", "localhost", None, "mlc", "1", None),
            ("localhost:5000/mlc", "localhost:5000", None, "mlc", None, None),
            ("reg.io:5000/a/b/mlc:1", "reg.io:5000", "a/b", "mlc", "1", None),
            ("Registry/mlc:1", "Registry", None, "mlc", "1", None),
            (f"ghcr.io/me/mlc@{DIGEST}", "ghcr.io", "me", "mlc", None, DIGEST),
            (f"ghcr.io/me/mlc:1.0@{DIGEST}", "ghcr.io", "me", "mlc", "1.0", DIGEST),
            ("127.0.0.1:5000/x:y", "127.0.0.1:5000", None, "x", "y", None),
            ("jetson-containers/stage:0123456789ab", None, "jetson-containers", "stage", "0123456789ab", None),
        ],
    )
    def test_parse_splits_references(
        self,
        reference: str,
        registry: str | None,
        namespace: str | None,
        name: str,
        tag: str | None,
        digest: str | None,
    ) -> None:
        """References are split into registry, namespace, name, tag and digest."""
        parsed = ImageName.parse(reference)
        assert (parsed.registry, parsed.namespace, parsed.name) == (registry, namespace, name)
        assert (parsed.tag, parsed.digest) == (tag, digest)
        assert str(parsed) == reference
        assert parsed.repository == reference.partition("@")[0].removesuffix(f":{tag}")

    @pytest.mark.parametrize(
        "reference",
        ["", ":tag", "a b", "UPPER", "a/B:c", "a:", "a:-x", "a:" + "x" * 129, "a//b", "a@sha256:12", "-a", "torch*:r36",
         "a:b:c", "repo:<none>", "a/", "/a", "a:x\n", "a:ü"],
    )  # fmt: skip
    def test_parse_refuses_what_docker_refuses(self, reference: str) -> None:
        """What docker would refuse is refused."""
        with pytest.raises(UsageError) as caught:
            ImageName.parse(reference)
        assert caught.value.hint

    def test_selector_is_what_a_user_writes_behind_the_colon(self) -> None:
        """The selector is what a user writes behind the colon."""
        assert ImageName.parse("llama_cpp:0.3.9-builder-r36.4.0").selector == "0.3.9-builder"
        assert ImageName.parse("ros:humble-desktop-l4t-r36.4.0").selector == "humble-desktop"
        assert ImageName.parse("mlc:r36.4.0").selector == ""


class TestWhatWeWrite:
    @pytest.mark.parametrize(
        ("package", "target", "repository", "name"),
        [
            ("mlc:0.20.0", "r36.4.3", "", "mlc:0.20.0-r36.4-cu126-22.04"),
            ("numpy", "cpu", "", "numpy:x86_64-cpu-24.04"),
            ("llama_cpp:0.3.36", "cpu,debian12", "", "llama_cpp:0.3.36-x86_64-cpu-debian12"),
            ("llama_cpp:0.3.36", "r36.4.3", "dustynv", "dustynv/llama_cpp:0.3.36-r36.4-cu126-22.04"),
            ("numpy", "sbsa", "localhost:5000/me/", "localhost:5000/me/numpy:sbsa-cu132-24.04"),
            ("pytorch:2.8+cu128", "r36.4,cu128,py3.12", "", "pytorch:2.8-cu128-r36.4-cp312-cu128-22.04"),
            ("vllm", "r39.2", "", "vllm:r39.2-cu132-24.04"),
            ("ParaAttention:V1", "r39.2", "me", "me/paraattention:V1-r39.2-cu132-24.04"),
        ],
    )
    def test_image_for_gives_name_and_tag(self, package: str, target: str, repository: str, name: str) -> None:
        """Packages and platforms give a name and a tag."""
        assert image_for(package, parse_target(target), repository=repository) == name

    def test_image_for_refuses_a_name_that_registries_refuse(self) -> None:
        """A name that no registry takes is refused."""
        with pytest.raises(UsageError):
            image_for("Torch*", parse_target("cpu"))

    @pytest.mark.parametrize("row", tables.releases(), ids=lambda row: str(row.l4t))
    def test_platform_tag_is_a_target_again(self, row: tables.Release) -> None:
        """The platform in a tag is a target again."""
        platform = parse_target(f"r{row.l4t}")
        again = parse_target(platform_tag(platform))
        ours, theirs = platform.build_facts(), again.build_facts()
        assert {k: v for k, v in ours.items() if k not in {"l4t", "jetpack", "cuda"}} == {
            k: v for k, v in theirs.items() if k not in {"l4t", "jetpack", "cuda"}
        }
        assert platform.cuda == again.cuda


_cudas = [f"cu{cuda.major}{cuda.minor}" for cuda in tables.toolkits() if cuda >= Version("11.8")]
_targets = st.one_of(
    st.builds(lambda row: [f"r{row.l4t}"], st.sampled_from(tables.releases())),
    st.builds(lambda arch, cuda: [arch, cuda], st.sampled_from(["x86_64", "sbsa"]), st.sampled_from([*_cudas, "cpu"])),
)
_platforms = st.builds(
    lambda parts, python, distro: parse_target(",".join([*parts, *python, *distro])),
    _targets,
    st.sampled_from([[], ["py3.8"], ["py3.10"], ["py3.12"], ["py3.14"]]),
    st.sampled_from([[], ["ubuntu22.04"], ["ubuntu24.04"], ["debian12"], ["debian13"]]),
)
_names = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+){0,2}", fullmatch=True)
_versions = st.one_of(
    st.just(""),
    st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(rc[0-9]|\.post[0-9])?", fullmatch=True),
    st.from_regex(r"b[0-9]{3,5}", fullmatch=True),
    st.sampled_from(["humble-desktop", "builder", "gguf", "0.3.9-builder", "main"]),
)
_repositories = st.one_of(
    st.just(""),
    _names,
    st.builds("{}:{}/{}".format, st.sampled_from(["localhost", "reg.example.com"]), st.integers(1, 65535), _names),
)


class TestRoundTrip:
    @given(_platforms, _names, _versions, _repositories)
    def test_image_for_is_read_as_it_was_meant(
        self, platform: Platform, family: str, version: str, repository: str
    ) -> None:
        """A name that is written is read as it was meant."""
        reference = image_for(f"{family}:{version}" if version else family, platform, repository=repository)
        parsed = ImageName.parse(reference)
        assert str(parsed) == reference
        assert parsed.name == family
        assert parsed.selector == version
        said = parsed.platform
        assert said.machine == platform.machine
        assert said.cuda == platform.cuda
        assert said.cpu is (platform.cuda is None)
        assert said.distro == distro_word(platform.distro, platform.distro_version)
        own = tables.distro(platform.distro, platform.distro_version)
        assert own is not None
        assert said.python == (None if str(platform.python) == own["python"] else platform.python)
        if platform.l4t is None:
            assert (said.l4t, said.arch) == (None, platform.arch)
        else:
            assert said.l4t == Version(f"{platform.l4t.major}.{platform.l4t.minor}")

    @given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}", fullmatch=True))
    def test_parse_keeps_any_tag_that_docker_takes(self, tag: str) -> None:
        """Any tag that docker takes is written back as it was."""
        assert str(ImageName.parse(f"a/b:{tag}")) == f"a/b:{tag}"

    @given(st.text(max_size=60))
    def test_parse_of_any_text_succeeds_or_is_a_usage_error(self, text: str) -> None:
        """Any text parses or is refused as a user error."""
        with contextlib.suppress(UsageError):
            assert str(ImageName.parse(text)) == text
