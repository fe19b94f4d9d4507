"""The command line of `run`: our options separated from docker's, and secrets taken out of the argv."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.secrets import is_secret
from jetson_containers.launch import docker_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.launch.docker_options import Group, RunLine

OWN = {
    "dry-run": False,
    "no-gpu": False,
    "least": False,
    "camera": False,
    "docker-socket": False,
    "podman": False,
    "verify": True,
    "data": True,
    "csi2webcam": False,
    "csi-capture-res": True,
    "csi-output-res": True,
}
"""Options of `run` that docker never sees: name → takes a value."""

GLOBAL = {"target": True, "json": False, "offline": False, "packages": True, "package-dirs": True, "verbose": False}
"""Global options that docker has no use for; `-q`, `--quiet` and `-v` before IMAGE are docker's own."""

_RESOLUTION = re.compile(r"([0-9]+)x([0-9]+)@([0-9]+)")
# REPOSITORY:TAG or a digest, with a folder: programs have no such names.
_SECOND_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(?::[0-9]+)?(?:/[a-z0-9][a-z0-9._-]*)+(?::[\w][\w.-]*|@sha256:[0-9a-f]{64})"
)
_EXAMPLE = "./run.sh $(./autotag llama_cpp) llama-cli --version"


@dataclass(frozen=True)
class Webcam:
    """What upstream's `--csi2webcam` asks for: the CSI camera as an ordinary /dev/video; WIDTHxHEIGHT@FPS."""

    capture: str = "1640x1232@30"
    output: str = "1280x720@30"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A command line of `run`, taken apart. `line` is what docker gets of it, before secrets are taken out."""

    line: RunLine
    dry_run: bool = False
    no_gpu: bool = False
    least: bool = False
    camera: bool = False
    docker_socket: bool = False
    podman: bool = False
    verify: str | None = None  # file of the public key that must have signed the image
    data: Path | None = None
    webcam: Webcam | None = None
    user: str = ""  # who runs it with `--least`, UID:GID; "": the image's own user
    written: tuple[str, ...] | None = None  # folders below /data that may be written; None: all of it
    globals: dict[str, Any] = field(default_factory=dict)

    @property
    def asks_for_help(self) -> bool:
        """Whether the first option of the line, but for ours, asks for help."""
        return bool(self.line.groups) and self.line.groups[0].words[0] in {"-h", "--help"}

    @property
    def image(self) -> str:
        """The image. Raises UsageError when there is none, or what stands there can be none."""
        image = self.line.image
        if not image:
            raise UsageError(
                "no image to run",
                hint=f"name one, for instance `{_EXAMPLE}`; where `autotag` found no image, it printed nothing "
                "in its place: run it alone to see why",
            )
        if image[0] in "/.-" or re.search(r"\s", image):
            raise UsageError(
                f"`{image}` cannot be an image",
                hint=f"the image comes before the command, as in `{_EXAMPLE}`; where `autotag` found no image, "
                "nothing stands there",
            )
        return image


def is_bare(image: str) -> bool:
    """Whether a word without tag, digest and folder stands for the image: it may well be the command."""
    return not set(image) & set("/:@")


# What tutorials start in containers and a host need not have. No registry has images of these bare names.
_IN_IMAGES = frozenset({"jupyter", "jupyter-lab", "llama-cli", "llama-server", "mlc_llm", "nvcc", "nvidia-smi", "ros2",
                        "roslaunch", "tegrastats", "torchrun", "trtexec", "vllm"})  # fmt: skip


def is_command(word: str) -> bool:
    """Whether a word in the image's place is a program: one of this machine, or one that runs in containers."""
    return is_bare(word) and (word in _IN_IMAGES or shutil.which(word) is not None)


def seems_image(words: Sequence[str]) -> bool:
    """Whether the first word after the image looks like one more image: `$(autotag …)` twice, or two references.

    >>> seems_image(["dustynv/mlc:r36.4.0"]), seems_image(["./bin/x:1"]), seems_image(["python3"]), seems_image([])
    (True, False, False, False)
    """
    return bool(words) and _SECOND_IMAGE.fullmatch(words[0]) is not None


def parse(args: Sequence[str]) -> RunRequest:
    """Tell our options from docker's. Ours count only before IMAGE and before `--`. Raises UsageError.

    `-h` alone asks for help; before an image it is docker's option for the name of the host.
    """
    args = ["--help"] if list(args) == ["-h"] else args
    whole = docker_options.parse(args, {**OWN, **GLOBAL})
    mine = docker_options.RunLine(groups=tuple(group for group in whole.groups if _is_ours(group)))
    theirs = tuple(group for group in whole.groups if not _is_ours(group))
    data = mine.last("data")
    if data == "":
        raise UsageError("`--data` needs a directory", hint="for instance `--data ~/data`")
    if mine.last("verify") == "":
        raise UsageError("`--verify` needs a public key", hint="for instance `--verify cosign.pub`")
    return RunRequest(
        line=docker_options.RunLine(groups=theirs, image=whole.image, command=whole.command),
        dry_run=mine.is_on("dry-run"),
        no_gpu=mine.is_on("no-gpu"),
        least=mine.is_on("least"),
        camera=mine.is_on("camera"),
        docker_socket=mine.is_on("docker-socket"),
        podman=mine.is_on("podman"),
        verify=mine.last("verify"),
        data=Path(data).expanduser() if data else None,
        webcam=_webcam(mine),
        globals=_globals(mine),
    )


def hide_secrets(line: RunLine) -> tuple[RunLine, dict[str, str]]:
    """Turn `-e NAME=secret` into `-e NAME`, with the value for docker's environment; all else stays as it is."""
    hidden: dict[str, str] = {}
    groups = []
    for group in line.groups:
        option = group.options[-1]
        name, equals, value = (option.value or "").partition("=")
        if option.name == "env" and name and value and is_secret(name, value):
            hidden[name] = value
            groups.append(group.with_value(name))
        else:
            if option.name == "env" and not equals:
                hidden.pop(name, None)  # `-e NAME` after `-e NAME=secret`: docker's last one wins
            groups.append(group)
    return docker_options.RunLine(groups=tuple(groups), image=line.image, command=line.command), hidden


def _is_ours(group: Group) -> bool:
    """Whether a group is one of our options; after `--` the same spelling is an unknown option of docker's."""
    return any(option.known and (option.name in OWN or option.name in GLOBAL) for option in group.options)


def _webcam(mine: RunLine) -> Webcam | None:
    chosen = {}
    for option, name in (("csi-capture-res", "capture"), ("csi-output-res", "output")):
        if (value := mine.last(option)) is None:
            continue
        if not _RESOLUTION.fullmatch(value):
            raise UsageError(
                f"`--{option}={value}` is not a resolution", hint="WIDTHxHEIGHT@FPS, for instance 1280x720@30"
            )
        chosen[name] = value
    return Webcam(**chosen) if mine.is_on("csi2webcam") or chosen else None


def _globals(mine: RunLine) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, valued in GLOBAL.items():
        key = "as_json" if name == "json" else name.replace("-", "_")
        if mine.has(name):
            values[key] = mine.last(name) if valued else mine.is_on(name)
    if dirs := mine.values("package-dirs"):
        values["package_dirs"] = tuple(dirs)
    return values
