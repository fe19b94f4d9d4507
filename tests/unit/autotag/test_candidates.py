"""Lists of many tags: the choice, the order and every reason are those of judging each tag by itself, plainly."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.autotag.candidates import candidate_of
from jetson_containers.autotag.matching import extra_packages, is_finished, unmet
from jetson_containers.autotag.ranking import Merits
from jetson_containers.autotag.search import AutotagOptions, choose
from jetson_containers.autotag.sources import RegistrySource
from jetson_containers.autotag.types import SourceKind, Wanted
from jetson_containers.core.errors import UsageError
from jetson_containers.images import labels
from jetson_containers.images.compat import compatible
from jetson_containers.images.name import ImageName
from jetson_containers.platforms.detect import parse_target
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.types import ImageRepository, Tag, TagListing

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

    from jetson_containers.autotag.types import ImageCandidate
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.registry.client import RegistryClient

HOSTS = ("r36.4.3", "r32.7.1", "r39.2.0", "x86_64,cu129", "x86_64,cpu", "sbsa")
VERSIONS = ("0.9", "0.10", "0.10.0", "v1.2rc1", "b5283", "b999", "3fa9c1e77", "be12427", "latest", "2024.1", "1", "")
VARIANTS = ("", "", "builder", "ros-base", "flash-attn", "cu126", "cpu", "sbsa", "x86_64ish", "-odd-")
PLATFORMS = (
    "r36.4.0", "r36.4.3-cu126-22.04", "r36.2.0-cu122", "r36.4-cu128-24.04", "r36.4.tegra-aarch64-cu126", "r35.4.1",
    "r32.7.1", "r38.2.arm64-sbsa-cu130-24.04", "r39.2-cu132-24.04", "l4t-r36.3", "x86_64-cu129-24.04", "x86_64-cpu",
    "amd64", "sbsa-cu130-24.04", "cu126-r36.4.0", "cu128", "cpu", "arm64", "r36.4.0-cp312-cu126-22.04", "r99.1", "",
)  # fmt: skip
ENDS = ("", "", "", "20260101", "deadbeef", "debug", "cu126")
MALFORMED = ("", "-r36.4.0", "a b", "x@sha256:" + "0" * 64, "é", "t" * 200, ".x")
REPOSITORIES = (ImageRepository("registry.example", "ns/mlc"), ImageRepository("docker.io", "vllm/vllm-openai"))


class Given(Listings):
    """A registry that answers with the same rows, whatever is asked; no config can be read."""

    def __init__(self, folder: Path, rows: tuple[Tag, ...]) -> None:
        def client() -> RegistryClient:
            raise AssertionError("nobody is asked here")

        super().__init__(folder, client)
        self._rows = rows

    def get(self, repository: ImageRepository) -> TagListing:
        return TagListing(repository=repository, tags=self._rows, fetched="2026-01-01T00:00:00Z", origin="live")

    def _describe(self, repository: ImageRepository, tag: str, architecture: str) -> list[Tag]:
        del repository, tag, architecture
        return []


def made_up(seed: int, count: int = 200) -> tuple[Tag, ...]:
    """Rows of every form that tags have, some with labels, sizes, dates and architectures, some of them not tags."""
    pick = random.Random(seed)
    rows = []
    for number in range(count):
        words = (pick.choice(VERSIONS), pick.choice(VARIANTS), pick.choice(PLATFORMS), pick.choice(ENDS))
        tag = "-".join(filter(None, words)) if number % 40 else pick.choice(MALFORMED)
        rows.append(
            Tag(
                tag=tag,
                pushed=pick.choice(("", "2026-01-01", "2026-02-01")),
                bytes=pick.choice((None, 5)),
                arch=pick.choice((None, None, "arm64", "amd64", "riscv64")),
                digest=pick.choice((None, f"sha256:{number:064x}")),
                labels=labels_for(pick, tag),
            )
        )
    return tuple(rows)


def labels_for(pick: random.Random, tag: str) -> dict[str, str] | None:
    """No labels, those of this very image, or those that an image built on one of ours inherits."""
    if pick.random() < 0.8:
        return pick.choice((None, {}))
    host = parse_target(pick.choice(HOSTS))
    name = pick.choice((f"mlc:{tag}", "base:1"))
    made = labels.make(
        role=pick.choice((labels.FINAL, labels.STAGE, "other")),
        name=name,
        key="sha256:1",
        packages=pick.choice((["numpy:2.2", "mlc:0.10"], ["numpy:2.2"], [])),
        platform=host,
    )
    return made if pick.random() < 0.9 else {**made, labels.PLATFORM: "{"}


def plainly(row: Tag, repository: ImageRepository, host: Platform) -> ImageCandidate | None:
    """The candidate of one tag, read from its whole reference."""
    if "@" in row.tag:
        return None
    try:
        name = ImageName.parse(f"{repository.reference}:{row.tag}")
    except UsageError:
        return None
    made = candidate_of(name, row.labels or {}, row.arch, SourceKind.REGISTRY, host)
    facts = replace(made.facts, pushed=row.pushed, size=row.bytes, source=repository.host)
    return replace(made, facts=facts, digest=row.digest, order=0)


def expected(rows: tuple[Tag, ...], repository: ImageRepository, request: list[str], host: Platform) -> list[Any]:
    """(reference, fits, rule, reason, digest) of every image: judged one by one, then sorted by whole keys."""
    wanted = [Wanted.parse(text) for text in request]
    architecture = host.docker_platform.rpartition("/")[2]
    first: dict[str, Tag] = {}
    for row in rows:
        if row.tag not in first or row.arch == architecture:
            first[row.tag] = row
    fit, refused = [], []
    for row in first.values():
        image = plainly(row, repository, host)
        if image is None:
            continue
        lacking, runs = unmet(image, wanted), compatible(image.facts, host)
        if lacking is None and runs.ok:
            fit.append((merit(image, wanted, host), (image.reference, True, runs.rule, runs.reason, image.digest)))
        else:
            rule, reason = lacking or (runs.rule, runs.reason)
            key = (
                not is_finished(image.role), not runs.ok, lacking is not None, -alike(image, wanted),
                image.facts.arch is not host.arch, apart(image, host), [-ord(c) for c in image.facts.pushed.ljust(10)],
                image.reference,
            )  # fmt: skip
            refused.append((key, (image.reference, False, rule, reason, image.digest)))
    return [row for _, row in (*sorted(fit, key=lambda pair: pair[0]), *sorted(refused, key=lambda pair: pair[0]))]


def merit(image: ImageCandidate, wanted: list[Wanted], host: Platform) -> tuple[Any, ...]:
    named = any(image.has_name(one) for one in wanted)
    extra = extra_packages(image, wanted)
    held = [item.partition(":")[2] for item in image.facts.packages if item.partition(":")[0] == "mlc"]
    series = any(one.tag and not any(map(one.is_called, [image.name.tag or "", *held])) for one in wanted)
    return (not named, series, 0 if named else extra, Merits(host).of(image.facts), extra, image.order, image.reference)


def alike(image: ImageCandidate, wanted: list[Wanted]) -> int:
    tag = image.name.tag or ""
    return max(max(n for n in range(len(tag) + 1) if (one.tag or "").startswith(tag[:n])) for one in wanted)


def apart(image: ImageCandidate, host: Platform) -> int:
    theirs: Version | None = image.facts.l4t
    return abs(theirs.major - host.l4t.major) if theirs and host.l4t else 99


@pytest.mark.long
@pytest.mark.parametrize("target", HOSTS)
@pytest.mark.parametrize("repository", REPOSITORIES, ids=str)
def test_choice_among_many_tags_is_that_of_judging_each_plainly(
    tmp_path: Path, target: str, repository: ImageRepository
) -> None:
    """Whatever is read once for many tags changes neither the choice nor an order nor a reason."""
    host = parse_target(target)
    place = str(repository) if repository.path.startswith("ns/") else repository.path
    rules: set[str] = set()
    for seed, request in enumerate(([place], [f"{place}:0.10"], [f"{place}:v0*"], [place, "numpy"])):
        rows = made_up(seed)
        source = RegistrySource(Given(tmp_path / str(seed), rows), (ImageRepository.parse(place.rpartition("/")[0]),))
        choice = choose(request, host, (source,), AutotagOptions())
        found = [
            (e.candidate.reference, e.verdict.ok, e.verdict.rule, e.verdict.reason, e.candidate.digest)
            for e in choice.candidates
            if e.candidate.reference.startswith(f"{repository.reference}:")
        ]
        wanted = expected(rows, repository, request, host)
        assert found == wanted
        rules |= {rule for _, _, rule, *_ in wanted}
        assert choice.image == next((reference for reference, ok, *_ in wanted if ok), None)
        ranks = [entry.rank for entry in choice.candidates]
        assert ranks == [*range(1, sum(e.verdict.ok for e in choice.candidates) + 1), *[None] * ranks.count(None)]
        assert json.dumps(choice.to_json())
    assert len(rules) > 3


@pytest.mark.parametrize("seed", range(20))
def test_tag_of_a_repository_is_read_as_in_a_whole_reference(seed: int) -> None:
    """A tag alone says what it says at the end of a reference, for all forms of tags."""
    repository = ImageName.parse("registry.example/ns/mlc")
    read = 0
    for row in made_up(seed):
        whole = f"{repository}:{row.tag}"
        try:
            alone = repository.tagged(row.tag)
        except UsageError:
            if "@" not in row.tag:
                with pytest.raises(UsageError):
                    ImageName.parse(whole)
            continue
        read += 1
        assert alone == ImageName.parse(whole)
        assert str(alone) == whole
    assert read > 160
