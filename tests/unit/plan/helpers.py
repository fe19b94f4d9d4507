"""What tests of plan share: helpers and examples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetson_containers.plan.plan import (
    BuildPlan,
    PlanOptions,
    make,
)
from jetson_containers.recipes.package import Artifacts, Package
from jetson_containers.resolver.solve import Resolution
from tests import example_platforms
from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


GOLDEN = UNIT_DIR / "golden" / "plan"


ORIN = replace(example_platforms.ORIN_TARGET, board="orin-nx-16gb", memory=16 << 30)


HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


INSTALLS = "ARG ARTIFACT_IMAGE\nARG BASE_IMAGE\nFROM ${ARTIFACT_IMAGE} AS artifact\nFROM ${BASE_IMAGE}\n"


INSTALLS += "COPY --from=artifact /artifacts/ /\n"


class Tree:
    """A package tree on disk, and resolutions over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: dict[str, Package] = {}

    def add(self, name: str, text: str | None = HEAD + "RUN true\n", **fields: Any) -> Package:
        family, _, version = name.partition(":")
        files: Mapping[str, str] = {"Dockerfile": text, **fields.pop("files", {})} if text else {}
        folder = self.root / family
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        package = Package(
            name=name,
            family=family,
            version=version or None,
            variant=None,
            path=folder,
            dockerfile="Dockerfile" if text else None,
            **fields,
        )
        self.packages[name] = package
        return package

    def compiled(self, name: str, build: str = HEAD + "RUN make\n", **fields: Any) -> Package:
        files = {"Dockerfile.build": build, **fields.pop("files", {})}
        return self.add(name, INSTALLS, files=files, artifacts=Artifacts("Dockerfile.build"), **fields)

    def solved(self, *names: str, closures: Mapping[str, tuple[str, ...]] | None = None, **fields: Any) -> Resolution:
        chosen = tuple(self.packages[name] for name in names)
        built = {name: tuple(self.packages[n] for n in below) for name, below in (closures or {}).items()}
        return Resolution(
            requested=fields.pop("requested", names[-1:]), packages=chosen, depends={}, build_closures=built, **fields
        )

    def plan(self, *names: str, closures: Mapping[str, tuple[str, ...]] | None = None, **options: Any) -> BuildPlan:
        extra = {key: options.pop(key) for key in ("base_digest",) if key in options}
        platform = options.pop("platform", ORIN)
        given_options = PlanOptions(**{"base": "ubuntu:22.04", **options})
        return make(self.solved(*names, closures=closures), platform, given_options, **extra)
