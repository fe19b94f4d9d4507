"""Images as a stream, out of the local store and into it (`docker save`, `docker load`)."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError
from jetson_containers.engine import argv
from jetson_containers.engine.messages import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jetson_containers.engine.interface import Engine


@contextmanager
def reading(words: Sequence[str], what: str) -> Iterator[IO[bytes]]:
    """The output of a command. Raises NotReadyError where it fails, also at its end."""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise NotReadyError(f"{what} failed", details=said.splitlines()[-10:])


def save(engine: Engine, reference: str) -> list[str]:
    """The command that writes an image to stdout, the same bytes each time; of several the order is any."""
    return argv.docker(engine.capabilities, "save", reference)


def load(engine: Engine, pieces: Iterable[bytes]) -> None:
    """Bring images into the local store. Raises NotReadyError (or its subclasses) where the engine refuses them."""
    words = argv.docker(engine.capabilities, "load", "--quiet")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        if process.stdin is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        try:
            with suppress(BrokenPipeError), process.stdin:  # an engine that ends early says why
                for data in pieces:
                    process.stdin.write(data)
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise translate(said, "loading images")
