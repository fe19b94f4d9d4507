"""The choice of autotag among the published tags, for every captured host, with the rule that refused each image.

`golden/autotag/<host>.txt` is read by people when a rule changes: `UPDATE_GOLDEN=1 pytest …` writes it anew. Beside the
golden copies stand the limits no golden copy may ever cross.
"""

from __future__ import annotations

import os
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from jetson_containers.autotag.search import AutotagOptions, choose, refusals, summary
from jetson_containers.autotag.sources import RegistrySource
from jetson_containers.platforms import detect
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.types import ImageRepository
from tests.paths import TESTS_DIR, UNIT_DIR

if TYPE_CHECKING:
    from jetson_containers.autotag.ranking import ImageChoice

HOSTS = TESTS_DIR / "hosts"
GOLDEN = UNIT_DIR / "golden" / "autotag"
IDS = sorted(
    path.parent.name
    for path in HOSTS.glob("*/uname.machine")
    # Refused, as it would be a guess.
    if not path.parent.name.startswith(("orin-older-than-table", "orin-unknown-major", "thor-older-than-family"))
)
PACKAGES = ("mlc", "llama_cpp", "pytorch", "vllm", "l4t-pytorch", "ros")


def no_registry() -> None:
    raise AssertionError("the goldens need no registry")


@cache
def host(name: str) -> Platform:
    return detect.detect(HOSTS / name, env={})


@cache
def choice(name: str, package: str) -> ImageChoice:
    listings = Listings(Path("/nonexistent"), no_registry, offline=True)  # type: ignore[arg-type]
    source = RegistrySource(listings, (ImageRepository("docker.io", "dustynv"),))
    return choose([package], host(name), (source,), AutotagOptions())


def render(name: str) -> str:
    """One host: per package the choice, the fit tags best first, and the refused ones under their rule."""
    lines = [f"{name}: {summary(host(name))}"]
    for package in PACKAGES:
        made = choice(name, package)
        lines += ["", f"{package}: {made.image or 'none'}"]
        lines += [f"  {e.rank:>2} {e.candidate.name.tag}: {e.verdict.reason}" for e in made.candidates if e.verdict.ok]
        refused = sorted((e.verdict.rule, e.candidate.name.tag or "") for e in made.candidates if not e.verdict.ok)
        for rule, group in groupby(refused, key=lambda pair: pair[0]):
            lines += [f"  refused by {rule}", *(f"     {tag}" for _, tag in group)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", IDS)
def test_autotag_choice_is_the_golden_one(name: str) -> None:
    """The choice on each host is the golden one."""
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(render(name), encoding="utf-8")
    assert render(name) == golden.read_text(encoding="utf-8")


def test_golden_choices_have_their_hosts() -> None:
    """Every golden copy has its host."""
    assert len(IDS) >= 20
    assert sorted(path.stem for path in GOLDEN.iterdir()) == IDS


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_autotag_choice_runs_on_the_host_by_an_independent_rule(name: str, package: str) -> None:
    """No other instruction set, no other L4T class, no CUDA above what the host runs; a reason for every refusal."""
    machine = host(name)
    made = choice(name, package)
    assert made.candidates
    for entry in made.candidates:
        assert entry.verdict.reason
        if entry.verdict.ok:
            facts = entry.candidate.facts
            assert facts.arch is machine.arch or (facts.cpu and facts.machine == machine.machine)
            assert family(facts.l4t) == family(machine.l4t) or facts.l4t is None
            assert facts.cpu or (facts.cuda is not None and facts.cuda <= ceiling(machine)), entry.verdict.reason


def family(l4t: Version | None) -> str:
    """The groups of L4T: 32.7, 35, 36 before and from 36.4, 38 with 39."""
    if l4t is None:
        return ""
    if l4t.major == 36:
        return "36.4" if l4t.minor >= 4 else "36"
    return {32: f"32.{l4t.minor}", 35: "35", 38: "7", 39: "7"}[l4t.major]


def ceiling(machine: Platform) -> Version:
    """The newest CUDA a host runs: JetPack 4 its own, 5 up to 12.2, 6 up to 12.9, others their driver's."""
    if machine.l4t and machine.arch is Arch.TEGRA:
        return {32: Version("10.2"), 35: Version("12.2"), 36: Version("12.9")}[machine.l4t.major]
    return machine.driver_cuda or Version("0")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("agx-thor-r38.2.0", PACKAGES),
        ("agx-thor-r38.4.0", PACKAGES),
        ("agx-orin-64gb-r39.2.0", PACKAGES),
        ("x86_64-debian12-cpu", PACKAGES),
        ("nano-4gb-r32.7.1", ("mlc", "llama_cpp", "vllm")),
    ],
)
def test_autotag_offers_nothing_where_nothing_was_published(name: str, packages: tuple[str, ...]) -> None:
    """JC#1557, JC#875: Thor was given images for r36, the TX2 those with CUDA 12.8."""
    assert [choice(name, package).image for package in packages] == [None] * len(packages)
    assert refusals(choice(name, "mlc").candidates)[0].startswith("nearest: dustynv/mlc:")
