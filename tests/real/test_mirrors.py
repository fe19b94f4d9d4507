"""The setting `mirrors` with the real programs: each fetches from a server of the test what it asks another host for.

The hosts that the Dockerfile names end in `.invalid`, so nothing but a mirror can answer. The server is on loopback and
holds what each program expects: a package of apt, files, a git repository, an index for pip, npm's and cargo's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import JetsonError
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.interface import BuildRequest
from tests.real.conftest import LABEL, PREFIX, SESSION, Registry, engine_for
from tests.unit.cli.test_checkout import git

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).resolve().parents[2]
TOOLS = f"{PREFIX}/mirrored-tools"

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Keep requests off stderr."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def builder() -> DockerEngine:
    """An engine whose builder mounts."""
    return engine_for("buildkit")


@pytest.fixture(scope="module")
def tools(builder: DockerEngine) -> str:
    """An image with apt, curl, wget, git, pip, npm and cargo, built by the public command."""
    names = ["rust:apt", "nodejs"]
    argv = [sys.executable, "-m", "jetson_containers", "build", *names, "--name", TOOLS, "--skip-tests", "all"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot run here: the image of the test cannot be built: {done.stderr[-300:]}")
    return next(name for image in builder.images() for name in image.references if name.startswith(TOOLS))


def _package(folder: Path) -> None:
    """A repository of apt with one package, which holds a program."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    control = "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: probe\n"
    (tree / "DEBIAN/control").write_text(control)
    (tree / "usr/bin/probe").write_text("#!/bin/sh\necho probed\n")
    (tree / "usr/bin/probe").chmod(0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, folder / "probe.deb"], check=True)
    data = (folder / "probe.deb").read_bytes()
    entry = f"Filename: ./probe.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (folder / "Packages").write_text(control + entry)


def _tarball(files: dict[str, str]) -> bytes:
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        return buffer.getvalue()


def _npm(folder: Path) -> None:
    data = _tarball({"package/package.json": '{"name": "tiny", "version": "1.0.0"}', "package/index.js": "1\n"})
    folder.mkdir(parents=True)
    (folder / "tiny.tgz").write_bytes(data)
    dist = {"tarball": "https://registry.npmjs.org/tiny.tgz", "shasum": hashlib.sha1(data).hexdigest()}
    version = {"name": "tiny", "version": "1.0.0", "dist": dist}
    table = {"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (folder / "tiny").write_text(json.dumps(table))


def _crates(folder: Path, address: str) -> None:
    manifest = '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n'
    data = _tarball({"tiny-1.0.0/Cargo.toml": manifest, "tiny-1.0.0/src/lib.rs": "pub fn one() -> i32 { 1 }\n"})
    (folder / "ti/ny").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"dl": f"{address}crates/{{crate}}.crate"}))
    (folder / "tiny.crate").write_bytes(data)
    row = {"name": "tiny", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False}
    (folder / "ti/ny/tiny").write_text(json.dumps({**row, "cksum": hashlib.sha256(data).hexdigest()}) + "\n")


def _wheel(folder: Path) -> None:
    folder.mkdir(parents=True)
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("tiny.py", "ONE = 1\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')


def _repository(folder: Path, work: Path) -> None:
    work.mkdir()
    (work / "README").write_text("here\n")
    git(work, "init")
    git(work, "add", ".")
    git(work, "commit", "-m", "first")
    subprocess.run(["git", "clone", "--quiet", "--bare", work, folder], check=True)
    subprocess.run(["git", "update-server-info"], cwd=folder, check=True)


COMMANDS = r"""ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN rm -rf /etc/apt/sources.list.d /etc/apt/sources.list && mkdir /made \
    && echo 'deb [trusted=yes] https://apt.invalid/debian/ ./' >/etc/apt/sources.list \
    && apt-get update && apt-get install -y probe && probe >/made/apt && rm -rf /var/lib/apt/lists/*
RUN curl -fsS https://files.invalid/some/file -o /made/curl && wget -q --output-document=/made/wget https://files.invalid/some/file
RUN ["curl", "-fsS", "--output", "/made/json", "--url", "https://files.invalid/some/file"]
RUN git clone --quiet https://git.invalid/team/tiny.git /tmp/tiny && cp /tmp/tiny/README /made/git && rm -rf /tmp/tiny
RUN python3 -m pip install --no-cache-dir tiny && python3 -c 'import tiny; print(tiny.ONE)' >/made/pip
RUN cd /tmp && npm install --cache /tmp/npm tiny && cat node_modules/tiny/index.js >/made/npm && rm -rf /tmp/* ~/.npm
RUN mkdir -p /tmp/a/src && cd /tmp/a && echo 'fn main() { println!("{}", tiny::one()); }' >src/main.rs \
    && printf '[package]\nname = "a"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\ntiny = "1"\n' >Cargo.toml \
    && cargo run --quiet >/made/cargo && rm -rf /tmp/a "${CARGO_HOME:-$HOME/.cargo}/registry"
RUN chmod 0777 /made
USER nobody
RUN curl -fsS https://files.invalid/some/file -o /made/nobody
"""


@pytest.fixture
def built(builder: DockerEngine, tools: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The image that all programs took part in, and the address of the server."""
    folder = tmp_path / "served"
    (folder / "files").mkdir(parents=True)
    (folder / "files/file").write_text("a file\n")
    _package(folder / "apt")
    _npm(folder / "npm")
    _wheel(folder / "simple/tiny")
    _repository(folder / "repositories/tiny.git", tmp_path / "work")
    (tmp_path / "context").mkdir()
    with served(folder) as address:
        _crates(folder / "crates", address)
        found = {
            "apt": {"https://apt.invalid/debian/": f"{address}apt/"},
            "files": {"https://files.invalid/": "http://x.invalid/", "https://files.invalid/some/": f"{address}files/"},
            "git": {"https://git.invalid/team/": f"{address}repositories/"},
            "python": f"{address}simple",
            "npm": f"{address}npm/",
            "crates": f"sparse+{address}crates/",
        }  # fmt: skip
        tag = f"{PREFIX}/mirrored:1"
        request = BuildRequest(
            context=tmp_path / "context", dockerfile=COMMANDS, tag=tag, build_args={"BASE_IMAGE": tools},
            mirrors=found, labels={LABEL: SESSION},
        )  # fmt: skip
        lines: list[str] = []
        try:
            builder.build(request, lines.append)
        except JetsonError as error:
            pytest.fail("\n".join([error.message, *lines[-60:]]))
        yield tag, address
    builder.untag(tag)


def test_mirrors_answer_every_program_and_leave_nothing(builder: DockerEngine, built: tuple[str, str]) -> None:
    """apt, curl, wget, git, pip, npm and cargo fetch from the mirrors; no file and no history knows of one."""
    image, address = built
    shown = builder.run(image, ["sh", "-c", "cd /made && for file in *; do echo $file $(cat $file); done"])
    made = dict(line.split(" ", 1) for line in shown.output.splitlines())
    told = dict.fromkeys(("curl", "wget", "json", "nobody"), "a file")
    assert made == {**told, "apt": "probed", "git": "here", "pip": "1", "npm": "1", "cargo": "1"}
    place = address.removeprefix("http://").rstrip("/")
    search = f"find / -xdev -newer /etc/apt/sources.list -type f -exec grep -l '{place}' {{}} +"
    found = builder.run(image, ["sh", "-c", f"{search}; ls -d /.cargo /dev/jetson*"], options=["--user", "0"])
    assert [line for line in found.output.splitlines() if not line.startswith("ls: ")] == []
    for words in (["history", "--no-trunc", image], ["inspect", image]):
        assert place not in subprocess.check_output([builder.capabilities.client, *words], text=True, env=os.environ)


@pytest.mark.registry
def test_mirrors_of_a_registry_give_an_image_its_own_name(
    builder: DockerEngine, scratch_base: str, registry: Registry, tmp_path: Path
) -> None:
    """A pull comes from the mirror, and the image has the name and the digest that it was asked for by."""
    there = f"{registry.host}/copy/team/tool:1"
    builder.tag(scratch_base, there)
    builder.push(there, lambda _line: None)
    builder.untag(there)
    found = {"registries": {"registry.invalid": f"{registry.host}/copy"}}
    engine = DockerEngine(settings.load({"engine": "buildkit", "mirrors": found}, env={}, files=(), root=tmp_path))
    engine.pull("registry.invalid/team/tool:1", lambda _line: None)
    image = engine.image("registry.invalid/team/tool:1")
    assert image is not None
    assert any("@sha256:" in digest for digest in image.digests)
    for name in ("registry.invalid/team/tool:1", there):
        engine.untag(name)


FILLED = f"""#---
# name: filled
#---
ARG BASE_IMAGE
FROM ${{BASE_IMAGE}}
LABEL {LABEL}={SESSION}
ARG LIB_COMMIT
ARG MAIN_URL
ARG MAIN_SHA256
COPY filled.lock /tmp/filled.lock
RUN git init --quiet /src/lib && cd /src/lib && git fetch --quiet --depth=1 https://code.invalid/team/lib $LIB_COMMIT \\
    && git checkout --quiet FETCH_HEAD && cc -c lib.c -o /src/lib.o
RUN curl -fsS "$MAIN_URL" -o /src/main.c && echo "$MAIN_SHA256  /src/main.c" | sha256sum -c \\
    && cc /src/main.c /src/lib.o -o /usr/local/bin/filled
RUN python3 -m pip install --no-deps --require-hashes -r /tmp/filled.lock
"""


def _origin(folder: Path, recipe: Path) -> None:
    """The sources of a recipe under a folder that is served, and the recipe that pins them."""
    (folder / "served/simple/tiny").mkdir(parents=True)
    _wheel(folder / "served/simple" / "tiny-1")
    (wheel,) = (folder / "served/simple/tiny-1").glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "served/simple/tiny/index.html").write_text(f'<a href="../tiny-1/{wheel.name}#sha256={digest}">x</a>')
    main = folder / "served/main.c"
    main.write_text('#include <stdio.h>\nint lib(void);\nint main(void) { printf("%d\\n", lib()); return 0; }\n')
    lib = folder / "team/lib"
    lib.mkdir(parents=True)
    (lib / "lib.c").write_text("int lib(void) { return 42; }\n")
    for line in ("init", "add .", "commit -m first"):
        git(lib, *line.split())
    commit = git(lib, "rev-parse", "HEAD")
    args = {"LIB_COMMIT": commit, "MAIN_URL": "https://files.invalid/main.c"}
    args["MAIN_SHA256"] = hashlib.sha256(main.read_bytes()).hexdigest()
    source = {"git": "https://code.invalid/team/lib", "commit": commit, "lock": "filled.lock"}
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text(FILLED)
    (recipe / "config.yaml").write_text(json.dumps({"source": source, "args": args}))
    (recipe / "filled.lock").write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")


def _command(tree: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "jetson_containers", *words, "--packages", str(tree)]
    return subprocess.run(argv, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_mirror_that_was_filled_builds_from_source_without_the_origins(
    builder: DockerEngine, tools: str, tmp_path: Path
) -> None:
    """A repository, a file and a wheel come from the folder; the origins are gone, and their hosts never were."""
    recipe = tmp_path / "tree" / "filled"
    _origin(tmp_path, recipe)
    folder = tmp_path / "mirror"
    words = ("mirror", "fill", "filled", "--into", str(folder), "--no-images", "--base", tools, "--json")
    with served(tmp_path / "served") as address:
        found = {
            "git": {"https://code.invalid/": f"file://{tmp_path}/"},
            "files": {"https://files.invalid/": address},
            "python": f"{address}simple",
        }
        filled = _command(recipe.parent, *words, JETSON_CONTAINERS_MIRRORS=json.dumps(found))
    assert filled.returncode == 0, filled.stderr
    assert json.loads(filled.stdout)["fetched"] == 3
    name = f"{PREFIX}/filled"
    built = _command(recipe.parent, "build", "filled", "--base", tools, "--name", name, "--mirrors", str(folder))
    assert built.returncode == 0, built.stderr
    (image,) = (name for image in builder.images() for name in image.references if "/filled:" in name)
    shown = builder.run(image, ["sh", "-c", "filled && python3 -c 'import tiny; print(tiny.ONE)'"])
    assert shown.output.split() == ["42", "1"]
    builder.untag(image)
