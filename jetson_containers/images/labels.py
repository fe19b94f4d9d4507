"""The labels our images carry: made and read here, and nowhere else.

An image built `FROM` one of ours inherits its labels, so a label alone proves nothing: `ours` also asks whether
the image has the name that the labels were written for, and `make` writes every label, so that a stage inherits none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.core import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.platforms.platform import Platform

PREFIX = "io.jetson-containers."
KEY = PREFIX + "key"
ROLE = PREFIX + "role"
PACKAGES = PREFIX + "packages"
PLATFORM = PREFIX + "platform"
PLAN = PREFIX + "plan"
TESTS = PREFIX + "tests"

OCI = "org.opencontainers.image."
REF_NAME = OCI + "ref.name"

FINAL = "final"  # a user's image: the only role `autotag` may answer with
STAGE = "stage"  # an intermediate stage of a chain
ARTIFACT = "artifact"  # only its /artifacts is of use
BASE = "base"  # made from the host's package sources where no registry answered


@dataclass(frozen=True, kw_only=True)
class ImageLabels:
    """What an image's labels say; empty where it carries none, or one that cannot be read."""

    key: str = ""
    role: str = ""
    packages: tuple[str, ...] = ()
    platform: Mapping[str, Any] = field(default_factory=dict)
    plan: str = ""
    tests: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""  # the reference the labels were written for
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where an image comes from, for the `org.opencontainers.image` labels."""

    revision: str = ""  # git commit of the package tree
    base: str = ""  # reference of the base image
    created: str = ""  # RFC 3339
    licenses: tuple[str, ...] = ()  # SPDX expressions of the packages


def platform_value(platform: Platform) -> dict[str, Any]:
    """Describe a platform as the `platform` label does; `distro` is `22.04` for Ubuntu, else `debian12`.

    `cuda` is null for an image without CUDA, `l4t` is null off Jetson.
    """
    ubuntu = platform.distro == "ubuntu"
    return {
        "arch": platform.arch.value,
        "l4t": str(platform.l4t) if platform.l4t else None,
        "cuda": str(platform.cuda) if platform.cuda else None,
        "python": str(platform.python),
        "distro": platform.distro_version if ubuntu else f"{platform.distro}{platform.distro_version}",
        "sm": sorted(platform.sm),
    }


def make(
    *,
    role: str,
    name: str,
    key: str,
    packages: Sequence[str],
    platform: Platform,
    plan: str = "",
    tests: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
) -> dict[str, str]:
    """All labels of a finished image; what is unknown is written empty, so that nothing is inherited.

    `name` is the reference that the image will have.
    """
    origin = provenance or Provenance()
    return {
        KEY: key,
        ROLE: role,
        PACKAGES: _dump(list(packages)),
        PLATFORM: _dump(platform_value(platform)),
        PLAN: plan,
        TESTS: _dump(dict(tests or {})),
        REF_NAME: name,
        OCI + "title": _bare(name).partition(":")[0],
        OCI + "version": packages[-1].partition(":")[2] if packages else "",
        OCI + "revision": origin.revision,
        OCI + "created": origin.created,
        OCI + "base.name": origin.base,
        OCI + "licenses": " AND ".join(sorted({text for text in origin.licenses if text})),
        OCI + "vendor": f"jetson-containers {__version__}",
    }


def of_tests(tests: Mapping[str, Any]) -> dict[str, str]:
    """The label that says how tests ended."""
    return {TESTS: _dump(dict(tests))}


def read(labels: Mapping[str, str]) -> ImageLabels:
    """Read an image's labels. Never raises: an unreadable value counts as absent."""
    packages = _load(labels.get(PACKAGES, ""), list)
    return ImageLabels(
        key=labels.get(KEY, ""),
        role=labels.get(ROLE, ""),
        packages=tuple(item for item in packages if isinstance(item, str)),
        platform=_load(labels.get(PLATFORM, ""), dict),
        plan=labels.get(PLAN, ""),
        tests=_load(labels.get(TESTS, ""), dict),
        name=labels.get(REF_NAME, ""),
        revision=labels.get(OCI + "revision", ""),
    )


def still_true(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that hold as well for another image with the same files: its platform, and what others wrote.

    Without the image's name, key, role and tests, and without what the OCI labels say of this very image.
    """
    own = {OCI + name for name in ("ref.name", "base.name", "created", "title", "version")}
    return {
        name: value
        for name, value in labels.items()
        if name == PLATFORM or not (name.startswith(PREFIX) or name in own)
    }


def is_ours(references: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether labels belong to this image or were inherited by somebody's image built on it.

    They belong when one of the image's references has the repository name and tag they were written for; the
    registry and namespace may differ, as they do after a pull.
    """
    written = labels.get(REF_NAME, "").rsplit("/", 1)[-1]
    return bool(written) and any(_bare(reference) == written for reference in references)


def _bare(reference: str) -> str:
    return reference.partition("@")[0].rsplit("/", 1)[-1]


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _load(text: str, kind: type) -> Any:
    try:
        value = json_text.parse(text) if text else kind()
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()
