"""Files of an image, read from the stream of `docker export`; nothing of the image is started."""

from __future__ import annotations

import subprocess
import tarfile
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError
from jetson_containers.engine import archive, argv, owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetson_containers.engine.interface import Engine

LARGEST = 32 << 20  # bytes of one file; the longest list of Debian packages has 5 million
MOST = 100_000  # files that are handed on
LARGEST_SUM = 256 << 20  # bytes of all of them


def read(engine: Engine, image: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Path (without the first `/`) and bytes of the regular files that are wanted.

    Raises NotReadyError where the image cannot be read, or has too many or too large files of that kind.
    """
    container = _created(engine, image)
    try:
        words = argv.docker(engine.capabilities, "export", container)
        with (
            archive.reading(words, f"reading the files of `{image}`") as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            yield from _chosen(tar, wanted)
            while stream.read(1 << 20):  # what follows the end of the archive
                pass
    except tarfile.TarError as error:
        raise NotReadyError(f"the files of `{image}` cannot be read: {error}") from error
    finally:
        _docker(engine, "rm", "--force", "--volumes", container)


def _chosen(tar: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    count, total = 0, 0
    for member in tar:
        path = member.name.removeprefix("./").lstrip("/")
        if not member.isreg() or not wanted(path):
            continue
        count, total = count + 1, total + member.size
        if member.size > LARGEST or total > LARGEST_SUM or count > MOST:
            raise NotReadyError(f"/{path} has {member.size} bytes, or is one of too many")
        content = tar.extractfile(member)
        yield path, content.read() if content else b""


def _created(engine: Engine, image: str) -> str:
    """A container that is never started; a command is needed for images that have none."""
    done = _docker(engine, "create", "--network", "none", *owner.label(), image, "true")
    if done.returncode != 0:
        raise NotReadyError(f"`{image}` cannot be read", details=done.stderr.strip().splitlines()[-5:])
    return done.stdout.strip().splitlines()[-1]


def _docker(engine: Engine, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv.docker(engine.capabilities, *words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
