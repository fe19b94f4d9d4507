"""Makes the stages of one image: chains of layers, and the compile parts they take artifacts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import CycleError, RecipeError
from jetson_containers.dockerfile import inject
from jetson_containers.plan import keys
from jetson_containers.plan.stage import Stage, StageKind, stage_image
from jetson_containers.recipes import files, shared, templating

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Artifacts, Package


class Planner:
    """Makes the stages of one request: chains that begin with the same packages share their first stages."""

    def __init__(
        self,
        platform: Platform,
        closures: Mapping[str, Sequence[Package]],
        base: str,
        *,
        base_digest: str = "",
        build_args: Mapping[str, str] | None = None,
        build_flags: Sequence[str] = (),
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self._closures = closures
        self._platform = platform
        self._user_args = build_args or {}
        self._user_flags = build_flags
        self._base = base
        self._root = f"{base}@{base_digest}" if base_digest else base
        self._artifacts: dict[str, Stage] = {}
        self._open: list[str] = []
        self._declared: dict[str, frozenset[str]] = {}
        self._packages: dict[str, Package] = {}
        self._sizes: dict[str, int] = {}  # of what a package takes from its context, in bytes

    def chain(self, packages: Sequence[Package]) -> Stage | None:
        """Add the stages of one image, bottom first; returns the topmost that has content of its own."""
        top: Stage | None = None
        for package in packages:
            if package.dockerfile is None:
                self._meta(package, top)
            else:
                top = self._layer(package, top)
        return top

    def notices(self) -> list[str]:
        """Say what recipes warn of, which contexts are large, and which arguments no Dockerfile declares."""
        found = [f"`{name}`: {package.caution}" for name, package in sorted(self._packages.items()) if package.caution]
        found += [
            f"`{name}`: {human_bytes(size)} beside its Dockerfile go into the build, and are read before every build"
            for name, size in sorted(self._sizes.items())
            if size > keys.NOTED_CONTEXT
        ]
        for name, package in sorted(self._packages.items()):
            idle = [arg for arg in sorted(package.build_args) if arg not in self._declared[name]]
            if idle and not all(map(always_taken, idle)):
                found.append(f"`{name}`: no Dockerfile of it declares {quoted(idle)}, so it has no effect")
        return found

    def _meta(self, package: Package, parent: Stage | None) -> None:
        if package.artifacts is not None:
            raise RecipeError("has `artifacts` but no Dockerfile that installs them", path=package.path)
        below = parent.key if parent else None
        key = keys.digest({"schema": keys.SCHEMA, "meta": package.name, "parent": below or self._root})
        layers = parent.layers if parent else 0
        self._add(
            Stage(
                package=package.name,
                kind=StageKind.META,
                key=key,
                parent=below,
                base=parent.image if parent else self._base,
                image=stage_image(package.name, key),
                depends=(below,) if below else (),
                layers=layers,
                definition=package,
                depth=layers,
            )
        )

    def _layer(self, package: Package, parent: Stage | None) -> Stage:
        artifact = self._artifact(package, package.artifacts) if package.artifacts else None
        part = _part(package, StageKind.LAYER, package.dockerfile or "", self._platform)
        return self._stage(part, parent, artifact)

    def _artifact(self, package: Package, artifacts: Artifacts) -> Stage:
        if package.name in self._artifacts:
            return self._artifacts[package.name]
        if package.name in self._open:
            raise CycleError(f"compiling needs itself: {' -> '.join([*self._open, package.name])}")
        self._open.append(package.name)
        parent = self.chain(self._closures.get(package.name, ()))
        self._open.pop()
        stage = self._stage(_part(package, StageKind.ARTIFACT, artifacts.dockerfile, self._platform), parent, None)
        self._artifacts[package.name] = stage
        return stage

    def _stage(self, part: _Part, parent: Stage | None, artifact: Stage | None) -> Stage:
        package = part.package
        inject.check_rights(part.text, part.path, self._user_flags)
        self._declared[package.name] = self._declared.get(package.name, frozenset()) | part.declared
        self._packages[package.name] = package
        args = self._args(part)
        key = self._key(part, args, parent, artifact)
        base = parent.image if parent else self._base
        images = {"BASE_IMAGE": base} | ({"ARTIFACT_IMAGE": artifact.image} if artifact else {})
        depth = (parent.depth if parent else 0) + part.layers
        return self._add(
            Stage(
                package=package.name,
                kind=part.kind,
                key=key,
                parent=parent.key if parent else None,
                base=base,
                image=stage_image(package.name, key),
                depends=tuple(stage.key for stage in (parent, artifact) if stage),
                layers=depth if part.kind is StageKind.LAYER else 1,  # the COPY of /artifacts
                context=package.path,
                dockerfile=part.text,
                build_args={**args, **images},
                definition=package,
                depth=depth,
            )
        )

    def _args(self, part: _Part) -> dict[str, str]:
        """Choose the arguments this Dockerfile takes; the user's win."""
        given = {**part.package.build_args, **self._user_args}
        return {name: given[name] for name in sorted(given) if name in part.declared or always_taken(name)}

    def _key(self, part: _Part, args: Mapping[str, str], parent: Stage | None, artifact: Stage | None) -> str:
        self._sizes[part.package.name] = sum(file.size for file in part.context)
        return keys.stage_key(
            package=part.package.name,
            kind=part.kind.value,
            dockerfile=part.canonical,
            context=part.context,
            args={name: value for name, value in args.items() if is_content(name, value)},
            platform=self._platform.docker_platform,
            parent=parent.key if parent else self._root,
            artifacts=[artifact.key] if artifact else [],
            flags=[*part.package.build_flags.split(), *self._user_flags],
        )

    def _add(self, stage: Stage) -> Stage:
        return self.stages.setdefault(stage.key, stage)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One Dockerfile of a package, rendered: the one that installs, or the one that compiles."""

    package: Package
    kind: StageKind
    path: Path
    text: str
    declared: frozenset[str]
    layers: int  # what building it stacks on its base

    @cached_property
    def context(self) -> tuple[keys.ContextFile, ...]:
        """What it takes from its context."""
        return context_of(self.package, self.text, self.path)

    @cached_property
    def canonical(self) -> list[list[str]]:
        """What a builder reads of it."""
        return inject.canonical(self.text, self.path)


def _part(package: Package, kind: StageKind, file: str, platform: Platform) -> _Part:
    """Read a Dockerfile, once where many plans are made of one tree."""
    return keys.remembered(package, (kind, file, platform), lambda: _read_part(package, kind, file, platform))


def _read_part(package: Package, kind: StageKind, file: str, platform: Platform) -> _Part:
    path = package.path / file
    text = recipe_text(package, path, platform)
    layers = inject.layer_count(text, path)
    if kind is StageKind.ARTIFACT:
        text = inject.render_artifact(text, path)
    return _Part(
        package=package, kind=kind, path=path, text=text, declared=inject.declared_args(text, path), layers=layers
    )


def recipe_text(package: Package, path: Path, platform: Platform) -> str:
    """Read one of a recipe's Dockerfiles; `.j2` is rendered for the platform.

    Raises RecipeError when there is no such file.
    """
    try:
        text = files.read_text(path)
    except RecipeError as error:
        error.hint = f"package `{package.name}` names it"
        raise
    if path.suffix != ".j2":
        return text
    return inject.render(text, templating.context(platform, package.version), path)


def context_of(package: Package, text: str, path: Path | None = None) -> tuple[keys.ContextFile, ...]:
    """What one of a package's Dockerfiles takes from its context, as it counts in the key. `path` is for errors."""
    return keys.context_files(
        package.path,
        text,
        definition=_definition(package),
        path=path,
        added=package.added,
        shared=shared.files_of(package),
    )


def _definition(package: Package) -> list[str]:
    """List the files that describe a package: its tests and its docs."""
    docs = package.docs.split()
    tests = (entry.split() for entry in package.test)
    return [words[0] for words in tests if words] + (
        docs if len(docs) == 1 else []
    )  # more than a word is the text itself


def always_taken(name: str) -> bool:
    """Whether a builder takes this argument without ARG; Docker leaves these out of its own cache keys as well."""
    return name in inject.PREDEFINED_ARGS or name.startswith("BUILDKIT_")


def is_content(name: str, value: str) -> bool:
    """Whether a build argument changes what is built: then it is part of the key."""
    return not always_taken(name) and not inject.is_job_number(name, value)


def quoted(names: Iterable[str]) -> str:
    """Join names for a message."""
    return ", ".join(f"`{name}`" for name in names)
