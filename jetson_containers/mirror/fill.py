"""Bring what a plan fetches into a folder, each thing checked; what is there and right is not fetched again.

git/HOST/PATH.git             bare repositories with the pinned commits, submodules beside them
files/SCHEME/HOST/PATH        plain files at their addresses
python/files, python/simple   wheels and source distributions, and an index of them
npm/PATH                      tarballs at their paths of the registry
mirror.json                   what is there, of all fills together
"""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from jetson_containers.core import files, json_text, mirrors
from jetson_containers.core.errors import NotReadyError
from jetson_containers.core.text import is_number, shown

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.mirror.needs import Needs, PlainFile, PythonPackage, Repository
    from jetson_containers.platforms.platform import Platform

MANIFEST = "mirror.json"
KINDS = ("git", "files", "python", "npm")
INDEX = "https://pypi.org/simple"
TIMEOUT = 60  # seconds without a byte
LARGEST_PAGE = 64 << 20  # bytes of one page of an index
TRIES = 3  # for one file
UNSATISFIABLE = 416  # the status of a range behind the end
DEEPEST = 8  # submodules of submodules
PROTOCOLS = "file:git:http:https:ssh"  # `ext`, which starts programs, is not one of them
_GLIBC = range(40, 16, -1)  # minor versions of manylinux tags
_SAFE = re.compile(r"[\w.+~%@:=,-]+(?:/[\w.+~%@:=,-]+)*")
_FIELD = re.compile(r"submodule\.(.*)\.(path|url) (.*)")


@dataclass(kw_only=True)
class Filled:
    """What one fill asked for and has. `failed` maps what could not be had to the reason."""

    git: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    python: list[str] = field(default_factory=list)
    npm: list[str] = field(default_factory=list)
    fetched: int = 0  # of all of these, how many were not there yet
    failed: dict[str, str] = field(default_factory=dict)


class _BrokenOffError(NotReadyError):
    """A server failed amid an answer or did not begin one: another try may succeed."""


class Filler:
    """Fills one folder. `found` is the setting `mirrors`: a mirror may be filled from another."""

    def __init__(
        self, root: Path, console: Console, *, found: Mapping[str, Any], index: str = "", ca_bundle: Path | None = None
    ) -> None:
        self.root = root
        self.filled = Filled()
        self._console = console
        own = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": PROTOCOLS}
        self._git_env = {**os.environ, **own, **mirrors.git_variables(found.get("git", {}))}
        self._prefixes: Mapping[str, str] = found.get("files", {})
        self._index = (index or found.get("python", "") or INDEX).rstrip("/")
        self._ca_bundle = ca_bundle

    def fill(self, needs: Needs, platform: Platform) -> Filled:
        """Fetch all of it; what fails is noted, and the rest goes on. An interrupted call is continued by the next."""
        for repository in needs.repositories:
            with self._noting(repository.url):
                self._repository(repository)
        for kind, plain in (("files", needs.files), ("npm", needs.npm)):
            for file in plain:
                with self._noting(file.url):
                    self._plain(kind, file)
        for package in needs.python:
            with self._noting(f"{package.name}=={package.version}"):
                self._python(package, platform)
        self._write_index()
        self._list()
        return self.filled

    def _list(self) -> None:
        """Write down what is there: what this call found or fetched, and what earlier ones did."""
        self.root.mkdir(parents=True, exist_ok=True)
        with files.open_lock(self.root / f"{MANIFEST}.lock") as lock:
            files.wait_for_lock(lock)
            earlier = listed(self.root)
            now = {kind: getattr(self.filled, kind) for kind in KINDS}
            added = {kind: sorted({*earlier[kind], *now[kind]}) for kind in KINDS}
            files.write_atomically(self.root / MANIFEST, json.dumps({"schema": 1, **added}, indent=1))

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except NotReadyError as error:
            self.filled.failed[what] = error.message

    # Repositories.

    def _repository(self, wanted: Repository, depth: int = 0) -> None:
        place = self.root / "git" / f"{_place(wanted.url).removesuffix('.git')}.git"
        if not (place / "HEAD").is_file():
            place.mkdir(parents=True, exist_ok=True)
            self._git(place, "init", "--quiet", "--bare")
            for name in ("allowAnySHA1InWant", "allowFilter"):  # recipes ask for commits, and for parts of a history
                self._git(place, "config", f"uploadpack.{name}", "true")
        branch = f"refs/heads/pinned-{wanted.commit[:12]}"
        if self._git(place, "for-each-ref", "--format=%(objectname)", branch).strip() != wanted.commit:
            self._console.info(f"fetching {wanted.url} at {wanted.commit[:12]}")
            self._git(place, "fetch", "--quiet", "--depth=1", "--", wanted.url, wanted.commit)
            self._git(place, "update-ref", branch, wanted.commit)  # last: it says that all of it is there
            self.filled.fetched += 1
        if wanted.ref and not _is_commit(wanted.ref):
            self._git(place, "update-ref", f"refs/tags/{wanted.ref}", wanted.commit)
        self._git(place, "symbolic-ref", "HEAD", branch)
        self._git(place, "fsck", "--connectivity-only", "--no-dangling")
        self.filled.git.append(wanted.url)
        if depth < DEEPEST:
            for submodule in self._submodules(place, wanted):
                self._repository(submodule, depth + 1)

    def _submodules(self, place: Path, wanted: Repository) -> list[Repository]:
        from jetson_containers.mirror.needs import Repository

        listed = self._git(place, "ls-tree", "-r", wanted.commit).splitlines()
        commits = {line.partition("\t")[2]: line.split()[2] for line in listed if line.startswith("160000 ")}
        if not commits:
            return []
        blob = f"--blob={wanted.commit}:.gitmodules"
        rows: dict[str, dict[str, str]] = {}
        for line in self._git(place, "config", blob, "--get-regexp", r"^submodule\..*\.(path|url)$").splitlines():
            if match := _FIELD.fullmatch(line):
                rows.setdefault(match[1], {})[match[2]] = match[3]
        found = [(row.get("url", ""), commits.get(row.get("path", ""), "")) for row in rows.values()]
        base = wanted.url.rstrip("/") + "/"
        named = [(urljoin(base, url) if url.startswith("..") else url, commit) for url, commit in found if commit]
        # A repository of the network names no folder of this machine, and no program (`ext::`).
        known = {*PROTOCOLS.split(":")[1:], urlsplit(wanted.url).scheme}
        for url, _ in named:
            if urlsplit(url).scheme not in known:
                raise NotReadyError(f"its submodule `{shown(url)}` is not at an address of the network")
        return [Repository(url=url, commit=commit) for url, commit in named]

    def _git(self, place: Path, *words: str) -> str:
        argv = ["git", "-C", str(place), *words]
        try:
            done = subprocess.run(
                argv, env=self._git_env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise NotReadyError("`git` is not on PATH", hint="sudo apt-get install git") from error
        if done.returncode != 0:
            raise NotReadyError(f"{words[0]} of git failed: {shown(done.stderr.strip())}")
        return done.stdout

    # Files.

    def _plain(self, kind: str, file: PlainFile) -> None:
        place = _place(file.url) if kind == "files" else urlsplit(file.url).path.lstrip("/")
        target = self.root / kind / _safe(place)
        if not self._is_right(target, file.digest):
            self._download(file.url, target, file.digest)
        (self.filled.files if kind == "files" else self.filled.npm).append(file.url)

    def _is_right(self, target: Path, digest: str) -> bool:
        return target.is_file() and (not digest or files.file_digest(target, digest.partition(":")[0]) == digest)

    def _download(self, url: str, target: Path, digest: str) -> None:
        """Fetch one file, in a few tries: a partial one is continued, and begun anew where the whole is wrong."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        self._console.info(f"fetching {url}")
        for tries_left in reversed(range(TRIES)):
            start = partial.stat().st_size if partial.is_file() and digest else 0
            try:
                self._transfer(url, partial, start)
            except _BrokenOffError:
                if not tries_left:
                    raise
                continue
            if not digest or files.file_digest(partial, digest.partition(":")[0]) == digest:
                break
            partial.unlink()
            if (
                not start or not tries_left
            ):  # all of it came at once, so nothing was joined that does not belong together
                raise NotReadyError(f"has another content than the recipe's {digest[:19]}…")
        partial.replace(target)
        self.filled.fetched += 1

    def _transfer(self, url: str, partial: Path, start: int) -> None:
        """Fetch what is missing of a file from `start` on. Raises _BrokenOffError, NotReadyError."""
        with self._open(url, start) as answer:
            if answer.status == UNSATISFIABLE:  # all of it is there
                return
            goes_on = bool(start) and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")
            length, arrived = answer.headers.get("Content-Length", ""), 0
            with files.open_no_link(partial, "ab" if goes_on else "wb") as file:
                while block := _read(answer, 1 << 20):
                    file.write(block)
                    arrived += len(block)
            if is_number(length) and arrived < int(length):
                raise _BrokenOffError(f"{urlsplit(url).netloc} broke off after {arrived} of {length} bytes")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What HTTPS trusts, read once for all files."""
        import ssl

        return ssl.create_default_context(cafile=str(self._ca_bundle) if self._ca_bundle else None)

    @contextlib.contextmanager
    def _open(self, url: str, start: int = 0, accept: str = "") -> Iterator[Any]:
        source = next(
            (
                self._prefixes[p] + url[len(p) :]
                for p in sorted(self._prefixes, key=len, reverse=True)
                if url.startswith(p)
            ),
            url,
        )
        headers = {"User-Agent": "jetson-containers", **({"Range": f"bytes={start}-"} if start else {})}
        request = urllib.request.Request(source, headers=headers | ({"Accept": accept} if accept else {}))  # noqa: S310
        with _answered(source):
            try:
                answer = urllib.request.urlopen(request, timeout=TIMEOUT, context=self._tls)  # noqa: S310
            except urllib.error.HTTPError as error:
                if error.code != UNSATISFIABLE or not start:
                    error.close()
                    kind = _BrokenOffError if error.code >= 500 else NotReadyError
                    raise kind(f"{urlsplit(source).netloc} answers {error.code}") from error
                answer = error
        with answer:
            yield answer

    # Python packages.

    def _python(self, package: PythonPackage, platform: Platform) -> None:
        usable = [row for row in self._listed(package) if _fits(row["filename"], platform)]
        if not usable:
            raise NotReadyError(f"{self._index} has no file of it with a hash of the lock for this target")
        for row in usable:
            target = self.root / "python" / "files" / _safe(row["filename"])
            if not self._is_right(target, row["digest"]):
                self._download(row["url"], target, row["digest"])
        self.filled.python.append(f"{package.name}=={package.version}")

    def _listed(self, package: PythonPackage) -> list[dict[str, str]]:
        """The files of an index that have a hash of the lock; none is asked for where all files are here."""
        page = f"{self._index}/{package.name}/"
        with self._open(page, accept="application/vnd.pypi.simple.v1+json, text/html;q=0.5") as answer:
            text = _read(answer, LARGEST_PAGE).decode("utf-8", "replace")
            base = answer.url
        rows = _rows_json(text) if text.lstrip().startswith("{") else _rows_html(text)
        found = [{"filename": name, "url": urljoin(base, url), "digest": digest} for name, url, digest in rows]
        return [row for row in found if row["digest"] in package.hashes]

    def _write_index(self) -> None:
        """The index of PEP 503 over all files that are there."""
        folder = self.root / "python" / "files"
        by_name: dict[str, list[str]] = {}
        for file in sorted(folder.glob("*")) if folder.is_dir() else []:
            name, _ = _name_and_version(file.name)
            if name:
                line = f'<a href="../../files/{html.escape(file.name)}#sha256={files.file_digest(file)[7:]}">'
                by_name.setdefault(name, []).append(f"{line}{html.escape(file.name)}</a><br>")
        for name, lines in by_name.items():
            page = self.root / "python" / "simple" / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomically(page, "<!DOCTYPE html>\n" + "\n".join(lines) + "\n")


@contextlib.contextmanager
def _answered(url: str) -> Iterator[None]:
    """Say of which server a failure is. What is written meanwhile has other failures: it stands outside."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"{urlsplit(url).netloc} cannot be reached: {shown(str(error))}") from error


def _read(answer: Any, most: int) -> bytes:
    with _answered(answer.url):
        return bytes(answer.read(most))


def listed(root: Path) -> dict[str, list[str]]:
    """What earlier fills wrote down, by kind; a list that cannot be read counts as empty."""
    try:
        data = json_text.parse((root / MANIFEST).read_bytes())
    except (OSError, ValueError):
        data = None
    table = data if isinstance(data, dict) else {}
    rows = {kind: table.get(kind) for kind in KINDS}
    return {
        kind: [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        for kind, names in rows.items()
    }


def _is_commit(ref: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", ref) is not None


def _place(url: str) -> str:
    """Where something of an address lies: `https/github.com/team/tool`."""
    parts = urlsplit(url)
    return _safe(f"{parts.scheme}/{parts.netloc or 'local'}/{parts.path.strip('/')}")


def _safe(path: str) -> str:
    """A relative path that stays in its folder. Raises NotReadyError for one that does not."""
    if not _SAFE.fullmatch(path) or ".." in path.split("/"):
        raise NotReadyError(f"`{shown(path)}` cannot be the name of a file here")
    return path


def _rows_json(text: str) -> list[tuple[str, str, str]]:
    """File name, address and hash of each file of a page (PEP 691)."""
    try:
        rows = json_text.parse(text)["files"]
        return [(str(row["filename"]), str(row["url"]), f"sha256:{row['hashes'].get('sha256', '')}") for row in rows]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _rows_html(text: str) -> list[tuple[str, str, str]]:
    """The same of a page of PEP 503."""
    found = []
    for href in re.findall(r"<a\s[^<>]*?href=[\"']([^\"']+)[\"']", text):
        url, _, fragment = html.unescape(href).partition("#")
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        found.append((unquote(url.rpartition("/")[2]), url, f"sha256:{digest}"))
    return found


def _name_and_version(file: str) -> tuple[str, str]:
    with contextlib.suppress(InvalidWheelFilename, InvalidSdistFilename):
        if file.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file)
        else:
            name, version = parse_sdist_filename(file)
        return name, str(version)
    return "", ""


def _fits(file: str, platform: Platform) -> bool:
    """Whether the target can install a file: a source distribution, or a wheel with a tag of its own."""
    if not file.endswith(".whl"):
        return bool(_name_and_version(file)[0])
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return False
    python = tuple(platform.python.release[:2])
    machine = "aarch64" if platform.docker_platform.endswith("arm64") else "x86_64"
    systems = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC]
    systems += [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")] + [f"linux_{machine}"]
    known = {*cpython_tags(python, platforms=systems), *compatible_tags(python, platforms=systems)}
    return not tags.isdisjoint(known)
