"""A Hugging Face hub in this process, on loopback, with faults to order.

It speaks as much of the hub's protocol as its client needs to list and fetch: models and data sets, branches, tags and
commits, files in git (ETag: git's sha1) and in LFS (a redirect to another host with `X-Linked-ETag`, the sha256), gated
and private repositories, tokens, ranges. Files are held in memory or come from a directory tree.

    with HubServer() as hub:
        hub.add("org/tiny", {"config.json": b"{}", "model.safetensors": b"..."})
        ... HF_ENDPOINT=hub.url ...

As a program it serves a tree of ORGANIZATION/NAME directories: `python -m tests.hubserver DIRECTORY [PORT]`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.quiethandler import QuietHandler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LFS_FROM = 1000  # bytes: larger files are kept in LFS, and so are these:
LFS_ENDS = (".safetensors", ".bin", ".gguf", ".pt", ".parquet")
_BLOCK = 1 << 16


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class File:
    """One file. A fault of the server does not change what it says about it."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob_id(self) -> str:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return git_sha1(pointer.encode() if self.lfs else self.data)

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id


@dataclass
class Repo:
    """Commits with their files, and the branches and tags that name them."""

    name: str
    kind: str = "model"
    gated: bool | str = False
    private: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    readers: set[str] = field(default_factory=lambda: {"good"})  # tokens that may read it when gated or private

    def commit(self, files: Mapping[str, bytes], *refs: str) -> str:
        """Add a commit with exactly these files; its 40 hex digits."""
        held = {name: File(data, len(data) >= LFS_FROM or name.endswith(LFS_ENDS)) for name, data in files.items()}
        content = "".join(f"{name}:{file.blob_id}\n" for name, file in sorted(held.items()))
        commit = hashlib.sha1(f"{self.kind} {self.name} {len(self.commits)}\n{content}".encode()).hexdigest()
        self.commits[commit] = held
        self.refs.update(dict.fromkeys(refs or ("main",), commit))
        return commit


@dataclass
class Fault:
    """What goes wrong with requests whose path contains `path`; the first `times` of them (0: all)."""

    path: str = ""
    times: int = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    drop_after: int | None = None  # bytes of the body, then the connection breaks
    truncate: int | None = None  # says and sends a body of so many bytes only, as if that were all
    flip: bool = False  # the first byte of the file is another one
    no_ranges: bool = False  # answers 200 with the whole file
    delay: float = 0.0  # seconds before the answer
    trickle: float = 0.0  # seconds between blocks of `block` bytes
    block: int = _BLOCK
    hang: threading.Event | threading.Barrier | None = None  # waited for before the byte `hang_at` of the body
    hang_at: int = 0
    method: str = "GET"
    body: bytes | None = None  # instead of the right one


@dataclass(frozen=True)
class Seen:
    """A request as it came; the names of its headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    host: str

    @property
    def range(self) -> str:
        return self.headers.get("range", "")

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class HubServer:
    """Start with `with HubServer() as hub`; `url` is what HF_ENDPOINT has to be."""

    def __init__(self, port: int = 0) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.renamed: dict[str, str] = {}  # old name → name; requests are redirected, as `gpt2` is
        self.tokens = {"good", "stranger"}  # valid ones; only "good" may read gated and private repositories
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.sent: dict[str, int] = {}  # bytes of file contents by file name
        self._lock = threading.Lock()
        # A second address for LFS contents: the client must not take its token to another host.
        self._servers = [self._listen("127.0.0.1", port), self._listen("127.0.0.2", 0)]
        self.url, self.storage = (
            f"http://{host}:{port}" for host, port in (s.server_address[:2] for s in self._servers)
        )

    def _listen(self, address: str, port: int) -> ThreadingHTTPServer:
        hub = self

        class Handler(QuietHandler):
            def do_any(self) -> None:
                hub.answer(self)

            # http.server looks these names up
            do_GET = do_HEAD = do_POST = do_any  # noqa: N815

        server = ThreadingHTTPServer((address, port), Handler)
        server.daemon_threads = True
        server.block_on_close = False  # a client may keep its connection for later
        return server

    def __enter__(self) -> HubServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            if isinstance(fault.hang, threading.Event):
                fault.hang.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # what it holds

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        kind: str = "model",
        gated: bool | str = False,
        private: bool = False,
    ) -> Repo:
        """Add a repository with one commit on `main`."""
        repo = Repo(name, kind, gated, private)
        repo.commit(files)
        self.repos[kind, name] = repo
        return repo

    def add_tree(self, root: Path) -> None:
        """Add every ORGANIZATION/NAME below a directory; data sets below `datasets/`."""
        for kind, folder in (("model", root), ("dataset", root / "datasets")):
            for path in sorted(folder.glob("*/*")):
                if path.is_dir() and (kind == "dataset" or path.parent.name != "datasets"):
                    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
                    self.add(path.relative_to(folder).as_posix(), files, kind=kind)

    def fail(self, path: str = "", **what: Any) -> Fault:
        """Order a fault; the earliest that fits a request is taken."""
        self.faults.append(Fault(path, **what))
        return self.faults[-1]

    def forget(self) -> None:
        """Begin a new log."""
        self.seen.clear()
        self.sent.clear()

    def file_requests(self, name: str = "") -> list[Seen]:
        """Requests for the contents of a file, redirects left out."""
        return [seen for seen in self.seen if seen.method == "GET" and "/resolve/" in seen.path and name in seen.path]

    # how it answers

    def answer(self, request: Any) -> None:
        path = unquote(urlsplit(request.path).path)
        length = int(request.headers.get("Content-Length") or 0)
        form = parse_qs(request.rfile.read(length).decode()) if length else {}
        host, port = request.server.server_address[:2]
        with self._lock:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.seen.append(Seen(request.command, path, headers, f"{host}:{port}"))
            fault = self._fault(path, request.command)
        if fault.delay:
            time.sleep(fault.delay)
        if self._moved(request, path):
            return
        if fault.body is not None:
            self._send(request, fault.status or 200, fault.body, fault.headers)
        elif fault.status:
            self._send(request, fault.status, b'{"error":"ordered by the test"}', fault.headers)
        elif path.startswith("/storage/"):
            _, _, kind, commit, rest = path.split("/", 4)
            self._contents(request, self._stored(kind, commit, rest), rest, commit, fault)
        elif path == "/api/whoami-v2":
            self._json(request, {"type": "user", "name": "tester"} if self._token(request) in self.tokens else None)
        elif path.startswith("/api/"):
            self._api(request, path, form)
        else:
            self._resolve(request, path, fault)

    def _moved(self, request: Any, path: str) -> bool:
        for old, new in self.renamed.items():
            for start in (f"/api/models/{old}", f"/{old}"):
                if path == start or path.startswith(start + "/"):
                    self._send(request, 307, b"", {"Location": request.path.replace(start, start.replace(old, new), 1)})
                    return True
        return False

    def _fault(self, path: str, method: str) -> Fault:
        for fault in self.faults:
            if fault.path in path and fault.method in {method, "ANY"}:
                if fault.times == 1:
                    self.faults.remove(fault)
                elif fault.times > 1:
                    fault.times -= 1
                return fault
        return Fault()

    def _api(self, request: Any, path: str, form: Mapping[str, list[str]]) -> None:
        """`/api/models/ID[/revision/REV]`, `/api/models/ID/tree/REV[/PATH]`, `/api/models/ID/paths-info/REV`."""
        kind = "dataset" if path.startswith("/api/datasets/") else "model"
        name, action, rest = _split(path.removeprefix(f"/api/{kind}s/"), ("revision", "tree", "paths-info"))
        repo = self._allowed(request, kind, name, contents=False)
        if repo is None:
            return
        commit = self._commit(repo, rest) if action else repo.refs["main"]
        if commit is None:
            self._refuse(request, 404, "RevisionNotFound", "Invalid rev id")
        elif action == "tree":
            self._json(request, [_tree_item(name, file) for name, file in sorted(repo.commits[commit].items())])
        elif action == "paths-info":
            files = repo.commits[commit]
            self._json(request, [_tree_item(name, files[name]) for name in form.get("paths", []) if name in files])
        else:
            self._json(request, _info(repo, commit, blobs="blobs" in request.path))

    def _resolve(self, request: Any, path: str, fault: Fault) -> None:
        """`/ID/resolve/REV/FILE`: the contents, or a redirect to where LFS keeps them."""
        kind = "dataset" if path.startswith("/datasets/") else "model"
        name, action, rest = _split(path.removeprefix("/datasets").strip("/"), ("resolve",))
        repo = self._allowed(request, kind, name, contents=True)
        if repo is None or not action:
            return
        commit = self._commit(repo, rest)
        if commit is None:
            self._refuse(request, 404, "RevisionNotFound", "Invalid rev id")
            return
        revision = next(r for r in (*repo.refs, commit) if rest == r or rest.startswith(r + "/"))
        filename = rest[len(revision) + 1 :]
        file = repo.commits[commit].get(filename)
        if file is None:
            self._refuse(request, 404, "EntryNotFound", "Entry not found")
        elif file.lfs:
            headers = {"X-Repo-Commit": commit, "X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(len(file.data))}
            where = f"{self.storage}/storage/{kind}/{commit}/{name}/resolve/{filename}?signature=secret-of-the-storage"
            self._send(request, 302, b"", {**headers, "Location": where, "ETag": f'"{file.etag}"'})
        else:
            self._contents(request, file, filename, commit, fault)

    def _stored(self, kind: str, commit: str, rest: str) -> File:
        name, _, filename = rest.partition("/resolve/")
        return self.repos[kind, name].commits[commit][filename]

    def _contents(self, request: Any, file: File, name: str, commit: str, fault: Fault) -> None:
        data = file.data
        if fault.flip:
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault.truncate is not None:
            data = data[: fault.truncate]
        asked = None if fault.no_ranges else re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(data)) if asked and asked[2] else len(data)
        if asked and start >= len(data):
            self._send(request, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        for key, value in self._said_of(file, commit).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(end - start))
        request.end_headers()
        if request.command != "HEAD":
            self._send_blocks(request, data[start:end], name.rpartition("/resolve/")[2], fault)

    def _said_of(self, file: File, commit: str) -> Mapping[str, str]:
        return {"ETag": f'"{file.etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}

    def _send_blocks(self, request: Any, data: bytes, name: str, fault: Fault) -> None:
        end = len(data) if fault.drop_after is None else min(fault.drop_after, len(data))
        if fault.hang:
            self._send_block(request, data[: fault.hang_at], name)
            fault.hang.wait(60)
        for begin in range(fault.hang_at if fault.hang else 0, end, fault.block):
            self._send_block(request, data[begin : min(begin + fault.block, end)], name)
            if fault.trickle:
                time.sleep(fault.trickle)
        if fault.drop_after is not None:
            request.close_connection = True
            request.connection.close()

    def _send_block(self, request: Any, block: bytes, name: str) -> None:
        request.wfile.write(block)
        request.wfile.flush()
        with self._lock:
            self.sent[name] = self.sent.get(name, 0) + len(block)

    def _allowed(self, request: Any, kind: str, name: str, *, contents: bool) -> Repo | None:
        """The repository, if this request may read it; else the refusal is sent, as the hub words it."""
        token = self._token(request)
        repo = self.repos.get((kind, name))
        if token and token not in self.tokens:
            self._refuse(request, 401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and token not in repo.readers):
            self._refuse(request, 404 if token else 401, "RepoNotFound", "Repository not found")
        elif repo.gated and contents and token not in repo.readers:
            words = f"Access to {kind} {name} is restricted" + (
                "" if token else ". You must be authenticated to access it"
            )
            self._refuse(request, 403 if token else 401, "GatedRepo", words)
        else:
            return repo
        return None

    def _commit(self, repo: Repo, rest: str) -> str | None:
        """The commit of `REV` or `REV/…`, where REV may hold slashes."""
        for revision in sorted([*repo.refs, *repo.commits], key=len, reverse=True):
            if rest == revision or rest.startswith(revision + "/"):
                return repo.refs.get(revision, revision)
        return None

    def _token(self, request: Any) -> str:
        return str(request.headers.get("Authorization", "")).removeprefix("Bearer ")

    def _refuse(self, request: Any, status: int, code: str, words: str) -> None:
        headers = {"X-Error-Message": words, **({"X-Error-Code": code} if code else {})}
        self._send(request, status, json.dumps({"error": words}).encode(), headers)

    def _json(self, request: Any, value: Any) -> None:
        if value is None:
            self._refuse(request, 401, "", "Invalid username or password.")
        else:
            self._send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, request: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


def _split(path: str, actions: tuple[str, ...]) -> tuple[str, str, str]:
    """`org/name/ACTION/rest` → (org/name, ACTION, rest)."""
    parts = path.strip("/").split("/")
    for number, part in enumerate(parts):
        if number in {1, 2} and part in actions:
            return "/".join(parts[:number]), part, "/".join(parts[number + 1 :])
    return path, "", ""


def _lfs(file: File, key: str) -> dict[str, Any]:
    return {"lfs": {key: file.sha256, "size": len(file.data), "pointerSize": 130}} if file.lfs else {}


def _tree_item(name: str, file: File) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(file.data), "oid": file.blob_id, **_lfs(file, "oid")}


def _siblings(files: Mapping[str, File], *, blobs: bool) -> Iterator[dict[str, Any]]:
    for name, file in sorted(files.items()):
        details = {"size": len(file.data), "blobId": file.blob_id, **_lfs(file, "sha256")}
        yield {"rfilename": name, **(details if blobs else {})}


def _info(repo: Repo, commit: str, *, blobs: bool) -> dict[str, Any]:
    return {
        "id": repo.name, "modelId": repo.name, "sha": commit, "private": repo.private, "gated": repo.gated,
        "tags": [], "siblings": list(_siblings(repo.commits[commit], blobs=blobs)),
    }  # fmt: skip


def main(argv: list[str]) -> None:
    """Serve a directory tree until it is stopped; the address is the first line on stdout."""
    with HubServer(int(argv[1]) if len(argv) > 1 else 0) as hub:
        hub.add_tree(Path(argv[0]))
        sys.stdout.write(hub.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
