"""The `depends:` grammar: `cmake`, `pytorch:2.8` (version, series or variant) or `pytorch>=2.4` (PEP 440)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.recipes.files import shown

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

PATTERN = re.compile(r"[A-Za-z0-9_.+*?\[\]!^:-]*[*?\[][A-Za-z0-9_.+*?\[\]!^:-]*")  # `torch*`, in upstream's format only
HINT = "write `name`, `name:version` or `name>=version`"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
LONGEST = 128  # characters of a name, version or range; Python itself cannot read a number of 5000 digits
_VERSION = r"[A-Za-z0-9_.+-]+(?::[A-Za-z0-9_.+-]+)*"  # upstream has names such as `torchcodec:0.9-pytorch:2.9`
_FORM = re.compile(rf"({NAME})(?::({_VERSION})|\s*([<>=!~].*))?")


@dataclass(frozen=True)
class Dependency:
    """One `depends:` entry: `cmake`, `pytorch:2.8` (version, series or variant) or `pytorch>=2.4` (PEP 440)."""

    family: str
    version: str | None = None  # after the colon
    specifier: str = ""  # PEP 440
    pattern: str = ""  # of upstream's format, where nothing here matches it

    def __str__(self) -> str:
        if self.pattern:
            return self.pattern
        return f"{self.family}:{self.version}" if self.version else f"{self.family}{self.specifier}"

    @classmethod
    def parse(cls, text: str, *, patterns: bool = False) -> Dependency:
        """Parse one entry, with `patterns` also one such as `torch*`. Raises RequirementSyntaxError."""
        if patterns and PATTERN.fullmatch(text.strip()):
            return cls(text.strip(), pattern=text.strip())
        return _parse(text)

    def accepts(self, version: str | None) -> bool:
        """Whether a version satisfies the PEP 440 specifier; one that is no PEP 440 version satisfies none."""
        if not self.specifier:
            return True
        parsed = pep440(version)
        return parsed is not None and _specifiers(self.specifier).contains(parsed, prereleases=True)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Dependency:
    match = _FORM.fullmatch(text.strip()) if len(text) <= 2 * LONGEST else None
    if match is None or len(match[1]) > LONGEST or len(match[2] or "") > LONGEST:
        raise RequirementSyntaxError(f"`{shown(text)}` is no package name or version range", hint=HINT)
    family, version, specifier = match.groups()
    if specifier is None:
        return Dependency(family, version)
    try:
        _specifiers(specifier)
    except ValueError:  # InvalidSpecifier is one
        raise RequirementSyntaxError(f"`{text}`: `{specifier}` is no PEP 440 version range", hint=HINT) from None
    return Dependency(family, None, re.sub(r"\s+", "", specifier))


@lru_cache(maxsize=1024)
def _specifiers(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)


@lru_cache(maxsize=4096)
def pep440(version: str | None) -> Version | None:
    """Parse a version as PEP 440; None where it is none (`b9016`, `humble-desktop`), or too long to be one."""
    try:
        return Version(version) if version and len(version) <= LONGEST else None
    except ValueError:  # InvalidVersion is one; so is what Python says to a number of too many digits
        return None


def same_version(asked: str, version: str | None) -> bool:
    """Whether a version is the one that was asked for, however it is spelled: `2.5` is `2.5.0`."""
    wanted = pep440(asked)
    return asked == version or (wanted is not None and wanted == pep440(version))


def in_series(asked: str, version: str | None) -> bool:
    """Whether a version belongs to the series that plain numbers name: `2.5.1` and `2.5.0.post1` belong to `2.5`.

    As `==2.5.*` in PEP 440, so `2.50` does not belong to it.
    """
    found = pep440(version)
    if found is None or not re.fullmatch(r"\d+(?:\.\d+)*", asked):
        return False
    return _specifiers(f"=={asked}.*").contains(found, prereleases=True)


@lru_cache(maxsize=4096)
def version_key(version: str | None) -> tuple[object, ...]:
    """Sort key, oldest first: no version, then other text by its numbers (`b999` < `b9016`), then PEP 440."""
    if version is None:
        return (0,)
    parsed = pep440(version)
    if parsed is not None:
        return (2, parsed, version)
    parts = re.split(r"([0-9]+)", version[:LONGEST])
    return (1, tuple((int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)), version)
