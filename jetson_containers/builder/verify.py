"""Tests that a build has deferred, run in a finished image on the board, and a report of them to share.

An image built by emulation or on a machine without a GPU says in its `tests` label which tests were deferred. They are
those of the recipes here; where a script is another one than at the build, all tests of its package run again.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.builder import package_tests
from jetson_containers.builder.graph import Node
from jetson_containers.builder.store import Store
from jetson_containers.core.errors import JetsonError, UsageError
from jetson_containers.images import labels
from jetson_containers.plan.plan import BuildPlan
from jetson_containers.plan.stage import Stage, StageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jetson_containers.builder.logs import RunLogs
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import Engine, LocalImage
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package

UNKNOWN = "unknown"  # of a package whose recipe is not here


@dataclass(frozen=True, kw_only=True)
class ImageVerification:
    """What was found of one image. `packages`: the record of each, as its `tests` label holds it now.

    `status`: the worst of them; `ran`: those whose tests ran now.
    """

    image: str
    id: str
    status: str
    built_for: Mapping[str, Any]
    board: Mapping[str, Any]
    packages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ran: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report to share: nothing of this machine but what kind it is."""
        return {
            "schema": 1,
            "image": self.image,
            "id": self.id,
            "status": self.status,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "version": __version__,
            "built_for": dict(self.built_for),
            "board": dict(self.board),
            "ran": list(self.ran),
            "packages": {name: dict(record) for name, record in self.packages.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """What verifying takes. `find` gives the recipe of a package's name, or None; `platform` is that of the image."""

    engine: Engine
    options: BuildOptions
    logs: RunLogs
    console: Console
    platform: Platform
    find: Callable[[str], Package | None]

    def verify(self, reference: str, image: LocalImage, *, everything: bool = False) -> ImageVerification:
        """Run what was deferred (with `everything`, all tests) and write the results on the image.

        Raises UsageError for an image that is not one of ours.
        """
        said = labels.read(image.labels)
        if said.role not in {labels.FINAL, labels.STAGE} or not labels.is_ours(image.references, image.labels):
            raise UsageError(
                f"`{reference}` was not built by jetson-containers, so it has no tests of packages",
                hint="`jetson-containers test IMAGE` checks images from elsewhere",
            )
        records: dict[str, Mapping[str, Any]] = {}
        ran = []
        for number, package in enumerate(said.packages, 1):
            before = package_tests.of_package(said.tests, package)
            node = self._node(package, said, number)
            if node is None:
                records[package] = before or {"status": UNKNOWN, "reason": "its recipe is not in this checkout"}
                continue
            options = replace(self.options, tests="all") if everything else self.options
            if not package_tests.due(node, options, before):
                records[package] = before or package_tests.not_run(node, package_tests.PENDING)
                continue
            self.console.info(f"{package}: running its tests in {reference}")
            records[package] = self._run(node, reference)
            ran.append(package)
        if ran:
            self._write(reference, image, said, records)
        shown = {name: self._redacted(record) for name, record in records.items()}
        return ImageVerification(
            image=reference,
            id=image.id,
            status=str(package_tests.of_image(records)["status"]),
            built_for=said.platform,
            board=_described(self.platform, self.options),
            packages=shown,
            ran=tuple(ran),
        )

    def _node(self, package: str, said: labels.ImageLabels, number: int) -> Node | None:
        """The stage of a package as far as its tests need it."""
        definition = self.find(package)
        if definition is None:
            return None
        stage = Stage(
            package=package, kind=StageKind.LAYER, key=said.key, parent=None, base="", image="", depends=(), layers=0,
            definition=definition,
        )  # fmt: skip
        plan = BuildPlan(
            platform=self.platform, request=(package,), stages=(stage,), final=said.name, layers=0, base="",
            packages=said.packages,
        )  # fmt: skip
        return Node(stage=stage, plan=plan, number=number, packages=said.packages, last=True)

    def _run(self, node: Node, reference: str) -> Mapping[str, Any]:
        package = node.stage.package
        bench = package_tests.Bench(
            engine=self.engine,
            options=self.options,
            logs=self.logs,
            platform=None,
            on_line=lambda line: self.console.detail(f"{package} | {line}"),
            where="verify",
        )
        results = package_tests.run(node, reference, bench)
        for result in results:
            self.console.info(f"{package}: {result.command}: {result.status}{result.reason and f' ({result.reason})'}")
        return package_tests.record(node, results, self.options)

    def _write(
        self, reference: str, image: LocalImage, said: labels.ImageLabels, records: Mapping[str, Mapping[str, Any]]
    ) -> None:
        tests = package_tests.of_image(records) if said.role == labels.FINAL else records[said.packages[-1]]
        try:
            Store(self.engine).relabel(reference, {**image.labels, **labels.of_tests(tests)})
        except JetsonError as error:
            self.console.warning(f"the results are not written on the image: {error.message}", error.hint)

    def _redacted(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record whose reasons, which are lines of programs, hold no secret of the environment."""
        results = [
            {**entry, "reason": self.logs.redact(str(entry["reason"]))} if entry.get("reason") else entry
            for entry in record.get("results", ())
        ]
        return {**record, **({"results": results} if results else {})}


def _described(platform: Platform, options: BuildOptions) -> dict[str, Any]:
    return {
        "board": platform.board,
        "soc": platform.soc,
        "l4t": str(platform.l4t) if platform.l4t else None,
        "driver_cuda": str(platform.driver_cuda) if platform.driver_cuda else None,
        "arch": platform.arch.value,
        "gpu": package_tests.gives_gpu(options),
    }
