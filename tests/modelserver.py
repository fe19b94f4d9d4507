"""Ollama's registry, as an OCI registry and ModelScope, in this process, on loopback, with faults to order.

It answers as the hub of `tests/hubserver.py` does, whose faults it shares, for other protocols: manifests and blobs of
a registry (a bearer token where one is asked for, blobs behind a redirect to another host, ranges).

    with ModelServer() as server:
        server.add_ollama("library/llama3.2", "1b", b"GGUF...")
        ... ollama://{server.host}/library/llama3.2:1b ...
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hubserver import File, HubServer, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OLLAMA = "application/vnd.ollama.image."
TOKEN = "registry-token"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class ModelServer(HubServer):
    """Start with `with ModelServer() as server`; `host` is its HOST:PORT."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.host = self.url.removeprefix("http://")
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.token_wanted = False
        self.scope: dict[str, dict[str, bytes]] = {}  # ModelScope: ORG/NAME → its files
        self.commit = "c0ffee" + "1" * 34  # of all of them; its answers say the first eight digits
        self.broken: dict[str, object] = {}  # keys of ModelScope's rows that are another value
        self.elsewhere = True  # whether blobs are at another host
        self.plain: dict[str, bytes] = {}  # files by path, as any web server has them
        self.plain_headers: dict[
            str, str
        ] = {}  # what it says of them besides; a header with an empty value is left out

    # what it holds

    def add_blob(self, data: bytes) -> str:
        """Keep a blob; its digest."""
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def layer(self, media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
        """A descriptor of a blob that it keeps from now on."""
        return {"mediaType": media_type, "digest": self.add_blob(data), "size": len(data), **more}

    def add_manifest(self, path: str, tag: str, layers: Sequence[Mapping[str, Any]], **more: Any) -> str:
        """Add a manifest under a tag and its digest, which is returned."""
        body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers, **more}).encode()
        return self.add_body(path, tag, body)

    def add_body(self, path: str, tag: str, body: bytes) -> str:
        """Add any bytes as a manifest."""
        self.manifests[path, tag] = self.manifests[path, digest_of(body)] = body
        return digest_of(body)

    def add_ollama(self, path: str, tag: str, weights: bytes, *, file_type: str = "Q8_0", **kinds: bytes) -> str:
        """Add a model as Ollama pushes one: `kinds` are further layers, `template=b"..."`."""
        config = {"model_format": "gguf", "model_family": "llama", "model_type": "1.2B", "file_type": file_type}
        layers = [self.layer(f"{OLLAMA}model", weights)]
        layers += [self.layer(OLLAMA + kind, data) for kind, data in kinds.items()]
        described = self.layer("application/vnd.docker.container.image.v1+json", json.dumps(config).encode())
        return self.add_manifest(path, tag, layers, config=described)

    def blob_requests(self) -> list[Seen]:
        """Requests for the contents of blobs, redirects left out."""
        return [seen for seen in self.seen if seen.path.startswith("/storage/")]

    def sent_of(self, data: bytes) -> int:
        """Bytes of a blob that were sent since the log began."""
        return self.sent.get(digest_of(data), 0)

    # how it answers

    def answer(self, request: Any) -> None:
        path = unquote(urlsplit(request.path).path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        host, port = request.server.server_address[:2]
        with self._lock:
            self.seen.append(Seen(request.command, path, headers, f"{host}:{port}"))
            fault = self._fault(path, request.command)
        if fault.body is not None or fault.status:
            body = fault.body if fault.body is not None else b'{"errors": []}'
            self._send(request, fault.status or 200, body, fault.headers)
        elif path == "/token":
            self._json(request, {"token": TOKEN})
        elif path in self.plain:
            self._plain(request, self.plain[path], headers)
        elif path.startswith("/storage/"):
            digest = path.removeprefix("/storage/")
            self._contents(request, File(self.blobs[digest], lfs=True), digest, "", fault)
        elif path.startswith("/api/v1/models/"):
            self._modelscope(request, path.removeprefix("/api/v1/models/"), fault)
        elif self.token_wanted and headers.get("authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="{self.url}/token",service="models",scope="repository:any:pull"'
            self._send(request, 401, b"{}", {"WWW-Authenticate": challenge})
        else:
            self._registry(request, path, fault)

    def _plain(self, request: Any, data: bytes, headers: Mapping[str, str]) -> None:
        """Any web server's file; but for the question for its size, it counts as a request for the blob."""
        if headers.get("range") == "bytes=0-0":
            said = {**self._said_of(File(data, lfs=True), ""), "Content-Range": f"bytes 0-0/{len(data)}"}
            self._send(request, 206, data[:1], said)
            return
        digest = self.add_blob(data)
        with self._lock:
            self.seen.append(Seen(request.command, f"/storage/{digest}", dict(headers), self.host))
            fault = self._fault(f"/storage/{digest}", request.command)
        self._contents(request, File(data, lfs=True), digest, "", fault)

    def _said_of(self, file: File, commit: str) -> Mapping[str, str]:
        said = {**super()._said_of(file, commit), **self.plain_headers}
        return {name: value for name, value in said.items() if value}

    def _modelscope(self, request: Any, path: str, fault: Any) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        name, _, action = path.partition("/repo")
        files = self.scope.get(name)
        if files is None:
            self._send(request, 404, b'{"Code": 10010205001, "Message": "record not found", "Success": false}', {})
        elif action == "/files":
            known = asked["Revision"] in {"master", self.commit}
            self._json(request, self._scope_list(files if known else None))
        elif asked.get("FilePath") in files:
            digest = self.add_blob(files[asked["FilePath"]])
            self._send(request, 302, b"", {"Location": f"{self.storage}/storage/{digest}?auth_key=secret"})
        else:
            self._send(request, 404, b"{}", {})

    def _scope_list(self, files: Mapping[str, bytes] | None) -> dict[str, Any]:
        """As ModelScope answers, folders included; an unknown revision has no files, and is no error."""
        rows = []
        for name, data in (files or {}).items():
            row = {"Path": name, "Name": name.rpartition("/")[2], "Type": "blob", "Size": len(data), "IsLFS": False}
            rows.append({**row, "Sha256": hashlib.sha256(data).hexdigest(), "Revision": self.commit, **self.broken})
        folders = {name.rpartition("/")[0] for name in files or {} if "/" in name}
        rows += [{"Path": folder, "Name": folder, "Type": "tree", "Size": 0, "Sha256": ""} for folder in folders]
        latest = {"Id": "", "ShortId": self.commit[:8]} if files else None
        found = {"Files": rows if files else None, "IsVisual": 0, "LatestCommitter": latest}
        return {"Code": 200, "Data": found, "Message": "success", "Success": True}

    def _registry(self, request: Any, path: str, fault: Any) -> None:
        before, _, last = path.rpartition("/")
        repository, _, kind = before.removeprefix("/v2/").rpartition("/")
        if kind == "manifests" and (repository, last) in self.manifests:
            body = self.manifests[repository, last]
            self._send(request, 200, body, {"Content-Type": "text/plain; charset=utf-8"})  # as Ollama's has it
        elif kind == "blobs" and last in self.blobs and self.elsewhere:
            where = f"{self.storage}/storage/{last}?X-Amz-Signature=secret-of-the-storage"
            self._send(request, 307, b"", {"Location": where})
        elif kind == "blobs" and last in self.blobs:
            self._contents(request, File(self.blobs[last], lfs=True), last, "", fault)
        else:
            self._send(request, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', {})
