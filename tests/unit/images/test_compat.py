"""Which image runs where: each rule by example, and every published tag on every host against a second opinion."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import jetson_containers
from jetson_containers.autotag.ranking import Merits
from jetson_containers.core.facts import load_facts
from jetson_containers.images import labels
from jetson_containers.images.compat import ImageFacts, compatible, facts_of
from jetson_containers.images.name import ImageName
from jetson_containers.plan.stage import stage_image
from jetson_containers.platforms import tables
from jetson_containers.platforms.cuda import class_of
from jetson_containers.platforms.detect import detect, parse_target
from jetson_containers.platforms.platform import Arch, Platform
from tests.paths import TESTS_DIR

SNAPSHOT = Path(jetson_containers.__file__).parent / "facts" / "registries.json"
HOSTS = TESTS_DIR / "hosts"


def rank_key(facts: ImageFacts, host: Platform, *, native: bool = False) -> tuple[object, ...]:
    """Sort key of one image that runs; the reference decides last."""
    return (*Merits(host, native=native).of(facts), facts.reference)


@cache
def published() -> tuple[tuple[str, str, ImageFacts], ...]:
    """(tag, docker architecture, facts) of every image of Docker Hub's `dustynv` in the shipped list."""
    data = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    ours = [repo for repo in data["repositories"] if repo["repository"].startswith("dustynv/")]
    rows = [(repo["repository"], tag) for repo in ours for tag in repo["tags"]]
    return tuple(
        (
            tag["tag"],
            tag["arch"],
            replace(
                facts_of(ImageName.parse(f"{name}:{tag['tag']}"), docker_arch=tag["arch"]),
                pushed=tag["pushed"],
                size=tag["bytes"],
                source="docker.io",
            ),
        )
        for name, tag in rows
    )


@cache
def hosts() -> dict[str, Platform]:
    """Captured machines, every release, every board on every release it boots, PCs and servers of every driver."""
    found = {path.parent.name: detect(path.parent) for path in HOSTS.glob("*/expected.json")}
    for row in tables.releases():
        found[f"r{row.l4t}"] = parse_target(f"r{row.l4t}")
        for board in tables.boards().values():
            if board.boots(row.l4t) and board.soc in row.socs:
                found[f"{board.id},r{row.l4t}"] = parse_target(f"{board.id},r{row.l4t}")
    for point in ("32.7.9", "35.9.0", "36.3.9", "36.4.99", "36.9.0", "38.9.9", "39.9.0"):
        found[f"unlisted r{point}"] = parse_target(f"r{point}")
    for cuda in tables.toolkits():
        for arch in ("x86_64", "sbsa") if cuda >= Version("11.4") else ():
            plain = parse_target(f"{arch},cu{cuda.major}{cuda.minor}")
            found[f"{arch} driver {cuda}"] = replace(plain, driver_cuda=cuda)
    return {**found, "x86_64,cpu": parse_target("cpu"), "sbsa,cpu": parse_target("sbsa,cpu")}


def judged(host: str) -> list[tuple[str, str, ImageFacts, bool]]:
    """(tag, docker architecture, facts, verdict) of every published image; images that differ in name only share it."""
    verdicts = [compatible(facts, hosts()[host]).ok for facts in kinds()[0]]
    return [(*row, verdicts[kind]) for row, kind in zip(published(), kinds()[1], strict=True)]


@cache
def kinds() -> tuple[list[ImageFacts], list[int]]:
    """The distinct facts among published images, and which of them each image has."""
    found: dict[ImageFacts, int] = {}
    plain = [replace(f, reference="", version=None, variant=None, pushed="", size=None) for _, _, f in published()]
    return list(dict.fromkeys(plain)), [found.setdefault(facts, len(found)) for facts in plain]


# A second opinion: nothing of it is read from the tables or the code under test ------------------------------------

DEFAULT_CUDA = {
    (32, 1): 100, (32, 2): 100, (32, 3): 100, (32, 4): 102, (32, 5): 102, (32, 6): 102, (32, 7): 102, (34, 1): 114,
    (35, 1): 114, (35, 2): 114, (35, 3): 114, (35, 4): 114, (36, 2): 122, (36, 3): 122, (36, 4): 126,
}  # fmt: skip
ALLOWED_CUDA = {"34": {114}, "35": {114, 118, 120, 121, 122}, "36a": {122, 124, 125, 126, 128, 129},
                "36b": {122, 124, 125, 126, 128, 129}}  # fmt: skip


def number(cuda: Version | None) -> int | None:
    return None if cuda is None else cuda.major * 10 + cuda.minor


def family(major: int, minor: int) -> str:
    if major == 32:
        return f"32.{minor}"
    return f"36{'a' if minor < 4 else 'b'}" if major == 36 else "jp7" if major in {38, 39} else str(major)


def second_opinion(tag: str, docker_arch: str, host: Platform) -> bool:
    """Whether a published image runs on a host, from the words of its tag."""
    release = re.search(r"(?:^|-)r(\d\d)\.(\d+)", tag)
    named = re.search(r"-cu(\d{3})(?:-|$)", tag)
    if docker_arch == "amd64":
        limit = number(host.driver_cuda or host.cuda)
        x86 = host.arch is Arch.X86_64 and host.cuda is not None
        return bool(x86 and named and limit and int(named[1]) <= limit)
    if host.arch is Arch.X86_64:
        return False
    if release is None:  # one tag: 0.8.6-sbsa-cu128
        limit = number(host.driver_cuda or host.cuda) if host.cuda else None
        return bool("-sbsa-" in tag and host.l4t is None and limit and limit >= 128)
    if host.l4t is None or host.cuda is None:
        return False
    image = (int(release[1]), int(release[2]))
    group = family(*image)
    if group != family(host.l4t.major, host.l4t.minor):
        return False
    cuda = int(named[1]) if named else DEFAULT_CUDA[image]
    if group.startswith("32."):
        return host.distro_version == "18.04"
    return cuda in ALLOWED_CUDA[group]


class TestEveryHostAndEveryTag:
    def test_published_tags_and_hosts_are_all_there(self) -> None:
        """All published tags and hundreds of hosts are compared."""
        assert len(published()) == 752
        assert len(hosts()) > 300

    @pytest.mark.long
    def test_compatible_agrees_with_an_independent_judgment(self) -> None:
        """The verdict agrees with a second opinion."""
        wrong = [
            (name, facts.reference, ok)
            for name, host in hosts().items()
            for tag, arch, facts, ok in judged(name)
            if ok is not second_opinion(tag, arch, host)
        ]
        assert wrong == []

    def test_compatible_gives_a_known_rule_and_a_sentence(self) -> None:
        """Every verdict has a known rule and a sentence."""
        rules = load_facts("compat")["rules"]
        for host in hosts().values():
            for _, _, facts in published()[::7]:
                verdict = compatible(facts, host)
                assert verdict.rule in rules
                assert verdict.ok is (verdict.rule == "runs")
                assert len(verdict.reason) > 10
                assert "None" not in verdict.reason

    @pytest.mark.long
    def test_ranking_chooses_cuda_compat_only_for_a_newer_version_or_without_a_native_image(self) -> None:
        """An image that needs cuda-compat is chosen for its version; with `native`, only where none runs natively."""
        for name, host in hosts().items():
            limit = host.driver_cuda or host.cuda
            fit: dict[str, list[ImageFacts]] = {}
            for _, _, facts, ok in judged(name):
                if ok:
                    fit.setdefault(facts.reference.partition(":")[0], []).append(facts)
            for images in fit.values():
                native, *others = sorted(images, key=lambda facts: rank_key(facts, host, native=True))
                assert limit is not None
                assert native.cuda is not None
                assert native.cuda <= limit or all(other.cuda is not None and other.cuda > limit for other in others)
                best = min(images, key=lambda facts: rank_key(facts, host))
                same = [image for image in images if (image.version, image.variant) == (best.version, best.variant)]
                assert best.cuda is not None
                assert best.cuda <= limit or all(image.cuda is not None and image.cuda > limit for image in same)


class TestRules:
    @pytest.mark.parametrize(
        ("image", "host", "rule"),
        [
            # architecture: the user space decides, not the chip
            ("x:r36.4.0", "x86_64", "architecture"),
            ("x:2.6-amd64-cu128-24.04", "orin-nx-16gb,r36.4.3", "architecture"),
            ("x:2.6-amd64-cu128-24.04", "sbsa", "architecture"),
            ("x:0.8.6-sbsa-cu128", "orin-nx-16gb,r36.4.3", "architecture"),
            ("x:r36.4.0", "agx-thor,r38.4", "architecture"),
            ("x:r36.4.tegra-aarch64-cu126-22.04", "orin-nx-16gb,r39.2", "architecture"),
            ("x:r38.4.arm64-sbsa-cu130-24.04", "orin-nx-16gb,r36.4.3", "architecture"),
            ("x:arm64-cu128", "orin-nx-16gb,r36.4.3", "architecture"),
            ("x:22.06", "x86_64", "architecture"),
            ("x:latest", "r36.4.3", "architecture"),
            # L4T: JC#875 (r36 on r32), JC#353 (r36 on r35), JC#725, JC#149, JC#1557
            ("x:2.6-r36.4.0-cu128", "tx2,r32.7.6", "l4t-class"),
            ("x:r36.2.0", "r35.4.1", "l4t-class"),
            ("x:r35.4.1", "r36.4.0", "l4t-class"),
            ("x:r36.3.0", "r36.4.0", "l4t-class"),
            ("x:r36.4.0", "r36.3.0", "l4t-class"),
            ("x:r34.1.1", "r35.1.0", "l4t-class"),
            ("x:r35.1.0", "r34.1.1", "l4t-class"),
            ("x:r32.6.1", "r32.7.1", "l4t-class"),
            ("x:r39.2-cu132-24.04", "sbsa", "l4t-class"),
            ("x:r38.4-cpu-24.04", "sbsa,cpu", "l4t-class"),
            ("x:r37.1.arm64-sbsa-cu130", "r38.4", "l4t-class"),
            ("x:tegra-aarch64-cu126", "r36.4.3", "l4t-unknown"),
            # CUDA: JC PR#1459 (cu129 on 12.6 without compat), jetson-ai-lab#421 (CUDA 13 on JetPack 6)
            ("x:r36.4-cu130-24.04", "r36.4.3", "cuda-range"),
            ("x:r36.2-cu123-22.04", "r36.3.0", "cuda-range"),
            ("x:r36.4-cu123-22.04", "r36.4.3", "cuda-range"),
            ("x:r35.4.1-cu124", "r35.4.1", "cuda-range"),
            ("x:r35.4.1-cu116", "r35.4.1", "cuda-range"),
            ("x:r34.1.1-cu118", "r34.1.1", "cuda-range"),
            ("x:r32.7.1-cu114-18.04", "nano,r32.7.1", "cuda-exact"),
            ("x:r39.2-cu133-24.04", "agx-thor,r38.4", "cuda-range"),
            ("x:sbsa-cu128", "orin-nx-16gb,r39.2", "cuda-floor"),
            ("x:amd64-cu130-24.04", "x86_64,cu128", "cuda-range"),
            ("x:x86_64", "x86_64", "cuda-unknown"),
            ("x:sbsa", "sbsa", "cuda-unknown"),
            ("x:amd64-cu128-24.04", "cpu", "cpu-only-host"),
            ("x:r36.4.0", "r36.4.3,cpu", "cpu-only-host"),
            # GPU code: OpenRAL#167 (no Thor in CUDA 12), 38.x images hold code for Thor only
            ("x:r38.4-cu130-24.04", "orin-nx-16gb,r39.2", "gpu-code"),
            ("x:r38.4-cu130-24.04", "r39.2", "gpu-code"),
            # Ubuntu: only where libraries come from the host
            ("x:r32.7.1-cu102-20.04", "nano,r32.7.1", "distro"),
            # construction sites
            ("jetson-containers/stage:0123456789ab", "r36.4.3", "image-role"),
        ],
    )
    def test_compatible_refuses_with_the_rule(self, image: str, host: str, rule: str) -> None:
        """Images that do not run are refused with the rule they break."""
        verdict = compatible(facts_of(ImageName.parse(image)), parse_target(host))
        assert (verdict.ok, verdict.rule) == (False, rule)

    @pytest.mark.parametrize(
        ("image", "host", "words"),
        [
            ("x:r36.4.0", "orin-nano-8gb,r36.4.3", "CUDA 12.6 natively"),
            ("x:r36.4.3", "r36.4.0", "natively"),
            ("x:r36.4-cu128-24.04", "r36.4.3", "CUDA 12.8 with cuda-compat over 12.6"),
            ("x:r36.4-cu129-24.04", "r36.5.2", "cuda-compat"),
            ("x:r36.3.0-cu126", "r36.2.0", "cuda-compat over 12.2"),
            ("x:r36.4.tegra-aarch64-cu126-22.04", "r36.4.7", "natively"),
            ("x:r36.4-cu126-22.04", "r36.9", "natively"),
            ("x:r35.2.1", "xavier-nx-8gb,r35.6.5", "natively"),
            ("x:r35.4.1-cu118", "r35.4.1", "cuda-compat"),
            ("x:r32.7.1", "tx2,r32.7.6", "natively"),
            ("x:r32.7.1-ros-foxy", "nano,r32.7.4", "natively"),
            ("x:r38.4.arm64-sbsa-cu130-24.04", "agx-thor,r38.2.0", "natively"),
            ("x:r39.2-cu130-24.04", "agx-thor,r38.4", "natively"),
            ("x:r39.2-cu132-24.04", "orin-nx-16gb,r39.2", "natively"),
            ("x:r39.2-cu131-24.04", "agx-thor,r38.4", "CUDA 13.1 by the compatibility of minor versions over 13.0"),
            ("x:r39.2-cu132-24.04", "thor-t4000,r38.4", "by the compatibility of minor versions"),
            ("x:0.12-sbsa-cu130-24.04", "agx-thor,r38.4", "natively"),
            ("x:0.8.6-sbsa-cu128", "sbsa", "natively"),
            ("x:amd64-cu128-24.04", "x86_64", "natively"),
            ("x:x86_64-cpu-24.04", "x86_64", "without CUDA"),
            ("x:x86_64-cpu-debian12", "cpu", "without CUDA"),
            ("x:arm64-cpu-24.04", "r36.4.3", "without CUDA"),
            ("x:arm64-cpu-24.04", "sbsa,cpu", "without CUDA"),
            ("x:sbsa-cpu-24.04", "agx-thor,r38.4", "without CUDA"),
            ("x:r36.4-cpu-22.04", "r36.4.3,cpu", "without CUDA"),
        ],
    )
    def test_compatible_accepts_with_the_reason(self, image: str, host: str, words: str) -> None:
        """Images that run are accepted with the reason."""
        verdict = compatible(facts_of(ImageName.parse(image)), parse_target(host))
        assert verdict.ok, verdict.reason
        assert words in verdict.reason

    @pytest.mark.parametrize(
        ("image", "host", "words"),
        [
            ("x:2.6-r36.4.0-cu128", "tx2,r32.7.6", "made for L4T 36.4.0, this is 32.7.6"),
            ("x:r36.4-cu130-24.04", "r36.4.3", "runs CUDA 12.6, and 12.8, 12.9 with cuda-compat; not 13.0"),
            ("x:amd64-cu130-24.04", "x86_64,cu128", "NVIDIA driver 580 or newer"),
            (
                "x:r39.2-cu133-24.04",
                "agx-thor,r38.4",
                "CUDA 13.0, and 13.1, 13.2 by the compatibility of minor versions",
            ),
            ("x:r39.2-cu133-24.04", "agx-thor,r39.2", "the driver of L4T 39.2 runs CUDA 13.2; not 13.3"),
            ("x:r38.4-cu130-24.04", "orin-nx-16gb,r39.2", "Orin"),
            ("x:2.6-amd64-cu128-24.04", "r36.4.3", "made for x86_64, this is aarch64"),
        ],
    )
    def test_refusal_says_what_is_there_and_what_is_wanted(self, image: str, host: str, words: str) -> None:
        """The reason says what is there and what is wanted."""
        assert words in compatible(facts_of(ImageName.parse(image)), parse_target(host)).reason

    def test_refusal_reason_is_the_first_broken_rule(self) -> None:
        """A stage of another architecture, release and CUDA is refused as a stage, then as each of the others."""
        host = parse_target("r36.4.3")
        image = facts_of(ImageName.parse("x:r38.4-cu132-24.04"))
        order = []
        for change in (
            {"role": "stage"}, {"role": None}, {"arch": Arch.TEGRA}, {"l4t": Version("36.4")},
            {"cuda": Version("12.6")}, {"sm": (87,)},
        ):  # fmt: skip
            image = replace(image, **change)
            order.append(compatible(image, host).rule)
        assert order == ["image-role", "architecture", "l4t-class", "cuda-range", "gpu-code", "runs"]

    def test_rules_of_the_table_can_each_be_the_reason(self) -> None:
        """`TestRules` has an example for each; a rule that never applies would be dead."""
        examples = {
            mark.args[1][i][2]
            for mark in self.test_compatible_refuses_with_the_rule.pytestmark  # type: ignore[attr-defined]
            for i in range(len(mark.args[1]))
        }
        assert examples | {"runs"} == set(load_facts("compat")["rules"])

    def test_classes_of_l4t_say_why_and_with_what_evidence(self) -> None:
        """Every class of L4T says why and who found out."""
        for row in load_facts("compat")["classes"]:
            assert row["why"]
            assert row["evidence"]
            assert row["takes"]
        for row in tables.releases():
            assert class_of(row.l4t) is not None


class TestLabels:
    HOST = parse_target("orin-nx-16gb,r36.4.3")

    def of(self, target: str, *, role: str = "final", name: str = "me/x:1", arch: str = "arm64") -> ImageFacts:
        made = labels.make(role=role, name=name, key="sha256:0", packages=["a", "b:1"], platform=parse_target(target))
        return facts_of(ImageName.parse(name), made, docker_arch=arch)

    def test_facts_of_labels_say_what_the_name_does_not(self) -> None:
        """Labels say what the name does not."""
        facts = self.of("r36.4.3,cu128")
        assert (facts.arch, facts.l4t, facts.cuda) == (Arch.TEGRA, Version("36.4.3"), Version("12.8"))
        assert (facts.sm, facts.distro, facts.cpu) == ((87,), "22.04", False)
        assert (facts.packages, facts.role) == (("a", "b:1"), "final")
        assert compatible(facts, self.HOST).ok

    def test_facts_of_labels_come_before_the_name(self) -> None:
        """Labels are believed before the name."""
        verdict = compatible(self.of("r35.4.1", name="x:r36.4-cu126-22.04"), self.HOST)
        assert verdict.rule == "l4t-class"

    @pytest.mark.parametrize("role", ["stage", "artifact", "building", '"stage"'])
    def test_compatible_refuses_unfinished_images(self, role: str) -> None:
        """Only finished images are results."""
        assert compatible(self.of("r36.4.3", role=role), self.HOST).rule == "image-role"

    def test_facts_of_a_quoted_role_are_the_same(self) -> None:
        """A quoted role is the same role."""
        assert compatible(self.of("r36.4.3", role='"final"'), self.HOST).ok

    def test_facts_of_a_cpu_image_have_no_cuda(self) -> None:
        """A CPU image is recognized."""
        facts = self.of("r36.4.3,cpu")
        assert facts.cpu
        assert facts.cuda is None
        assert compatible(facts, self.HOST).ok

    def test_compatible_refuses_code_for_another_chip(self) -> None:
        """Code for another chip is refused."""
        host = parse_target("agx-thor,r39.2")
        assert compatible(self.of("r39.2"), host).ok
        assert compatible(self.of("r39.2,sm87"), host).rule == "gpu-code"
        assert compatible(self.of("r35.4.1,sm72"), parse_target("orin-nx-16gb,r35.4.1")).rule == "gpu-code"

    def test_compatible_on_an_unknown_chip_needs_code_for_all_it_might_be(self) -> None:
        """A Jetson whose chip is unknown needs code for all it might be."""
        host = replace(parse_target("r35.4.1"), soc=None)
        assert compatible(self.of("r35.4.1"), host).ok
        assert compatible(self.of("r35.4.1,sm87"), host).rule == "gpu-code"

    def test_compatible_refuses_labels_that_contradict_the_architecture(self) -> None:
        """Labels of another machine than that of the binaries are not believed."""
        facts = self.of("r36.4.3", arch="amd64")
        assert compatible(facts, self.HOST).rule == "architecture"
        assert not compatible(facts, parse_target("x86_64")).ok

    @pytest.mark.parametrize(
        "text",
        ["garbage", "[]", "{}", '"r36"', '{"arch": "tegra"}', '{"arch": 5, "l4t": 36.4, "cuda": "12.6", "sm": "87"}',
         '{"arch":"tegra","l4t":"banana","cuda":"12.6"}', '{"arch":"tegra","l4t":"36.4.3","cuda":"new"}'],
    )  # fmt: skip
    def test_compatible_refuses_labels_that_cannot_be_read(self, text: str) -> None:
        """A label that cannot be read leaves things unknown, and unknown is refused."""
        facts = facts_of(ImageName.parse("x:r36.4-cu126-22.04"), {labels.PLATFORM: text}, docker_arch="arm64")
        assert not compatible(facts, self.HOST).ok

    def test_facts_of_an_image_without_labels_come_from_the_name(self) -> None:
        """Without labels of this project the name decides."""
        facts = facts_of(ImageName.parse("x:r36.4-cu126-22.04"), {"maintainer": "me"}, docker_arch="arm64")
        assert compatible(facts, self.HOST).ok

    def test_compatible_accepts_what_is_built_on_the_same_host(self) -> None:
        """An image built on a host runs on it."""
        for name, host in hosts().items():
            if host.unknown:
                continue  # nothing can be built there
            made = labels.make(role="final", name="x:1", key="k", packages=["x"], platform=host)
            arch = host.docker_platform.removeprefix("linux/")
            verdict = compatible(facts_of(ImageName.parse("x:1"), made, docker_arch=arch), host)
            assert verdict.ok, (name, verdict.reason)


class TestRanking:
    def order(self, names: list[str], host: str, **changes: dict[str, Any]) -> list[str]:
        platform = parse_target(host)
        images = [replace(facts_of(ImageName.parse(f"x:{name}")), **changes.get(name, {})) for name in names]
        for seed in range(5):
            random.Random(seed).shuffle(images)
            images.sort(key=lambda facts: rank_key(facts, platform))
        assert all(compatible(facts, platform).ok for facts in images)
        return [facts.reference.removeprefix("x:") for facts in images]

    @pytest.mark.parametrize(
        ("host", "best_first"),
        [
            # the newest version that runs here, then native before cuda-compat
            ("r36.4.3", ["0.8.6-r36.4-cu128-24.04", "0.8.6-r36.4-cu129-24.04", "0.6.6-r36.4.0", "0.6.3-r36.4.0"]),
            ("r36.4.3", ["0.8.6-r36.4.0", "0.8.6-r36.4-cu128-24.04"]),
            # the platform's own CUDA before others
            ("r36.4.3", ["2.0-r36.4-cu126-22.04", "2.0-r36.4-cu124-22.04", "1.0-r36.4-cu126-22.04"]),
            # a CUDA that was chosen is the platform's own
            ("r36.4.3,cu128", ["1.0-r36.4-cu128-24.04", "2.0-r36.4-cu126-22.04"]),
            # nearest L4T that is not newer than the host, then the newer ones
            ("r35.3.1", ["r35.3.1", "r35.2.1", "r35.1.0", "r35.4.1"]),
            ("r35.5.0", ["r35.4.1", "r35.3.1", "r35.2.1"]),
            ("r36.5.0", ["2.0-r36.4-cu126-22.04", "1.0-r36.5-cu126-22.04", "1.0-r36.4-cu126-22.04"]),
            # point releases share images, so the version decides before them
            ("r36.4.3", ["0.20.0-r36.4.0", "0.1.4-r36.4.2", "r36.4.3", "r36.4.2", "r36.4.0"]),
            ("r36.4.0", ["2.0-r36.4.0", "2.0-r36.4.3", "1.0-r36.4.0"]),
            # plain before variants
            ("r36.2.0", ["607dc5a-r36.2.0", "51fb0f4-builder-r36.2.0"]),
            ("r36.2.0", ["r36.2.0", "1.0-samples-r36.2.0"]),
            # newest version, by number and not by letter; build numbers before them, hashes after, none last
            ("r36.4.3", ["0.10.0-r36.4.0", "0.9.0-r36.4.0", "0.9.0rc1-r36.4.0"]),
            ("r36.4.3", ["b5283-r36.4", "b999-r36.4", "0.3.9-r36.4.0", "c30348a-r36.4.0", "r36.4.0"]),
            # a GPU is not left idle
            ("r36.4.3", ["r36.4-cu126-22.04", "r36.4-cu128-24.04", "r36.4-cpu-22.04"]),
            ("agx-thor,r38.4", ["9.9-r38.4-cu130-24.04", "9.9-sbsa-cu130-24.04", "r38.4-cu130-24.04"]),
        ],
    )
    def test_rank_key_puts_the_best_image_first(self, host: str, best_first: list[str]) -> None:
        """The best image comes first."""
        assert self.order(best_first, host) == best_first

    def test_rank_key_puts_native_cuda_before_newer_versions_where_that_is_preferred(self) -> None:
        """`--prefer native`: cuda-compat only where nothing runs without (JC#1318)."""
        host = parse_target("r36.4.3")
        tags = ["0.8.6-r36.4-cu128-24.04", "0.6.3-r36.4.0", "0.6.6-r36.4.0", "0.9-r36.4-cpu-22.04"]
        images = [facts_of(ImageName.parse(f"x:{tag}")) for tag in tags]
        native = sorted(images, key=lambda facts: rank_key(facts, host, native=True))
        assert [str(image.version) for image in native] == ["0.6.6", "0.6.3", "0.8.6", "0.9"]
        newest = sorted(images, key=lambda facts: rank_key(facts, host))
        assert [str(image.version) for image in newest] == ["0.8.6", "0.6.6", "0.6.3", "0.9"]

    def test_rank_key_prefers_the_newest_push_between_equals(self) -> None:
        """The newest push wins when nothing else decides."""
        old, new = {"pushed": "2024-12-01"}, {"pushed": "2025-03-01"}
        names = ["r36.4-cu126-22.04", "r36.4-cu126-24.04"]
        assert self.order(names, "r36.4.3", **{names[0]: new, names[1]: old}) == names
        assert self.order(names, "r36.4.3", **{names[0]: old, names[1]: new}) == names[::-1]

    def test_rank_key_prefers_local_images_between_equals(self) -> None:
        """Local comes before remote when the rest is equal."""
        names = ["r36.4-cu126-22.04", "r36.4-cu126-24.04"]
        remote = {"source": "docker.io"}
        assert self.order(names, "r36.4.3", **{names[0]: remote}) == names[::-1]
        assert self.order(names, "r36.4.3", **{names[1]: remote}) == names

    @pytest.mark.parametrize(
        ("host", "choices"),
        [
            ("nano-4gb-r32.7.1", {"pytorch": "1.10-r32.7.1", "l4t-pytorch": "r32.7.1", "mlc": None}),
            ("xavier-nx-8gb-r35.4.1", {"mlc": "r35.4.1", "pytorch": "2.1-r35.4.1", "vllm": None}),
            ("orin-nx-16gb-r35.5.0", {"mlc": "r35.4.1", "l4t-pytorch": "2.2-r35.4.1"}),
            ("agx-orin-64gb-r36.3.0", {"mlc": "0.1.2-r36.3.0", "nano_llm": "24.8-r36.3.0"}),
            (
                "orin-nano-super-r36.4.3",
                {
                    "mlc": "0.20.0-r36.4.0",
                    "pytorch": "2.7-r36.4.0",
                    "llama_cpp": "b5283-r36.4-cu128-24.04",
                    "vllm": "0.8.6-r36.4-cu128-24.04",
                },
            ),
            ("agx-thor-r38.4.0", {"mlc": None, "nano_llm": None, "vllm": None}),
            ("agx-orin-64gb-r39.2.0", {"vllm": None}),
            ("x86_64-nvidia", {"pytorch": "2.6-amd64-cu128-24.04", "mlc": None, "jetson-inference": None}),
            ("x86_64-debian12-cpu", {"pytorch": None}),
            ("sbsa-grace", {"vllm": "0.8.6-sbsa-cu128", "pytorch": None}),
        ],
    )
    def test_ranking_chooses_among_published_images(self, host: str, choices: dict[str, str | None]) -> None:
        """Each host gets its known choice among the published images."""
        platform = detect(HOSTS / host)
        for package, want in choices.items():
            prefix = f"dustynv/{package}:"
            images = [facts for _, _, facts in published() if facts.reference.startswith(prefix)]
            fit = [facts for facts in images if compatible(facts, platform).ok]
            best = min(fit, key=lambda facts: rank_key(facts, platform), default=None)
            assert (best.reference.removeprefix(prefix) if best else None) == want


_versions = st.sampled_from(
    [None, "32.4.4", "32.7", "34.1", "35.4.1", "36.0", "36.3", "36.4", "36.9", "37.1", "38.2", "39.2", "40.0"]
)
_images = st.builds(
    lambda arch, l4t, cuda, cpu, sm, distro, role: ImageFacts(
        reference="x:1",
        arch=arch,
        l4t=Version(l4t) if l4t else None,
        cuda=Version(cuda) if cuda and not cpu else None,
        cpu=cpu,
        sm=sm,
        distro=distro,
        role=role,
        machine=arch.machine if arch else None,
    ),
    st.sampled_from([None, *Arch]),
    _versions,
    st.sampled_from([None, "10.2", "11.4", "12.2", "12.3", "12.6", "12.8", "12.9", "13.0", "13.2", "14.0"]),
    st.booleans(),
    st.sampled_from([None, (), (53,), (72, 87), (87,), (87, 110), (110,)]),
    st.sampled_from([None, "18.04", "22.04", "debian12"]),
    st.sampled_from([None, "final", "stage", "artifact", "building"]),
)


class TestProperties:
    @given(_images, st.sampled_from(sorted(hosts())))
    def test_compatible_accepts_only_what_is_known(self, image: ImageFacts, name: str) -> None:
        """An image is never accepted by a guess."""
        host = hosts()[name]
        verdict = compatible(image, host)
        assert verdict.rule in load_facts("compat")["rules"]
        if not verdict.ok:
            return
        assert image.role in {None, "final"}
        assert image.machine == host.machine
        assert image.arch is host.arch
        assert image.cpu or image.cuda is not None
        if image.l4t is not None:
            assert host.l4t is not None
            mine, theirs = (family(v.major, v.minor) for v in (host.l4t, image.l4t))
            assert mine == theirs
        elif host.l4t is not None:
            assert image.cpu or host.l4t.major in {38, 39}
        if image.cuda is not None:
            most = {32: 102, 34: 114, 35: 122, 36: 129, 38: 130, 39: 132}
            driver = number(host.driver_cuda or host.cuda)
            limit = most[host.l4t.major] if host.l4t else driver
            assert host.cuda is not None
            assert limit is not None
            assert (number(image.cuda) or 0) <= limit
            if host.soc and image.sm is not None:
                assert {"t210": 53, "t186": 62, "t194": 72, "t234": 87, "t264": 110}[host.soc] in image.sm

    @given(st.lists(_images, min_size=2, max_size=6), st.sampled_from(sorted(hosts())))
    def test_rank_key_orders_any_images(self, images: list[ImageFacts], name: str) -> None:
        """Any images can be ranked."""
        keys = [rank_key(image, hosts()[name]) for image in images]
        best_first = sorted(keys)  # type: ignore[type-var]
        keys.reverse()
        assert sorted(keys) == best_first  # type: ignore[type-var]

    def test_stage_images_of_plans_are_recognized_without_labels(self) -> None:
        """Stage images of plans are recognized by their name where they have no labels."""
        name = ImageName.parse(stage_image("cmake:pip", "sha256:0123456789abcdef0123"))
        assert str(name) == "jetson-containers/stage:cmake-pip-0123456789abcdef"
        assert facts_of(name).role == "stage"
