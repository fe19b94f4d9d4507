"""The configuration file of Docker's engine: where it lies, and what is in it."""

from __future__ import annotations

from typing import Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import ConfigError, command

PLACE = "/etc/docker/daemon.json"
SNAP_PLACE = "/var/snap/docker/current/config/daemon.json"
SNAP_DATA = "/var/snap/docker/"  # the data-root of an engine from snap lies below it
OBJECTS = ("runtimes", "log-opts")  # members that are read here and have members of their own


def place_of(data_root: str, home: str) -> str:
    """The file that an engine reads, by its data-root: one from snap, and one without root, have their own."""
    if data_root.startswith(SNAP_DATA):
        return SNAP_PLACE
    if data_root.endswith("/.local/share/docker"):
        return f"{home}/.config/docker/daemon.json"
    return PLACE


def parse(text: str, place: str = PLACE) -> dict[str, Any]:
    """Read the file's text; empty, or null for a member, is as if nothing were there.

    Raises ConfigError for what the engine would refuse.
    """
    hint = command("python3", "-m", "json.tool", place) + " shows the place"
    try:
        options = json_text.parse(text if text.strip() else "{}")
    except ValueError as error:
        raise ConfigError(f"{place}: is not valid JSON: {error}", hint=hint) from error
    if not isinstance(options, dict):
        raise ConfigError(f"{place}: must be an object", hint="make it {} to begin anew")
    for name in OBJECTS:
        if options.get(name) is None:
            options.pop(name, None)
        elif not isinstance(options[name], dict):
            raise ConfigError(f"{place}: `{name}` must be an object", hint="take it out, or write it as {}")
    return options
