"""The `depends:` grammar: `cmake`, `pytorch:2.8` (version, series or variant) or `pytorch>=2.4` (PEP 440)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from jetson_containers.core.errors import RequirementSyntaxError, command
from jetson_containers.core.text import shown
from jetson_containers.core.versions import LONGEST, pep440, specifiers

# The patterns are compiled when something is parsed: packages from an index are not.
PATTERN = r"[A-Za-z0-9_.+*?\[\]!^:-]*[*?\[][A-Za-z0-9_.+*?\[\]!^:-]*"  # `torch*`, in upstream's format only
HINT = "write `name`, `name:version` or `name>=version`"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
_VERSION = r"[A-Za-z0-9_.+-]+(?::[A-Za-z0-9_.+-]+)*"  # upstream has names such as `torchcodec:0.9-pytorch:2.9`
_NUMBER = r"b?[0-9][A-Za-z0-9_.+-]*"  # a version, and no name
_FORM = rf"({NAME})(?::({_VERSION})|\s*([<>=!~].*))?"


@dataclass(frozen=True, kw_only=True)
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
        if patterns and re.fullmatch(PATTERN, text.strip()):
            return cls(family=text.strip(), pattern=text.strip())
        return _parse(text)

    def accepts(self, version: str | None) -> bool:
        """Whether a version satisfies the PEP 440 specifier; one that is not a PEP 440 version satisfies none."""
        if not self.specifier:
            return True
        parsed = pep440(version)
        return parsed is not None and specifiers(self.specifier).contains(parsed, prereleases=True)


def is_pattern(text: str) -> bool:
    """Whether a request is a pattern over names (`torch*`)."""
    return not is_range(text) and any(character in text for character in "*?[")


def is_range(text: str) -> bool:
    """Whether a text is a name with a PEP 440 range, valid or not. A `*` in it does not make it a pattern.

    >>> is_range("pytorch==2.5.*"), is_range("py[!t]*")
    (True, False)
    """
    return re.match(rf"{NAME}\s*[<>=!~]", text.strip()) is not None


def _hint(text: str) -> str:
    """How it is written.

    `name@1.2` of npm, `name=1.2` of apt and conda, and `name 1.2` mean a version. Several names in one, or a folder or
    the owner of an image before the name, are named as such.
    """
    text = text.strip()
    if not text:
        return f"a variable may be empty; {HINT}"
    if len(text) > LONGEST:
        return HINT
    if version := re.fullmatch(rf"({NAME}?)\s*(?:[@=]\s*v?({_VERSION})|[,/ ]\s*v?({_NUMBER}))", text):
        return f"did you mean `{version[1]}:{version[2] or version[3]}`?"
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    if len(words) > 1 and all(re.fullmatch(_FORM, word) for word in words):
        return f"several names are separate words, without quotes or commas: {command(*words)}"
    last = text.rstrip("/").rpartition("/")[2]
    return f"did you mean `{last}`?" if last != text and re.fullmatch(_FORM, last) else HINT


@lru_cache(maxsize=4096)
def _parse(text: str) -> Dependency:
    match = re.fullmatch(_FORM, text.strip()) if len(text) <= 2 * LONGEST else None
    if match is None or len(match[1]) > LONGEST or len(match[2] or "") > LONGEST:
        raise RequirementSyntaxError(f"`{shown(text)}` is not a package name or version range", hint=_hint(text))
    family, version, specifier = match.groups()
    if specifier is None:
        return Dependency(family=family, version=version)
    try:
        specifiers(specifier)
    except ValueError:  # InvalidSpecifier is one
        raise RequirementSyntaxError(
            f"`{text}`: `{specifier}` is not a valid version specifier (PEP 440)", hint=_hint(text)
        ) from None
    return Dependency(family=family, version=None, specifier=re.sub(r"\s+", "", specifier))
