"""Notices on a container's command as tutorials write it: what will go wrong, and what was meant.

The command itself is the user's and passes through unchanged.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.launch.parts import Notice, NoticeSeverity
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.launch.command import Launch
    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.platforms.platform import Platform

_OLD_BUILD = re.compile(r"\bmlc_llm\.build\b")
_NEW_COMMAND = re.compile(r"\bmlc_llm (?:convert_weight|gen_config|compile)\b")
_OLD_SPELLING = re.compile(r"\b(q4f16_awq|cutlass_(?:attn|norm)=[0-9]|sliding_window=[0-9]+)")
_RELATIVE_OUTPUT = re.compile(r"(?:-o|--output|--artifact-path)[ =]\"?(?:\./)?(dist/\S*|dist\b)")
_FLASH_ATTENTION = "--use-flash-attn-mqa"
_FLASH = re.compile(rf"(?<!\S){_FLASH_ATTENTION}\b")
_LINK = re.compile(r"\bln -s \S[^;&|]*?(/data/[^\s'\";&|]+)")
_MLC_FOLDERS = re.compile(r"/data/(models/mlc/dist/(?:models|libs))/")


def with_hints(launch: Launch, line: RunLine, platform: Platform) -> Launch:
    """The same start with notices on its command: MLC's two interfaces, its kernels, lost paths, links.

    `line` is the parsed line of the user, `platform` the machine's. The folders below /data that the command takes for
    granted are made too.
    """
    text = " ".join(launch.command)
    notices: list[Notice] = []
    if "mlc_llm" in text:
        notices += _mlc(launch.image, text)
        notices += _kernels(text, platform)
        notices += _relative(line, text)
    if "git clone https://huggingface.co/" in text:
        notices.append(
            Notice(
                text="`git clone` of a model needs git-lfs in the image, and fetches everything twice; "
                "`huggingface-downloader ORG/MODEL` prints where it put the model",
                severity=NoticeSeverity.INFO,
            )
        )
    if re.search(r"\bln -\w+ \$\(huggingface-downloader", text):
        notices.append(
            Notice(
                text="`ln` succeeds even if the download in `$(…)` failed; check the output of huggingface-downloader",
                severity=NoticeSeverity.INFO,
            )
        )
    if launch.data is not None:
        notices += _links(text, launch.data)
    return replace(launch, notices=(*launch.notices, *notices), folders=folders(launch.command))


def folders(command: Sequence[str]) -> tuple[str, ...]:
    """Directories below /data, relative to it, that MLC's tutorials take for granted and their commands do not make."""
    return tuple(sorted({found[1] for found in _MLC_FOLDERS.finditer(" ".join(command))}))


def _mlc(image: str, text: str) -> list[Notice]:
    """The interface the command is written for, and the one of the image, where its name tells."""
    old = _is_old(image)
    found = []
    if old is False and _OLD_BUILD.search(text):
        found.append(
            Notice(
                text="this image has the newer MLC: `mlc_llm convert_weight`, `gen_config` and `compile` replaced "
                "`python3 -m mlc_llm.build`",
                hint=f"`{_as_llm(text)}` does what was meant",
            )
        )
    if old is True and _NEW_COMMAND.search(text):
        found.append(
            Notice(
                text="this image has the MLC of JetPack 5: `python3 -m mlc_llm.build` does all three steps there",
                hint=f"`{_as_llm(text)}` does what was meant",
            )
        )
    if old is not True and (spelling := _OLD_SPELLING.search(text)):
        found.append(
            Notice(
                text=f"`{spelling[1]}` is an older spelling that MLC refuses now",
                hint=f"use `{_today(spelling[1])}`",
            )
        )
    return found


def _kernels(text: str, platform: Platform) -> list[Notice]:
    """What the command asks for that has no kernels for the machine's GPU."""
    from jetson_containers.llm.runtimes.mlc import runtime

    sm = runtime.newest_sm(platform)
    if not 0 < sm < runtime.OLDEST_CUTLASS:
        return []
    asked = [found for found in (_option(text, "--quantization"), _FLASH.search(text) and _FLASH_ATTENTION) if found]
    lacking = [f"`{each}`" for each in asked if each == _FLASH_ATTENTION or "_ft" in each]
    if not lacking:
        return []
    device = tables.gpu_name(sm) or "this device"
    return [
        Notice(
            text=f"{' and '.join(lacking)}: no kernels for the GPU of this machine ({device}, compute capability "
            f"{sm / 10:.1f}; they need {runtime.OLDEST_CUTLASS / 10:.1f})",
            hint="use `--quantization q4f16_1`, with --no-cutlass-attn --no-cutlass-norm in the MLC of JetPack 5",
        )
    ]


def _is_old(image: str) -> bool | None:
    """Whether an image of MLC has the old interface; None where its name does not tell."""
    from jetson_containers.core.errors import UsageError
    from jetson_containers.images.name import ImageName
    from jetson_containers.llm.runtimes.mlc import runtime

    try:
        name = ImageName.parse(image)
    except UsageError:
        return None
    if "mlc" not in name.name:
        return None
    if name.version:
        return runtime.is_old(name.version)
    return name.platform.l4t.major == runtime.OLDEST_L4T if name.platform.l4t else None


def _as_llm(text: str) -> str:
    """The same with our own command, as far as the options tell."""
    model = _option(text, "--model") or _option(text, "convert_weight") or "MODEL"
    words = ["jetson-containers", "llm", "compile", model.rstrip("/"), "--runtime", "mlc"]
    for their_option, our_option in (
        ("--quantization", "--quantization"),
        ("--max-seq-len", "--context"),
        ("--context-window-size", "--context"),
    ):
        if value := _option(text, their_option):
            words += [our_option, value]
    return shlex.join(words)


def _option(text: str, name: str) -> str:
    found = re.search(rf"(?:^|\s){re.escape(name)}[ =]([^\s'\"]+)", text)
    return found[1] if found else ""


def _today(spelling: str) -> str:
    name, equals, value = spelling.partition("=")
    return {"q4f16_awq": "q4f16_autoawq", "sliding_window": "sliding_window_size"}.get(name, "cutlass") + equals + value


def _relative(line: RunLine, text: str) -> list[Notice]:
    """Results in the container's own file system are deleted with it."""
    found = _RELATIVE_OUTPUT.search(text)
    if not found or line.has("workdir") or re.search(r"\bcd\s+/data\b", text):
        return []
    return [
        Notice(
            text=f"`{found[1]}` is relative to the container's working directory and is lost with the container",
            hint="use `--workdir /data/models/mlc` before the image to keep it",
        )
    ]


def _links(text: str, data: Path) -> list[Notice]:
    """A second `ln -s` over a link fails, or puts the new link inside the directory that the old one names."""
    found = []
    for match in _LINK.finditer(text):
        path = data / match[1].removeprefix("/data/")
        if os.path.lexists(path) and not match[1].endswith("/"):
            found.append(Notice(text=f"{path} exists already, and `ln -s` does not replace it", hint="use `ln -sfn`"))
    return found
