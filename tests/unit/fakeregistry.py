"""An OCI registry and Docker Hub in this process, on loopback, with faults to order.

Used beside `tests/real/test_registry.py`, which asks the real docker-registry the same questions.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.quiethandler import QuietHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


_KEPT: deque[socket.socket] = deque()  # bound and not listening: a connection to them is refused


def _keep_closed(port: int) -> None:
    """Keep a port that was given back from being another process's while a test still asks it in vain."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):
        kept.bind(("127.0.0.1", port))
    _KEPT.append(kept)
    if len(_KEPT) > 32:
        _KEPT.popleft().close()


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


@dataclass
class Fault:
    """One thing that goes wrong, once: a status, a dropped or shortened answer, or a late one."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    shorten: bool = False  # says one length, sends half
    body: bytes | None = None
    delay: float = 0.0
    trickle: float = 0.0  # seconds between bytes


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class FakeRegistry:
    """Start with `with FakeRegistry() as registry`; `host` is its HOST:PORT."""

    def __init__(self, *, auth: str = "", login: tuple[str, str] | None = None, page: int = 0) -> None:
        self.auth = auth  # "", "basic" or "bearer"
        self.login = login
        self.page = page
        self.upload_at = ""  # where uploads are sent; "": below the repository
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.tags: dict[str, list[str]] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.hub: dict[str, list[dict[str, Any]]] = {}
        self.routes: dict[str, Callable[[Any], None]] = {}
        self.tokens = {"anonymous-token", "login-token"}
        registry = self

        class Handler(QuietHandler):
            def do_any(self) -> None:
                registry.handle(self)

            # http.server looks these names up
            do_GET = do_HEAD = do_POST = do_PUT = do_CONNECT = do_any  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> FakeRegistry:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        port = self._server.server_address[1]
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        _keep_closed(int(port))

    # what is in it

    def add_image(
        self,
        repository: str,
        tag: str,
        *,
        arch: str = "arm64",
        labels: Mapping[str, str] | None = None,
        size: int = 1000,
        created: str = "2026-10-01T00:00:00Z",
    ) -> str:
        """Add an image and return its digest."""
        config = json.dumps(
            {"architecture": arch, "os": "linux", "created": created, "config": {"Labels": dict(labels or {})}}
        ).encode()
        self.blobs[digest_of(config)] = config
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"digest": digest_of(config), "size": len(config)},
                "layers": [{"digest": "sha256:" + "0" * 64, "size": size}],
            }
        ).encode()
        return self._add(repository, tag, MANIFEST, manifest)

    def add_index(self, repository: str, tag: str, images: Mapping[str, str]) -> str:
        """Add a multi-platform tag over images added before: architecture → digest."""
        entries = [{"digest": d, "platform": {"os": "linux", "architecture": a}} for a, d in images.items()]
        entries.append({"digest": "sha256:" + "f" * 64, "platform": {"os": "unknown", "architecture": "unknown"}})
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        return self._add(repository, tag, INDEX, body)

    def _add(self, repository: str, tag: str, media_type: str, body: bytes) -> str:
        digest = digest_of(body)
        if tag not in self.tags.setdefault(repository, []):
            self.tags[repository].append(tag)
        for reference in (tag, digest):
            self.manifests[repository, reference] = (media_type, body)
        return digest

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    # how it answers

    def handle(self, request: Any) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        self.seen.append(Seen(request.command, request.path, dict(request.headers.items()), request.rfile.read(length)))
        if self.faults:
            fault = self.faults.pop(0)
            if self._fail(request, fault):
                return
        path = urlsplit(request.path).path
        if path in self.routes:
            self.routes[path](request)
        elif path == "/token":
            self._token(request)
        elif path.startswith("/v2/repositories/"):
            self._hub(request, path)
        elif self._authorized(request):
            self._registry(request, path)

    def _fail(self, request: Any, fault: Fault) -> bool:
        time.sleep(fault.delay)
        if fault.drop:
            request.close_connection = True
            request.connection.close()
        elif fault.status:
            self.send(request, fault.status, fault.body or b"{}", headers=fault.headers)
        elif fault.trickle:
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
            for _ in range(100):
                request.wfile.write(b" ")
                request.wfile.flush()
                time.sleep(fault.trickle)
        elif fault.shorten or fault.body is not None:
            body = fault.body if fault.body is not None else b'{"tags": ["0.1-r36.4.0", "0.2'
            self.send(request, 200, body, length=len(body) * (2 if fault.shorten else 1))
            request.close_connection = True
        else:
            return False
        return True

    def _authorized(self, request: Any) -> bool:
        given = request.headers.get("Authorization", "")
        if not self.auth:
            return True
        if self.auth == "basic":
            ok, challenge = self._login_ok(given), 'Basic realm="registry"'
        else:
            ok = given.removeprefix("Bearer ") in self.tokens
            challenge = f'Bearer realm="{self.url}/token",service="fake"'
        if not ok:
            self.send(request, 401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', headers={"WWW-Authenticate": challenge})
        return ok

    def _login_ok(self, given: str) -> bool:
        if self.login is None or not given.startswith("Basic "):
            return False
        return base64.b64decode(given[6:]).decode() == ":".join(self.login)

    def _token(self, request: Any) -> None:
        given = request.headers.get("Authorization", "")
        if request.command == "POST":
            form = parse_qs(self.seen[-1].body.decode())
            ok = form.get("refresh_token") == ["refresh"]
            self.send(request, 200 if ok else 401, json.dumps({"access_token": "login-token"}).encode())
        elif (given or self.login) and not self._login_ok(given):
            self.send(request, 401, b"{}")
        else:
            token = "login-token" if given else "anonymous-token"
            self.send(request, 200, json.dumps({"token": token}).encode())

    def _hub(self, request: Any, path: str) -> None:
        repository = "/".join(path.split("/")[3:5])
        if repository not in self.hub:
            self.send(request, 404, b'{"message":"object not found"}')
            return
        rows = self.hub[repository]
        etag = '"' + digest_of(json.dumps(rows).encode())[7:20] + '"'
        if request.headers.get("If-None-Match") == etag:
            self.send(request, 304, b"", headers={"ETag": etag})
            return
        number = int(parse_qs(urlsplit(request.path).query).get("page", ["1"])[0])
        size = self.page or 100
        following = f"https://hub.docker.com{path}?page={number + 1}" if number * size < len(rows) else None
        page = {"results": rows[(number - 1) * size : number * size], "next": following}
        self.send(request, 200, json.dumps(page).encode(), headers={"ETag": etag})

    def _registry(self, request: Any, path: str) -> None:
        if path == "/v2/":
            self.send(request, 200, b"{}")
        elif path == "/v2/_catalog":
            self.send(request, 200, json.dumps({"repositories": sorted(self.tags)}).encode())
        elif path.endswith("/tags/list"):
            self._tags(request, path.removeprefix("/v2/").removesuffix("/tags/list"))
        elif request.command in {"POST", "PUT"}:
            self._store(request, path)
        elif "/manifests/" in path:
            repository, _, reference = path.removeprefix("/v2/").partition("/manifests/")
            media_type, body = self.manifests.get((repository, reference), ("", b""))
            headers = {"Docker-Content-Digest": digest_of(body)}
            self.send(request, 200 if body else 404, body or b"{}", kind=media_type, headers=headers if body else {})
        elif "/blobs/" in path:
            blob = self.blobs.get(path.rpartition("/")[2])
            self.send(request, 200 if blob else 404, blob or b"{}")
        else:
            self.send(request, 404, b"{}")

    def _store(self, request: Any, path: str) -> None:
        body = self.seen[-1].body
        if path.endswith("/blobs/uploads/"):
            self.send(request, 202, b"", headers={"Location": self.upload_at or f"{path}a-session?state=1"})
        elif "/blobs/uploads/" in path:
            digest = parse_qs(urlsplit(request.path).query)["digest"][0]
            if digest == digest_of(body):
                self.blobs[digest] = body
            self.send(request, 201 if digest in self.blobs else 400, b"{}")
        else:
            repository, _, tag = path.removeprefix("/v2/").partition("/manifests/")
            self._add(repository, tag, request.headers["Content-Type"], body)
            self.send(request, 201, b"")

    def _tags(self, request: Any, repository: str) -> None:
        if repository not in self.tags:
            self.send(request, 404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
            return
        names = sorted(self.tags[repository])
        query = parse_qs(urlsplit(request.path).query)
        last = query.get("last", [""])[0]
        rest = [name for name in names if name > last]
        headers = {}
        if self.page and len(rest) > self.page:
            rest = rest[: self.page]
            headers["Link"] = f'</v2/{repository}/tags/list?last={rest[-1]}&n={self.page}>; rel="next"'
        self.send(request, 200, json.dumps({"name": repository, "tags": rest}).encode(), headers=headers)

    def send(
        self,
        request: Any,
        status: int,
        body: bytes,
        *,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind or "application/json")
        request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
