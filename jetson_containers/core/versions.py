"""Versions as PEP 440 has them, and the order of those that are written otherwise."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

LONGEST = 128  # characters of a name, version or range; Python itself cannot read a number of 5000 digits


@lru_cache(maxsize=1024)
def specifiers(text: str) -> SpecifierSet:
    """Parse a PEP 440 range such as `>=2.4`. Raises ValueError."""
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
    if found is None or len(asked) > LONGEST or not re.fullmatch(r"[0-9]+(?:\.[0-9]+)*", asked):
        return False
    return specifiers(f"=={asked}.*").contains(found, prereleases=True)


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
