"""A build of four stages as a user starts it, what is seen of it while it runs, and what must hold after a fault."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("one", "two", "three", "four")
PAUSE = 3  # seconds that what is to be interrupted takes
LIMIT = 100.0  # seconds; nothing here takes twenty
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
KEPT = ("PATH", "LANG", "LC_ALL", "DOCKER_HOST")
PLACES = ("data", "logs", "cache")

Done = subprocess.CompletedProcess[str]


def is_gone(pid: int) -> bool:
    """Whether no process of a group is left."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(happened: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Look until it has happened; fails when it never does."""
    never = threading.Event()
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends, "it never happened"
        never.wait(0.02)


class Program:
    """A program that runs in a group of processes of its own, with the lines it has printed so far."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.lines: list[str] = []
        self.child = subprocess.Popen(
            list(command), env=dict(env), cwd=cwd, text=True, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        with self.child.stdout:
            self.lines.extend(self.child.stdout)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches; fails with all lines when the program ends without it."""
        never, ends = threading.Event(), time.monotonic() + LIMIT
        while time.monotonic() < ends:
            over = self.child.poll() is not None and not self.reader.is_alive()
            for line in [*self.lines]:
                if match := re.search(pattern, line):
                    return match
            if over:
                break
            never.wait(0.01)
        pytest.fail(f"no line `{pattern}` in:\n{self.said}")

    def send(self, number: signal.Signals) -> None:
        """To the program alone for SIGKILL and SIGTERM; a terminal that is lost sends SIGHUP to the whole group."""
        if number is signal.SIGHUP:
            os.killpg(self.child.pid, number)
        else:
            self.child.send_signal(number)

    def ended(self) -> int:
        code = self.child.wait(LIMIT)
        self.reader.join(LIMIT)
        assert "Traceback" not in self.said, self.said
        return code

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(LIMIT)
        self.reader.join(LIMIT)


@dataclass
class Scene:
    """A user with a home, package tree, folders and temporary folder of their own."""

    directory: Path
    base: str
    nonce: str = field(default_factory=lambda: secrets.token_hex(6))
    env: dict[str, str] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = {f"JETSON_CONTAINERS_{name.upper()}": str(self.directory / name) for name in PLACES}
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ} | own
        self.env |= {"HOME": str(self.directory / "home"), "TMPDIR": str(self.directory / "tmp")}
        for name in ("home", "tmp"):
            (self.directory / name).mkdir()

    @property
    def temporary(self) -> Path:
        return Path(self.env["TMPDIR"])

    def recipe(self, name: str, body: str, depends: str = "", test: str = "") -> None:
        """A package; `test` is a script of the shell."""
        folder = self.directory / "packages" / name
        folder.mkdir(parents=True, exist_ok=True)
        header = [f"name: {name}", *([f"depends: [{depends}]"] if depends else []), *(["test: check"] if test else [])]
        text = "".join(f"# {line}\n" for line in header)
        label = f"LABEL io.jetson-containers.fault={self.nonce}\nENV NONCE={self.nonce}\n"
        (folder / "Dockerfile").write_text(f"#---\n{text}#---\n{HEAD}{label}{body}\n")
        if test:
            (folder / "check").write_text(f"#!/bin/sh\n{test}\n")
            (folder / "check").chmod(0o755)

    def chain(self, slow: str = "", slow_test: str = "") -> None:
        """Four stages, each on the one before and with a test; one build or one test can take `PAUSE` seconds."""
        for below, name in zip(("", *NAMES), NAMES, strict=False):
            pause = f" && sleep {PAUSE}" if name == slow else ""
            body = f"RUN echo amid {name}{pause} && cat /proc/sys/kernel/random/uuid > /{name}"
            test = f"echo trying {name}\n{f'sleep {PAUSE}' if name == slow_test else ''}\ntest -s /{name}"
            self.recipe(name, body, below, test)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "scripts" / "main.py"), *words]

    def build_words(self, *words: str) -> list[str]:
        tree = str(self.directory / "packages")
        common = ["--target", "cpu", "--packages", tree, "--base", self.base, f"--name=jc-fault-{self.nonce}/"]
        return self.command("build", *common, *(words or ("four",)))

    def start(self, command: Sequence[str], **env: str) -> Program:
        made = Program(command, {**self.env, **env}, self.directory)
        self.programs.append(made)
        return made

    def start_build(self, *words: str, **env: str) -> Program:
        return self.start(self.build_words("--progress", "json", *(words or ("four",))), **env)

    def run(self, command: Sequence[str], **env: str) -> Done:
        done = subprocess.run(
            list(command), env={**self.env, **env}, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def build(self, *words: str, **env: str) -> str:
        """A build that must succeed; what it said."""
        done = self.run(self.build_words(*words), **env)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def docker(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", *words], env={**os.environ, **self.env}, capture_output=True, text=True, check=False
        )
        return done.stdout

    def images(self) -> dict[str, dict[str, Any]]:
        """What docker says of this scene's images, by name: stages as `jetson-containers/stage:PACKAGE-KEY`."""
        label = f"label=io.jetson-containers.fault={self.nonce}"
        names = self.docker("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}").split()
        named = [name for name in names if "<none>" not in name]
        return {name: json.loads(self.docker("image", "inspect", name))[0] for name in named}

    def containers(self) -> list[str]:
        """Containers of this scene's images, running or not."""
        label = f"label=io.jetson-containers.fault={self.nonce}"
        return self.docker("ps", "--all", "--quiet", "--filter", label).split()

    def processes(self) -> list[int]:
        """Processes of this scene, docker's clients among them: all that have its temporary folder."""
        found, ours = [], f"TMPDIR={self.temporary}".encode()
        for place in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if ours in place.read_bytes().split(b"\0"):
                    found.append(int(place.parent.name))
        return found

    def age(self) -> None:
        """Two hours pass: what is left of dead processes is then removed."""
        before = time.time() - 7200
        for path in self.temporary.iterdir():
            os.utime(path, (before, before))

    def left_over(self) -> list[str]:
        """What nobody may leave: temporary files, half names of images, locks that are held, containers."""
        found = [str(path) for path in self.temporary.iterdir()]
        for place in PLACES:
            found += [str(path) for path in (self.directory / place).rglob(".*") if path.is_file()]
            found += [str(path) for path in (self.directory / place).rglob("*.lock") if _is_held(path)]
        found += [name for name in self.images() if name.endswith(".old")]
        return found + self.containers()

    def survived(self, kept: Sequence[str] = (), *words: str) -> None:
        """The next run finishes and builds none of `kept` again, and the one after it has nothing to do."""
        before = {name: shown["RootFS"]["Layers"] for name, shown in self.images().items() if "/stage:" in name}
        self.age()
        built = self.built_by(self.build("--progress", "json", "four", *words))
        assert not set(kept) & set(built), f"{kept} were to be kept: {built}"
        whole = next(shown for name, shown in self.images().items() if name.startswith(f"jc-fault-{self.nonce}/"))
        base = json.loads(self.docker("image", "inspect", self.base))[0]["RootFS"]["Layers"]
        assert len(whole["RootFS"]["Layers"]) == len(base) + len(NAMES)
        for name, layers in before.items():
            package = name.partition(":")[2].partition("-")[0]
            same = whole["RootFS"]["Layers"][: len(layers)] == layers
            assert same or package in built, f"{name} is not what the image stands on"
        tests = json.loads(whole["Config"]["Labels"]["io.jetson-containers.tests"])["packages"]
        assert {name: entry["status"] for name, entry in tests.items()} == dict.fromkeys(NAMES, "passed")
        assert "nothing to build" in self.build("four", *words)
        left = self.left_over()
        assert left == [], left

    def built_by(self, said: str) -> list[str]:
        """The stages whose build was begun, from what `--progress json` says."""
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return [event["stage"] for event in events if event.get("action") == "building"]

    def close(self) -> None:
        for program in self.programs:
            program.close()
        for container in self.containers():
            self.docker("rm", "--force", "--volumes", container)
        for image in self.images():
            self.docker("rmi", image)


def _is_held(path: Path) -> bool:
    with path.open("r+") as file:
        return not files.try_lock(file.fileno())
