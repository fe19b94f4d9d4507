"""The OCI Distribution API, as far as we use it: tags, manifests, image configs and small files.

Source: the OCI distribution and image specifications 1.1. Anonymous, Basic, and Bearer (token) authentication.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from jetson_containers.core import checked, json_text
from jetson_containers.core.docker_login import DOCKER_HUB, Credentials, docker_credentials
from jetson_containers.core.errors import RegistryError, command
from jetson_containers.registry.auth import Challenge, parse_challenge
from jetson_containers.registry.types import ImageInfo, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jetson_containers.core.settings import Settings
    from jetson_containers.registry.http import Response, Stream, Transport
    from jetson_containers.registry.types import ImageRepository

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join((*INDEX_TYPES, *IMAGE_TYPES))
PAGE = 1000  # tags asked for at once; the server may give fewer
MAX_PAGES = 200
LARGEST_MANIFEST = 4 << 20  # bytes; what the distribution specification lets a registry refuse
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")  # as the OCI image specification has it
_TOKEN = re.compile(r"[!-~]+")  # what a header can hold
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


class RegistryClient:
    """Asks registries. Keeps bearer tokens for its own lifetime; threads may share one."""

    def __init__(
        self,
        transport: Transport,
        credentials: Callable[[str], Credentials | None] = docker_credentials,
        *,
        hub_registry: str = "registry-1.docker.io",
        mirrors: Mapping[str, str] | None = None,
    ) -> None:
        self.transport = transport
        self._credentials = credentials
        self._hub_registry = hub_registry
        self._mirrors = mirrors or {}
        self._headers: dict[tuple[str, str], str] = {}  # (host, scope) → Authorization

    @classmethod
    def of(cls, settings: Settings, *, mirrored: bool = True) -> RegistryClient:
        """Make one from the settings and the user's Docker configuration; to write, one without mirrors."""
        from jetson_containers.registry.http import Transport

        found = settings["mirrors"].get("registries", {}) if mirrored else {}
        return cls(Transport.of(settings), lambda host: docker_credentials(host, settings.env), mirrors=found)

    def has_mirror(self, host: str) -> bool:
        """Whether another registry is asked instead of this one."""
        return host in self._mirrors

    def _at(self, repository: ImageRepository) -> ImageRepository:
        """The repository that is asked: that on the mirror of its registry, where there is one."""
        mirror = self._mirrors.get(repository.host)
        if mirror is None:
            return repository
        host, _, place = mirror.partition("/")
        return replace(repository, host=host, path=f"{place}/{repository.path}" if place else repository.path)

    def has_credentials(self, host: str) -> bool:
        """Whether the user has logged in there."""
        return self._credentials(host) is not None

    def tags(self, repository: ImageRepository) -> tuple[str, ...]:
        """All tags, page by page; empty when the registry has no such repository.

        Raises UnreachableError, or RegistryError when the registry refuses us.
        """
        found: list[str] = []
        repository = self._at(repository)
        for page in self._pages(repository, f"/v2/{repository.path}/tags/list?n={PAGE}"):
            found += _names(repository, page.get("tags"))
        return tuple(dict.fromkeys(found))

    def repositories(self, namespace: ImageRepository) -> tuple[str, ...]:
        """The repositories below a namespace; empty where the registry has none. Most hosted registries refuse."""
        found: list[str] = []
        for page in self._pages(namespace, f"/v2/_catalog?n={PAGE}", scope="registry:catalog:*"):
            found += _names(namespace, page.get("repositories"))
        return tuple(name for name in found if name.startswith(f"{namespace.path}/"))

    def digest(self, repository: ImageRepository, reference: str) -> str | None:
        """The digest a tag points to (of the index, for a multi-platform tag); None when there is no such tag."""
        repository = self._at(repository)
        path = _manifest_path(repository, reference)
        response = self._request("HEAD", repository, path, {"Accept": ACCEPT})
        if response.status == 404:
            return None
        if found := response.headers.get("docker-content-digest"):
            return found
        manifest = self._manifest(repository, reference)  # some proxies drop the header of HEAD answers
        return manifest[2] if manifest else None

    def inspect(self, repository: ImageRepository, reference: str, architecture: str) -> ImageInfo | None:
        """Read manifest and config, of a multi-platform tag those for `architecture` (else the first).

        None when there is no such tag, or it is not an image. `architecture` is Docker's name: "arm64", "amd64".
        """
        repository = self._at(repository)
        top = self._manifest(repository, reference)
        if top is None:
            return None
        manifest, media_type, digest = top
        platforms: tuple[str, ...] = ()
        if media_type in INDEX_TYPES:
            with _reading(repository):
                entries = _image_entries(manifest)
            if not entries:
                return None
            platforms = tuple(arch for arch, _ in entries)
            chosen = dict(reversed(entries)).get(architecture) or entries[0][1]
            inner = self._manifest(repository, chosen)
            if inner is None:
                raise _nonsense(repository, f"lists {chosen} for `{reference}` and does not have it")
            manifest = inner[0]
        with _reading(repository):
            layers = checked.items(manifest.get("layers") or [])
            parts = [checked.mapping(part) for part in (manifest.get("config"), *layers)]
            config = self._config(repository, parts[0])
            arch = checked.text(config.get("architecture") or "") or None
            return ImageInfo(
                digest=digest,
                media_type=media_type,
                architecture=arch,
                size=sum(checked.number(part.get("size", 0)) for part in parts),
                created=checked.text(config.get("created") or ""),
                labels=checked.texts(checked.mapping(config.get("config") or {}).get("Labels")),
                platforms=platforms or ((arch,) if arch else ()),
            )

    def artifact(self, repository: ImageRepository, reference: str) -> tuple[dict[str, Any], str] | None:
        """The manifest of one artifact or image, and its digest; None when there is no such tag.

        An index with one entry stands for that. What was asked by digest has it. Raises RegistryError.
        """
        repository = self._at(repository)
        for _ in range(2):
            response = self._request(
                "GET", repository, _manifest_path(repository, reference), {"Accept": ACCEPT}, want_json=True
            )
            if response.status == 404:
                return None
            digest = _sha256(response.body)
            if len(response.body) > LARGEST_MANIFEST:
                raise _nonsense(repository, f"a manifest of {len(response.body)} bytes")
            if reference.startswith("sha256:") and digest != reference:
                raise _nonsense(repository, f"what it gives for {reference} does not have that content")
            manifest = _object(response, repository)
            with _reading(repository):
                entries = checked.items(manifest.get("manifests") or [])
                if not entries:
                    return manifest, digest
                if len(entries) > 1:
                    raise _nonsense(repository, f"`{reference}` stands for {len(entries)} images, not for one artifact")
                reference = checked.text(checked.mapping(entries[0]).get("digest"))
            if not _DIGEST.fullmatch(reference):
                raise _nonsense(repository, "an index names no manifest")
        raise _nonsense(repository, f"`{reference}` is an index within an index")

    def small_blob(self, repository: ImageRepository, digest: str) -> dict[str, Any]:
        """An object that a manifest names, such as its config; its checksum is compared. Raises RegistryError."""
        return self._config(self._at(repository), {"digest": digest})

    def small_bytes(self, repository: ImageRepository, digest: str) -> bytes:
        """A small file that a manifest names; its checksum is compared. Raises RegistryError."""
        return self._small(self._at(repository), digest, want_json=False).body

    def put_blob(self, repository: ImageRepository, data: bytes) -> str:
        """Store a small file, unless it is there; its digest. Raises RegistryError."""
        digest = _sha256(data)
        place, scope = f"/v2/{repository.path}/blobs/", f"repository:{repository.path}:pull,push"
        if self._request("HEAD", repository, place + digest, {}, scope=scope).status == 200:
            return digest
        kind = {"Content-Type": "application/octet-stream"}
        begun = self._request("POST", repository, f"{place}uploads/", kind, scope=scope, data=b"", expected=(202,))
        upload = self._path_of(repository, place, begun.headers.get("location", ""), "an upload")
        joint = "" if upload.endswith("?") else "&"
        self._request(
            "PUT", repository, f"{upload}{joint}digest={digest}", kind, scope=scope, data=data, expected=(201,)
        )
        return digest

    def put_manifest(self, repository: ImageRepository, tag: str, manifest: bytes, media_type: str) -> None:
        """Let a tag point to a manifest, whose parts are stored. Raises RegistryError."""
        path, scope = _manifest_path(repository, tag), f"repository:{repository.path}:pull,push"
        kind = {"Content-Type": media_type}
        self._request("PUT", repository, path, kind, scope=scope, data=manifest, expected=(201,))

    @contextlib.contextmanager
    def blob(self, repository: ImageRepository, digest: str, headers: Mapping[str, str]) -> Iterator[Stream]:
        """What a digest names, block by block, with the answer's status. Raises as `Transport.stream`, RegistryError.

        The checksum is the caller's to compare.
        """
        repository = self._at(repository)
        url = f"{self._base(repository)}/v2/{repository.path}/blobs/{digest}"
        key = (repository.host, f"repository:{repository.path}:pull")
        for attempt in (1, 2):
            authorization = self._headers.get(key)
            given = {**headers, **({"Authorization": authorization} if authorization else {})}
            with self.transport.stream(url, given) as answer:
                if answer.status not in {401, 403}:
                    yield answer
                    return
            challenge = parse_challenge(answer.headers.get("www-authenticate", ""))
            if attempt == 2 or challenge is None or answer.status == 403:
                self._headers.pop(key, None)
                raise self._refused(repository, answer.status)
            self._headers[key] = self._authorize(repository, challenge, key[1])

    def _manifest(self, repository: ImageRepository, reference: str) -> tuple[dict[str, Any], str, str] | None:
        response = self._request(
            "GET", repository, _manifest_path(repository, reference), {"Accept": ACCEPT}, want_json=True
        )
        if response.status == 404:
            return None
        manifest = _object(response, repository)
        media_type = manifest.get("mediaType") or response.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in (*INDEX_TYPES, *IMAGE_TYPES):
            raise _nonsense(repository, f"`{reference}` has a manifest of type `{media_type}`")
        digest = _sha256(response.body)
        said = response.headers.get("docker-content-digest") or digest
        for name in (said, reference):  # what is read here and what an engine would pull must be the same
            if name.startswith("sha256:") and name != digest:
                raise _nonsense(repository, f"what it gives for `{reference}` is not {name}")
        return manifest, media_type, said

    def _config(self, repository: ImageRepository, descriptor: Mapping[str, Any]) -> dict[str, Any]:
        digest = descriptor.get("digest")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _nonsense(repository, "a manifest names no config")
        return _object(self._small(repository, digest, want_json=True), repository)

    def _small(self, repository: ImageRepository, digest: str, *, want_json: bool) -> Response:
        path = f"/v2/{repository.path}/blobs/{digest}"
        response = self._request("GET", repository, path, {}, want_json=want_json)
        if _sha256(response.body) != digest:
            raise _nonsense(repository, f"blob {digest} does not have that content")
        return response

    def _pages(self, repository: ImageRepository, path: str, *, scope: str = "") -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        while path:
            if path in seen or len(seen) >= MAX_PAGES:
                raise _nonsense(repository, "its pages of tags do not end")
            seen.add(path)
            response = self._request("GET", repository, path, {}, want_json=True, scope=scope)
            if response.status == 404:
                return
            yield _object(response, repository)
            path = self._next_path(repository, path, response.headers.get("link", ""))

    def _next_path(self, repository: ImageRepository, path: str, link: str) -> str:
        """The next page of the same registry; a link that leads elsewhere must not get our token."""
        match = _NEXT.search(link)
        if not match:
            return ""
        return self._path_of(repository, path, match.group(1), "its next page")

    def _path_of(self, repository: ImageRepository, path: str, link: str, what: str) -> str:
        """Path and query of a link that stands in the answer to `path`."""
        base = self._base(repository)
        with _reading(repository):
            parts = urlsplit(urljoin(base + path, link))
        if parts.netloc != urlsplit(base).netloc:
            raise _nonsense(repository, f"{what} is on another host, {parts.netloc}")
        return f"{parts.path}?{parts.query}"

    def _base(self, repository: ImageRepository) -> str:
        host = self._hub_registry if repository.host == DOCKER_HUB else repository.host
        return self.transport.base_url(host)

    def _request(
        self,
        method: str,
        repository: ImageRepository,
        path: str,
        headers: Mapping[str, str],
        *,
        want_json: bool = False,
        scope: str = "",
        data: bytes | None = None,
        expected: tuple[int, ...] = (200, 404),
    ) -> Response:
        """Send with the token we have; on 401 get one and send again. Raises RegistryError when still refused."""
        url = self._base(repository) + path
        key = (repository.host, scope or f"repository:{repository.path}:pull")
        response = self._send(method, url, headers, key, data, want_json=want_json)
        if response.status == 401:
            challenge = parse_challenge(response.headers.get("www-authenticate", ""))
            if challenge is None:
                raise self._refused(repository, 401)
            self._headers[key] = self._authorize(repository, challenge, key[1])
            response = self._send(method, url, headers, key, data, want_json=want_json)
        if response.status in {401, 403}:
            self._headers.pop(key, None)
            doing = "write to" if key[1].endswith("push") else "read"
            raise self._refused(repository, response.status, doing)
        if response.status not in expected:
            raise _nonsense(repository, f"answered {response.status} to {method} {path.partition('?')[0]}")
        return response

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        key: tuple[str, str],
        data: bytes | None,
        *,
        want_json: bool,
    ) -> Response:
        authorization = self._headers.get(key)
        extra = {"Authorization": authorization} if authorization else {}
        return self.transport.request(method, url, headers={**headers, **extra}, data=data, want_json=want_json)

    def _authorize(self, repository: ImageRepository, challenge: Challenge, scope: str) -> str:
        credentials = self._credentials(repository.host)
        if challenge.scheme == "basic":
            if credentials is None or not credentials.username:
                raise self._refused(repository, 401)
            return credentials.basic
        return "Bearer " + self._token(repository, challenge, scope, credentials)

    def _token(
        self, repository: ImageRepository, challenge: Challenge, scope: str, credentials: Credentials | None
    ) -> str:
        query = {"service": challenge.service, "scope": challenge.scope or scope}
        query = {key: value for key, value in query.items() if value}
        if credentials and credentials.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "jetson-containers",
                "refresh_token": credentials.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self.transport.request(
                "POST", challenge.realm, headers=headers, data=urlencode(form).encode(), want_json=True
            )
        else:
            joint = "&" if "?" in challenge.realm else "?"
            headers = {"Authorization": credentials.basic} if credentials else {}
            response = self.transport.request(
                "GET", challenge.realm + joint + urlencode(query), headers=headers, want_json=True
            )
        if response.status in {400, 401, 403}:
            raise self._refused(repository, response.status)
        answer = _object(response, repository) if response.status == 200 else {}
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _nonsense(repository, f"its token service answered {response.status} and gave no token")
        return token

    def _refused(self, repository: ImageRepository, status: int, doing: str = "read") -> RegistryError:
        host = repository.host
        if self.has_credentials(host):
            cause = (
                "does not accept the login" if status != 403 else f"does not let this login {doing} {repository.path}"
            )
        else:
            cause = f"wants a login for {repository.path}, or has no such repository"
        words = () if host == DOCKER_HUB else (host,)
        return RegistryError(f"registry {host}: {cause} ({status})", hint=command("docker", "login", *words))


def _manifest_path(repository: ImageRepository, reference: str) -> str:
    return f"/v2/{repository.path}/manifests/{quote(reference, safe=':')}"


def _image_entries(index: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(architecture, digest) of the images of an index; attestations have the architecture "unknown"."""
    found = []
    for entry in map(checked.mapping, checked.items(index.get("manifests") or [])):
        platform = checked.mapping(entry.get("platform") or {})
        if platform.get("os", "linux") == "linux" and platform.get("architecture", "unknown") != "unknown":
            found.append((checked.text(platform["architecture"]), checked.text(entry.get("digest"))))
    return found


def _object(response: Response, repository: ImageRepository) -> dict[str, Any]:
    with _reading(repository):
        return checked.mapping(json_text.parse(response.body))


def _names(repository: ImageRepository, value: object) -> list[str]:
    with _reading(repository):
        return [checked.text(name) for name in checked.items(value or [])]


@contextlib.contextmanager
def _reading(repository: ImageRepository) -> Iterator[None]:
    """Say whose answer it was that a reader inside finds unusable."""
    try:
        yield
    except ValueError as error:
        raise _nonsense(repository, f"sent something that is not a registry's answer: {error}") from error


def _nonsense(repository: ImageRepository, what: str) -> UnreachableError:
    return UnreachableError(
        f"registry {repository.host}: {what}",
        hint=f"is `{repository.host}` a container registry? "
        f"{command('curl', '-i', f'https://{repository.host}/v2/')} shows its answer",
    )


def _sha256(body: bytes) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(body).hexdigest()
