"""The challenge a registry answers 401 with.

Source: the Distribution project's token specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CHALLENGE = re.compile(r'\b(Bearer|Basic)\s+((?:[\w-]+="[^"]*"(?:\s*,\s*)?)*)', re.IGNORECASE)
_PARAMETER = re.compile(r'([\w-]+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How a registry wants to be asked: `scheme` is "bearer" or "basic"."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenge(header: str) -> Challenge | None:
    """Read WWW-Authenticate; Bearer wins when several are offered, None when there is none we know."""
    found = {}
    for scheme, parameters in _CHALLENGE.findall(header):
        values = {key.lower(): value for key, value in _PARAMETER.findall(parameters)}
        found[scheme.lower()] = Challenge(
            scheme=scheme.lower(),
            realm=values.get("realm", ""),
            service=values.get("service", ""),
            scope=values.get("scope", ""),
        )
    return found.get("bearer") or found.get("basic")
