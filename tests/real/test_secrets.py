"""Secrets of a user stay where the user put them: none is in an argv, an image, a log or a file of ours afterwards.

One story with debug output: a download of a gated model, a build through a proxy with a password that really is used, a
build that fails, a push of stages with a login, lock, report, provenance, a crash. Meanwhile the command lines of all
processes are read again and again.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hubserver import HubServer
from tests.real.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.conftest import Registry

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
CRASH = """
import sys
sys.path.insert(0, {root!r})
from jetson_containers.builder import run
from jetson_containers.cli.main import entry

def broken(*args, **more):
    raise RuntimeError("a bug")

run._Run.go = broken
entry(sys.argv[1:])
"""


class Proxy:
    """A proxy that wants a login; notes what it was shown."""

    def __init__(self) -> None:
        self.logins: list[str] = []
        logins = self.logins

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                logins.append(self.headers.get("Proxy-Authorization", ""))
                self.send_response(200)
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"proxied")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Story:
    """What was done, with what was said and what is left."""

    directory: Path
    hidden: dict[str, str]
    env: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    watcher: Watcher = field(default_factory=lambda: Watcher([]))
    logins: list[str] = field(default_factory=list)

    def run(self, name: str, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], env=self.env, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=300, check=False,
        )  # fmt: skip
        self.codes[name], self.said[name] = done.returncode, done.stdout + done.stderr

    def docker(self, *words: str) -> str:
        return subprocess.run(["docker", *words], capture_output=True, text=True, check=False).stdout

    def leaks(self, text: str) -> list[str]:
        return [name for name, secret in self.hidden.items() if secret in text]


def _recipe(folder: Path, name: str, nonce: str, body: str, depends: str = "") -> None:
    place = folder / "packages" / name
    place.mkdir(parents=True)
    header = f"# name: {name}\n" + (f"# depends: [{depends}]\n" if depends else "")
    test = "# test: check\n"
    (place / "check").write_text("#!/bin/sh\nenv\ntrue\n")
    (place / "check").chmod(0o755)
    (place / "Dockerfile").write_text(
        f"#---\n{header}{test}#---\n{HEAD}ENV NONCE={nonce}\nLABEL io.jetson-containers.test-secrets={nonce}\n{body}\n"
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, scratch_base: str, private_registry: Registry) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("secrets")
    nonce = secrets.token_hex(6)
    login = base64.b64encode(f"{private_registry.user}:{private_registry.password}".encode()).decode()
    hidden = {
        "token of the hub": f"hf_{secrets.token_hex(12)}",
        "password of the registry": private_registry.password,
        "login of the registry": login,
        "password of the proxy": f"proxy{secrets.token_hex(8)}",
        "password of the index": f"index{secrets.token_hex(8)}",
        "key of the server": f"server{secrets.token_hex(8)}",
    }
    made = Story(folder, hidden)
    with HubServer() as hub, Proxy() as proxy:
        hub.tokens.add(hidden["token of the hub"])
        repo = hub.add("org/gated", {"config.json": b"{}", "model.safetensors": bytes(5000)}, gated="auto")
        repo.readers.add(hidden["token of the hub"])
        made.env = _environment(folder, hidden, hub.url, proxy.port)
        _login(folder, private_registry.host, login)
        _recipe(folder, "lower", nonce, "RUN env && wget -q -O /fetched http://files.invalid/x && cat /fetched")
        _recipe(folder, "upper", nonce, "RUN env > /dev/null && test -s /fetched", "lower")
        _recipe(folder, "broken", nonce, "RUN env && false", "lower")
        made.watcher = Watcher(list(hidden.values()))
        with made.watcher:
            _tell(made, scratch_base, nonce, private_registry.host, hidden)
        made.logins = proxy.logins
    label = f"label=io.jetson-containers.test-secrets={nonce}"
    listed = made.docker("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}").split()
    made.images = [name for name in listed if "<none>" not in name]
    yield made
    for name in made.images:
        made.docker("rmi", name)


def _environment(folder: Path, hidden: dict[str, str], hub: str, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "DOCKER_HOST") if name in os.environ}
    places = {f"JETSON_CONTAINERS_{name}": str(folder / name.lower()) for name in ("DATA", "LOGS", "CACHE")}
    proxy = f"http://user:{hidden['password of the proxy']}@127.0.0.1:{port}"
    for name in ("home", "docker", "tmp"):
        (folder / name).mkdir()
    near = "127.0.0.1,127.0.0.2"
    return {
        **kept, **places, "HOME": str(folder / "home"), "DOCKER_CONFIG": str(folder / "docker"), "HF_ENDPOINT": hub,
        "HF_TOKEN": hidden["token of the hub"], "http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": near,
        "NO_PROXY": near, "MY_SERVER_KEY": hidden["key of the server"], "TMPDIR": str(folder / "tmp"),
    }  # fmt: skip


def _login(folder: Path, host: str, login: str) -> None:
    (folder / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))


def _tell(story: Story, base: str, nonce: str, host: str, hidden: dict[str, str]) -> None:
    program = str(ROOT / "scripts" / "main.py")
    tree = ["--target", "cpu", "--packages", str(story.directory / "packages")]
    own = [*tree, "--base", base, f"--name=jc-secret-{nonce}/", "--use-proxy"]
    shared = ["--stage-registry", f"{host}/s{nonce}", "--push-stages"]
    index = f"http://user:{hidden['password of the index']}@pip.invalid/simple"
    for name, words in {
        "download": ("download", "org/gated", "-v"),
        "plan": ("build", *own, "--dry-run", "--json", "upper"),
        "build": ("build", *own, *shared, "-v", "--progress", "plain", "upper"),
        "failure": ("build", *own, "-v", "--progress", "plain", "broken"),
        "failure as JSON": ("build", *own, "--json", "--progress", "json", "broken"),
        "index": ("build", *own, "--index-url", index, "-v", "upper"),
        "lock": ("lock", *tree, "--base", base, "upper"),
        "report": ("report", "-o", str(story.directory / "report.html")),
        "info": ("info", "--json"),
        "settings": ("config", "list"),
        "run": ("run", "--dry-run", "-e", "HF_TOKEN", "-e", f"OTHER_TOKEN={hidden['key of the server']}", base, "true"),
        "serve": ("llm", "serve", "tiny", *tree[:2], "--api-key-env", "MY_SERVER_KEY", "--dry-run"),
    }.items():
        story.run(name, program, *words)
    story.run("crash", "-c", CRASH.format(root=str(ROOT)), "build", *own, "-v", "upper", "--rebuild")


def test_secrets_were_used(story: Story) -> None:
    """The story proves something: the gated model is here, the proxy was shown its password, stages were pushed."""
    assert story.codes["download"] == 0, story.said["download"]
    assert story.codes["build"] == 0, story.said["build"]
    assert story.codes["failure"] == 1, story.said["failure"]
    assert story.codes["index"] == 2, story.said["index"]
    assert "a bug" in story.said["crash"]
    shown = {base64.b64decode(login.removeprefix("Basic ")).decode() for login in story.logins if login}
    assert shown == {f"user:{story.hidden['password of the proxy']}"}
    assert len(story.images) >= 3
    assert any(b"docker" in line for line in story.watcher.seen)


def test_secrets_are_in_no_command_line(story: Story) -> None:
    """No process of the machine ever had one in its argv, but for those that the user typed one into."""
    typed = {word: {line for line in story.watcher.found if word in line} for word in (b"--index-url", b"OTHER_TOKEN=")}
    assert all(typed.values())  # the watcher sees what there is to see
    assert story.watcher.found - set().union(*typed.values()) == set()


def test_secrets_are_in_nothing_that_was_said(story: Story) -> None:
    """Plan, debug output, failures, lock, settings, crash."""
    assert {name: story.leaks(text) for name, text in story.said.items() if story.leaks(text)} == {}


def test_secrets_are_in_no_file(story: Story) -> None:
    """Logs, records, caches, data, reports, temporary files; docker's own configuration is where the login belongs."""
    found = {}
    for path in story.directory.rglob("*"):
        if path.is_file() and path.parent.name != "docker":
            leaks = story.leaks(path.read_bytes().decode(errors="replace"))
            found.update({str(path): leaks} if leaks else {})
    assert found == {}


def test_secrets_are_in_no_image(story: Story, tmp_path: Path) -> None:
    """Configuration, labels, history and the files of all layers."""
    for image in story.images:
        for words in (("inspect", image), ("history", "--no-trunc", image)):
            assert story.leaks(story.docker(*words)) == [], words
    archive = tmp_path / "images.tar"
    subprocess.run(["docker", "save", "--output", archive, *story.images], check=True)
    with tarfile.open(archive) as outer:
        for member in outer:
            file = outer.extractfile(member)
            content: Any = file.read() if file else b""
            assert story.leaks(content.decode(errors="replace")) == [], member.name
