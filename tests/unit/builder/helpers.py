"""Plans and an engine for the tests of the builder."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetson_containers.builder import run
from jetson_containers.core.console import Console
from jetson_containers.images import labels
from jetson_containers.plan.plan import BuildPlan
from jetson_containers.plan.stage import Stage, StageKind
from jetson_containers.platforms.platform import Arch
from jetson_containers.recipes.package import Package
from tests import example_platforms
from tests.fakes import FakeEngine

PLATFORM = example_platforms.without_gpu(Arch.X86_64, "ubuntu", "22.04", "3.11")


GIB = 1024**3


def package(name: str, **changes: Any) -> Package:
    family, _, version = name.partition(":")
    values: dict[str, Any] = {"path": Path("/packages") / family, "dockerfile": "Dockerfile", **changes}
    return Package(name=name, family=family, version=version or None, variant=None, **values)


def stage(name: str, *depends: Stage, parent: Stage | None = None, key: str = "", **changes: Any) -> Stage:
    """A layer on `parent` (or the base image); further stages it needs in `depends`."""
    definition = changes.pop("definition", None) or package(name, **changes.pop("package", {}))
    slug = name.replace(":", "-")
    values: dict[str, Any] = {
        "kind": StageKind.LAYER,
        "key": f"sha256:{key or slug}",
        "parent": parent.key if parent else None,
        "base": parent.image if parent else "base:1",
        "image": f"jetson-containers/stage:{key or slug}",
        "depends": tuple(other.key for other in (*([parent] if parent else []), *depends)),
        "layers": 1,
        "context": Path("/packages"),
        "dockerfile": "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
        "definition": definition,
        **changes,
    }
    return Stage(package=name, **values)


def plan(*stages: Stage, final: str = "") -> BuildPlan:
    name = stages[-1].package
    packages = tuple(s.package for s in stages if s.kind is not StageKind.ARTIFACT)
    return BuildPlan(
        platform=PLATFORM,
        request=(name,),
        stages=stages,
        final=final or f"{name.split(':')[0]}:1-x86_64-cpu",
        layers=len(stages),
        base="base:1",
        packages=packages,
    )


def chain(*names: str, tests: tuple[str, ...] = (), final: str = "") -> BuildPlan:
    """A plan of layers one on another."""
    stages: list[Stage] = []
    for name in names:
        stages.append(stage(name, parent=stages[-1] if stages else None, package={"test": tests}))
    return plan(*stages, final=final)


@dataclass
class Site:
    """Everything a run needs, with an engine that remembers between runs."""

    directory: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    err: io.StringIO = field(default_factory=io.StringIO)
    out: io.StringIO = field(default_factory=io.StringIO)

    def run(self, *plans: BuildPlan, **changes: Any) -> run.BuildReport:
        values = {"log_dir": self.directory / "logs", "cores": 4, "memory": 8 * GIB, "env": {}, "disk_per_stage": 0}
        console = Console(out=self.out, err=self.err, env={})
        return run.run(plans, self.engine, run.BuildOptions(**{**values, **changes}), console)

    def built(self) -> list[str]:
        """Tags built since the last time this was asked."""
        tags = [tag.removeprefix("jetson-containers/stage:") for tag in self.engine.tags_built]
        self.engine.requests.clear()
        return tags

    def said(self) -> str:
        text = self.err.getvalue()
        self.err.truncate(0)
        self.err.seek(0)
        return text

    def label(self, reference: str) -> labels.ImageLabels:
        image = self.engine.image(reference)
        assert image is not None
        return labels.read(image.labels)

    def logs(self) -> Path:
        return (self.directory / "logs" / "latest").resolve()


def states(report: run.BuildReport) -> dict[str, str]:
    return {entry.package: entry.state for entry in report.stages}


def results_of(report: run.BuildReport) -> dict[str, str]:
    return {entry.package: entry.tests for entry in report.stages}


BUILDKIT_CACHED = """#4 [1/3] FROM docker.io/library/base:1
#4 CACHED
#5 [jetson-artifacts 2/3] RUN make
#5 CACHED
#6 [3/3] COPY a b
#6 DONE 0.1s"""


BUILDKIT_HALF = """#4 [1/3] FROM docker.io/library/base:1
#4 CACHED
#5 [2/3] RUN apt-get update
#5 CACHED
#6 [3/3] RUN make
#6 0.3 CACHED
#6 DONE 3.0s"""


BUILDKIT_NEW = """#4 [1/2] FROM docker.io/library/base:1
#4 CACHED
#6 [internal] load build context
#6 CACHED
#5 [2/2] RUN make
#5 0.3 #7 CACHED
#5 DONE 3.0s"""


LEGACY_CACHED = """Step 1/3 : FROM base:1
 ---> 0123456789ab
Step 2/3 : RUN make
 ---> Using cache
 ---> 1123456789ab
Step 3/3 : LABEL a=b
 ---> Running in 2123456789ab"""
