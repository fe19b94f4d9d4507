"""What an image must hold to run on a board, checked without a GPU: libraries, GPU code, imports.

A test that exits 77 because there is no GPU says nothing about the image. This check does: it runs
`container_scripts/image_check` in the image and judges what it prints. A library that only the host's driver brings
may be missing; everything else may not.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import NotReadyError
from jetson_containers.core.text import printable
from jetson_containers.launch import least
from jetson_containers.platforms.cuda import class_of
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.version import Version

    from jetson_containers.engine.interface import Engine
    from jetson_containers.platforms.platform import Platform

SCRIPTS = Path(__file__).parents[1] / "container_scripts" / "image_check"
MOUNTED = "/opt/jetson-containers-image-check"
TIME_LIMIT = 1800.0  # seconds; a large image of wheels takes ten on a PC, emulated a hundred times as long
LONGEST_TEXT = 500  # characters of one text in the answer
MOST = 20_000  # entries of one table in the answer
OTHER_VENDOR = re.compile(r"lib(amd|hip|roc|rccl|MIOpen|migraphx|sycl|imf|svml|intlc|irng|ze_loader)")  # AMD, Intel
TENSORRT = re.compile(r"libnv(infer|onnxparser)")  # in an image only where its package is
VERSIONED_AS_CUDA = re.compile(r"lib(?:cudart|cublas|cublasLt|nvrtc|cupti|nvJitLink)\.so\.([0-9]+)")
OF_CUDA = re.compile(r"lib(cu|nv|npp|nccl)[\w-]*\.so|lib\w+_cuda\.so")
ARCHITECTURE = re.compile(r"([1-9][0-9]{1,2})([af]?)")


class Coverage(enum.IntEnum):
    """How GPU code fits a GPU; the order is that of preference."""

    NONE = 0
    JIT = 1  # PTX of this or an earlier architecture: the driver compiles it at first use
    EARLIER = 2  # machine code of an earlier architecture of the same major
    NATIVE = 3


@dataclass(frozen=True, kw_only=True)
class GpuCode:
    """The architectures in one file, as nvcc names them: `87`, `90a`, `100f`."""

    code: tuple[str, ...] = ()
    ptx: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageContents:
    """What the script found.

    `missing`: per file the libraries that the loader does not find; `programs`: those of these files that can be
    started; `gpu_code`: per file the architectures it holds code for; `imports`: per Python package how its import
    ended (`ok`, `broken`, `other`) and what it said.
    """

    files: int = 0
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()
    gpu_code: Mapping[str, GpuCode] = field(default_factory=dict)
    imports: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class ImageVerdict:
    """`problems` keep the image from running on the board; `notes` are worth knowing."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def coverage(sm: int, code: Iterable[str], ptx: Iterable[str]) -> Coverage:
    """How GPU code runs on compute capability `sm` (×10).

    Machine code runs on its own architecture and on later minors of the same major, `a` on its own only, `f` on its
    family; PTX is compiled for the same and for later architectures, `a` for its own only (CUDA C++ Programming
    Guide, "Binary Compatibility" and "Application Compatibility").

    >>> coverage(87, ["80", "90a"], []).name
    'EARLIER'
    >>> coverage(110, ["87"], ["90"]).name
    'JIT'
    >>> coverage(72, ["75", "80"], ["80"]).name
    'NONE'
    """
    best = Coverage.NONE
    for number, kind in _parsed(code):
        if number == sm:
            best = max(best, Coverage.NATIVE)
        elif kind != "a" and number // 10 == sm // 10 and number < sm:
            best = max(best, Coverage.EARLIER)
    for number, kind in _parsed(ptx):
        same_family = number // 10 == sm // 10
        if number == sm or (number < sm and (kind == "" or (kind == "f" and same_family))):
            best = max(best, Coverage.JIT)
    return best


def judge_for(contents: ImageContents, platform: Platform) -> ImageVerdict:
    """What keeps an image from running on a platform."""
    group = class_of(platform.l4t) if platform.l4t else None
    from_host = bool(group and group.cuda_from_host)
    sms = platform.sm if platform.has_gpu else ()
    tegra = platform.arch is Arch.TEGRA
    return judge(contents, sms, cuda=platform.cuda, tegra=tegra, cuda_from_host=from_host)


def judge(
    contents: ImageContents,
    sms: Sequence[int],
    *,
    cuda: Version | None,
    tegra: bool,
    cuda_from_host: bool = False,
) -> ImageVerdict:
    """What keeps an image from running on GPUs with these compute capabilities.

    `cuda`: the toolkit of the image; None, and no compute capability, for an image without one. `cuda_from_host`: the
    container gets the toolkit from the host, as on JetPack 4.
    """
    if cuda_from_host:
        contents = replace(contents, missing=_without_toolkit(contents.missing))
    problems, notes = _libraries(contents, cuda)
    problems += _imports(contents, "broken")
    notes += _imports(contents, "other")
    if not contents.complete:
        notes.append(f"only the first {contents.files} linked files were looked at")
    for sm in sms:
        refused, said = _gpu_code(contents.gpu_code, sm, tegra=tegra)
        problems += refused
        notes += said
    return ImageVerdict(problems=tuple(problems), notes=tuple(notes))


def _without_toolkit(missing: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    left = {path: tuple(name for name in names if not OF_CUDA.match(name)) for path, names in missing.items()}
    return {path: names for path, names in left.items() if names}


def _libraries(contents: ImageContents, cuda: Version | None) -> tuple[list[str], list[str]]:
    """Problems and notes about libraries that are not found.

    Wheels hold files for several toolkits and vendors, and for TensorRT, of which each machine loads one: others may
    lack what they need, as long as one file with GPU code of the same package is complete. A program inside a Python
    package that imports well is a helper that nothing starts.
    """
    complete = {_package(path) for path in contents.gpu_code if path not in contents.missing}
    imported = {name for name, (status, _) in contents.imports.items() if status == "ok"}
    problems, notes = [], []
    for path, names in sorted(contents.missing.items()):
        text = f"{path} needs {', '.join(names)}"
        package = _package(path)
        purpose = _for_another(names, cuda)
        if purpose and (cuda is None or package in complete):
            notes.append(f"{text}: it is for {purpose}")
        elif path in contents.programs and package.rpartition("/")[2] in imported:
            notes.append(text)
        else:
            problems.append(text)
    return problems, notes


def _for_another(names: Iterable[str], cuda: Version | None) -> str:
    """What a file with these needs is for, where that is not NVIDIA's GPUs with the image's CUDA; empty where it is."""
    for name in names:
        versioned = VERSIONED_AS_CUDA.match(name)
        other_cuda = versioned and (cuda is None or int(versioned.group(1)) != cuda.major)
        if OTHER_VENDOR.match(name) or other_cuda or (cuda is None and OF_CUDA.match(name)):
            return "another toolkit or vendor"
        if TENSORRT.match(name):
            return "a TensorRT that is not in the image"
    return ""


def _imports(contents: ImageContents, wanted: str) -> list[str]:
    ended = sorted(contents.imports.items())
    return [f"import {name}: {said}" for name, (status, said) in ended if status == wanted]


def _gpu_code(files: Mapping[str, GpuCode], sm: int, *, tegra: bool) -> tuple[list[str], list[str]]:
    """Problems and notes about the GPU code for one GPU.

    A file without any may still be right: kernels for one architecture alone (`sm_90a`) stand in files of their own
    beside those that run everywhere. So it counts only where nothing else of the same package has code for the GPU,
    or where its code was not written for one architecture alone. A file that is called after its architecture
    (`_C_cutlass_90a.abi3.so` of torchao, which is written in Triton otherwise) is one that its package can do without.
    """
    found = {path: coverage(sm, gpu.code, gpu.ptx) for path, gpu in files.items()}
    covered = {_package(path) for path, fit in found.items() if fit}
    problems, notes = [], []
    for path, fit in sorted(found.items()):
        has = _described(files[path])
        spared = _package(path) in covered or _called_after(path, files[path])
        if fit is Coverage.NONE and spared and _special(files[path]):
            notes.append(f"{path} has no code for sm_{sm}, only {has}: its package uses other files there")
        elif fit is Coverage.NONE:
            problems.append(f"{path} has no code for sm_{sm}, only {has}")
        elif fit is Coverage.EARLIER and tegra:
            notes.append(f"{path} runs code of an earlier architecture on sm_{sm}: {has}")
        elif fit is Coverage.JIT:
            notes.append(f"{path} is compiled by the driver at first use on sm_{sm}: {has}")
    return problems, notes


def summary(contents: ImageContents, sms: Sequence[int]) -> str:
    """One line for a record: how many files, and the worst fit of their GPU code."""
    fits = [coverage(sm, gpu.code, gpu.ptx) for sm in sms for gpu in contents.gpu_code.values()]
    worst = min((fit for fit in fits if fit), default=None)
    gpu = f"GPU code in {len(contents.gpu_code)}" if contents.gpu_code else "no GPU code"
    gpu += f": {worst.name.lower()}" if worst else ""
    return f"{contents.files} linked files, {gpu}"


def inspect(engine: Engine, image: str, *, platform: str | None = None) -> ImageContents:
    """Run the script in a local image. `platform`: docker's name of a foreign platform.

    Raises NotReadyError where the image has no Python 3 or the script does not answer: that is unknown, not right.
    """
    options = ["--network", "none", "--volume", f"{SCRIPTS}:{MOUNTED}/{SCRIPTS.name}:ro", "--workdir", MOUNTED]
    options += ["--entrypoint", "python3", *least.rights(read_only=False)]
    if platform:
        options += ["--platform", platform]
    ended = engine.run(image, ["-B", "-m", SCRIPTS.name], options=options, timeout=TIME_LIMIT)
    if ended.exit_code != 0:
        lines = [line for line in ended.output.splitlines() if line.strip()]
        said = printable(lines[-1], LONGEST_TEXT) if lines else "it printed nothing"
        raise NotReadyError(
            f"`{image}` could not be checked: {said}",
            hint="the check needs Python 3.8 or newer in the image; its own tests may still be run",
        )
    return parse(ended.output)


def parse(output: str) -> ImageContents:
    """The script's answer, which is the last line. Raises NotReadyError for anything else: images are foreign data."""
    try:
        answer = json_text.parse(output.strip().splitlines()[-1])
        return ImageContents(
            files=_count(answer["files"]),
            missing={path: _names(names) for path, names in _table(answer["missing"])},
            programs=frozenset(_names(answer["programs"])),
            gpu_code={path: _gpu_of(gpu) for path, gpu in _table(answer["gpu_code"])},
            imports={name: (_text(done["status"]), _text(done["said"])) for name, done in _table(answer["imports"])},
            complete=answer["complete"] is True,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise NotReadyError("the check of the image gave no answer that can be read", hint=f"{error}"[:200]) from None


def _gpu_of(value: Any) -> GpuCode:
    return GpuCode(code=_names(value["code"]), ptx=_names(value["ptx"]))


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= MOST:
        raise ValueError(f"a number of files: {value!r}"[:80])
    return value


def _table(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict) or len(value) > MOST:
        raise ValueError("a table is missing or too long")
    return sorted(value.items())


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST:
        raise ValueError("a list is missing or too long")
    return tuple(map(_text, value))


def _text(value: Any) -> str:
    """One line of printable text: it goes to a terminal and into a label."""
    if not isinstance(value, str):
        raise TypeError(f"text is expected: {value!r}"[:80])
    return printable(value, LONGEST_TEXT)


def _parsed(names: Iterable[str]) -> list[tuple[int, str]]:
    matches = [ARCHITECTURE.fullmatch(name) for name in names]
    return [(int(match.group(1)), match.group(2)) for match in matches if match]


def _special(gpu: GpuCode) -> bool:
    """Whether all of the code is for one architecture or family alone."""
    return all(kind for _, kind in _parsed([*gpu.code, *gpu.ptx]))


def _called_after(path: str, gpu: GpuCode) -> bool:
    """Whether a file's name says each architecture that it has code for."""
    words = re.findall(r"[0-9]+[a-z]?", path.rpartition("/")[2])
    return all(f"{number}{kind}" in words for number, kind in _parsed([*gpu.code, *gpu.ptx]))


def _package(path: str) -> str:
    """The directory of the Python package that a file belongs to, else its own directory."""
    match = re.match(r"(.*/(?:site|dist)-packages/[^/]+)/", path)
    return match.group(1) if match else path.rpartition("/")[0]


def _described(gpu: GpuCode) -> str:
    parts = [f"sm_{name}" for name in gpu.code] + [f"compute_{name}" for name in gpu.ptx]
    return ", ".join(parts) or "none"
