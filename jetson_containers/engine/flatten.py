"""One layer instead of many: the instructions that give an image that was imported its configuration again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jetson_containers.dockerfile.inject import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOTFS = "rootfs.tar"


def instructions(config: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Write what `docker import --change` takes; `config` is what docker inspect says of the image.

    Environment, user, directory, ports, volumes, entry point and command are the same, `labels` are those given;
    history and health check go.
    """
    lines = [f"LABEL {quoted(name)}={quoted(value)}" for name, value in sorted(labels.items())]
    for entry in config.get("Env") or ():
        name, _, value = entry.partition("=")
        lines.append(f"ENV {name}={quoted(value)}")
    lines += [f"EXPOSE {port}" for port in sorted(config.get("ExposedPorts") or {})]
    lines += [f"VOLUME {json.dumps([path])}" for path in sorted(config.get("Volumes") or {})]
    lines += [f"WORKDIR {config['WorkingDir']}"] if config.get("WorkingDir") else []
    lines += [f"USER {config['User']}"] if config.get("User") else []
    for key, keyword in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
        if config.get(key):
            lines.append(f"{keyword} {json.dumps(config[key], ensure_ascii=False)}")
    return lines
