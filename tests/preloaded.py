"""Runs our command line in children of a process that has imported it already, for tests of many whole commands.

So a command takes a fifth of the time that it takes to start anew. It has the words, directory, environment and open
files of whoever asks, who ends with its exit code. The real start is tested by tests/unit/cli/test_checkout.py and
tests/unit/scripts.

    preloaded.py serve SOCKET        answers until it is ended
    preloaded.py ask SOCKET WORDS    runs one command there
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1 << 20  # bytes of words and environment
ELSEWHERE = "jetson_containers.container_scripts."  # modules that only containers run


@contextmanager
def server(folder: Path) -> Iterator[Path]:
    """The socket of a server that runs meanwhile."""
    path = folder / "preloaded"
    running = subprocess.Popen([sys.executable, __file__, "serve", str(path)], env={"PATH": os.defpath})
    try:
        while not path.exists():
            assert running.poll() is None, "the server has ended"
            time.sleep(0.01)
        yield path
    finally:
        running.terminate()
        running.wait()


def launcher(path: Path, words: str) -> str:
    """A shell script that runs a command at the server."""
    return f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" ask "{path}" {words} "$@"\n'


def ask(path: str, words: list[str]) -> int:
    """Run a command at the server, with everything of this process; its exit code, 255 if it died."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        environment = [f"{name}={value}" for name, value in os.environ.items()]
        parts = [str(Path.cwd()), str(len(words)), *words, *environment]
        message = "\0".join(parts).encode(errors="surrogateescape")
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(message)
        code = connection.recv(1)
    return code[0] if code else 255


def serve(path: str) -> None:
    """Answer at the socket `path` until this process is ended."""
    import gc
    import pkgutil

    sys.path[0] = str(ROOT)
    import jetson_containers

    for module in pkgutil.walk_packages(jetson_containers.__path__, "jetson_containers."):
        if not module.name.startswith(ELSEWHERE):
            __import__(module.name)
    gc.freeze()  # the children share what is there; looking for garbage would copy it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: each answers by itself
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen()
    Path(f"{path}.new").rename(path)  # whoever sees it can connect
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            answer(connection)
        connection.close()


def answer(connection: socket.socket) -> None:
    """Become the process that asked, run its command, say the exit code."""
    head, files, _, _ = socket.recv_fds(connection, 4, 3)
    size = int.from_bytes(head, "big")
    assert size <= LIMIT, size
    message = b""
    while len(message) < size:
        message += connection.recv(size - len(message))
    directory, count, *rest = message.decode(errors="surrogateescape").split("\0")
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(each.split("=", 1) for each in rest[int(count) :])
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r", closefd=False) for n in range(3))
    sys.argv = [str(ROOT / "scripts" / "main.py"), *rest[: int(count)]]
    code = 1
    try:
        from jetson_containers.cli.main import entry

        entry()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter ends
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([code & 255]))
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(ask(sys.argv[2], sys.argv[3:]))
