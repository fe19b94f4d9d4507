"""HTTP as registries need it: time limits, retries with back-off, proxies, our own certificates, no leaks.

Policy: a request ends within `timeout` seconds, retries, pauses and redirects included, and however slowly the server
sends (`deadline`); only the look-up of a name has no limit of ours. No answer, 408, 429 and 5xx are
tried again; any other answer is returned to the caller. Credentials never follow a redirect to another host
and never travel over plain HTTP except to loopback or a registry the user listed as insecure.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import traceback
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jetson_containers.core import json_text
from jetson_containers.core.errors import RegistryError, command
from jetson_containers.core.text import is_number
from jetson_containers.registry.types import ClockError, UnreachableError, plain_http_allowed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from http.client import HTTPResponse
    from pathlib import Path
    from urllib.request import OpenerDirector, Request

    from jetson_containers.core.settings import Settings

RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
ATTEMPTS = 6
FIRST_PAUSE = 0.5  # seconds; doubles with every attempt
LONGEST_PAUSE = 8.0
MAX_BODY = 32 << 20  # bytes: listings and manifests are far smaller; more is a mistake or an attack
OUT_OF_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL
CERTS = "/etc/docker/certs.d"  # where Docker looks for a registry's own CA


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer, read to its end. Header names are lower case; repeated headers are joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """Parse the body; `Transport.request(..., want_json=True)` has made sure that it is JSON."""
        return json_text.parse(self.body)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An answer whose body arrives block by block. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    blocks: Iterator[bytes]


class _Retry(Exception):  # noqa: N818 - control flow inside `request`, not an error anyone sees
    """This attempt failed in a way that may pass. `after` is the server's own wish in seconds."""

    def __init__(self, cause: str, after: float | None = None, *, attempts: int = ATTEMPTS) -> None:
        super().__init__(cause)
        self.cause = cause
        self.after = after
        self.attempts = attempts


class Transport:
    """Sends requests. Stateless but for its opener, so threads may share one."""

    def __init__(
        self,
        *,
        timeout: float = 20.0,
        ca_bundle: Path | None = None,
        insecure: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] | None = None,
        what: str = "registry",
    ) -> None:
        self.timeout = timeout
        self._what = what  # is asked, for messages
        self.insecure = tuple(insecure)
        self._ca_bundle = ca_bundle
        self._env = os.environ if env is None else env
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    @classmethod
    def of(cls, settings: Settings, what: str = "registry") -> Transport:
        """Make one from the settings: certificates, insecure registries, time limit, proxies of the environment."""
        return cls(
            what=what,
            timeout=float(settings["stop_timeout"]),
            ca_bundle=settings["ca_bundle"],
            insecure=settings["insecure_registries"],
            env=settings.env,
        )

    def base_url(self, host: str) -> str:
        """The scheme and host of a registry: plain HTTP only where that is allowed."""
        return f"{'http' if plain_http_allowed(host, self.insecure) else 'https'}://{host}"

    def check_url(self, url: str) -> None:
        """Raise RegistryError for a URL without encryption, or for something that is not a URL."""
        parts = urlsplit(url)
        if parts.scheme == "https" or (
            parts.scheme == "http" and plain_http_allowed(parts.netloc.rpartition("@")[2], self.insecure)
        ):
            return
        host = parts.netloc.rpartition("@")[2] or "?"
        raise RegistryError(
            f"{self._what} {host}: would be spoken to without encryption (`{parts.scheme}`)",
            hint=f"if that is meant: JETSON_CONTAINERS_INSECURE_REGISTRIES={host}",
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        want_json: bool = False,
    ) -> Response:
        """Send a request until it is answered or time is up.

        Raises UnreachableError naming host and cause; RegistryError for an untrusted certificate or plain HTTP.
        """
        self.check_url(url)
        deadline = self._clock() + self.timeout
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(method, url, headers or {}, data, deadline, want_json=want_json)
            except _Retry as failure:
                self._pause(failure, attempt, deadline, urlsplit(url).netloc)

    @contextlib.contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator[Stream]:
        """GET something large, once; no limit but `timeout` seconds for each read.

        Raises UnreachableError where there is no answer, and where it breaks off; RegistryError as `request`. An answer
        of any status is handed back.
        """
        import http.client
        import urllib.error

        self.check_url(url)
        try:
            answer = self._open("GET", url, headers, None, lambda: self.timeout)
        except urllib.error.HTTPError as error:
            with closing(error):
                yield Stream(status=error.code, headers=_lower(error.headers), blocks=iter(()))
            return
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error, url) from error
        with answer:
            yield Stream(status=answer.status, headers=_lower(answer.headers), blocks=self._blocks(answer, url))

    def _blocks(self, answer: Any, url: str) -> Iterator[bytes]:
        import http.client

        while True:
            try:
                block = answer.read1(1 << 16)
            except (OSError, http.client.HTTPException) as error:
                raise self._broken(error, url) from error
            if not block:
                return
            yield block

    def _broken(self, error: BaseException, url: str) -> Exception:
        import urllib.error

        _let_go(error)
        found = self._unanswered(error.reason if isinstance(error, urllib.error.URLError) else error, url)
        return self._unreachable(found, urlsplit(url).netloc) if isinstance(found, _Retry) else found

    def _unreachable(self, failure: _Retry, host: str, more: str = "") -> UnreachableError:
        page = "/v2/" if self._what == "registry" else "/"
        return UnreachableError(
            f"{self._what} {host}: {failure.cause}{more}",
            hint=f"check the network and proxies with {command('curl', '-I', self.base_url(host) + page)}, "
            "or use what is known here with `--offline`",
        )

    def _pause(self, failure: _Retry, attempt: int, deadline: float, host: str) -> None:
        pause = self._back_off(attempt) if failure.after is None else failure.after
        remaining = deadline - self._clock()
        if attempt >= failure.attempts or pause >= remaining:
            waits = f", and asks to wait {failure.after:.0f} s" if failure.after and failure.after >= remaining else ""
            tries = f" ({attempt} attempts)" if attempt > 1 else ""
            raise self._unreachable(failure, host, waits + tries) from failure
        self._sleep(pause)

    def _back_off(self, attempt: int) -> float:
        if self._jitter is None:
            import random

            self._jitter = random.random
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
        return pause * (0.5 + self._jitter() / 2)

    def _attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: bytes | None,
        deadline: float,
        *,
        want_json: bool,
    ) -> Response:
        import http.client
        import urllib.error

        try:
            response = self._exchange(method, url, headers, data, deadline)
        except (OSError, http.client.HTTPException) as error:
            _let_go(error)
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise self._unanswered(reason, url) from error
        if response.status in RETRY_STATUS:
            raise _Retry(
                "too many requests (429)" if response.status == 429 else f"answered {response.status}",
                _retry_after(response.headers.get("retry-after", "")),
            )
        if want_json and response.status == 200 and not _is_json(response.body):
            raise _Retry("sent no valid JSON (is this a registry, or a login page before it?)", attempts=2)
        return response

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, deadline: float
    ) -> Response:
        import urllib.error

        from jetson_containers.registry.deadline import left_until

        try:
            answer = self._open(method, url, headers, data, left_until(deadline, self._clock))
        except urllib.error.HTTPError as error:
            with closing(error):
                body = b"" if method == "HEAD" or error.fp is None else self._read(error.fp, deadline)
                return Response(status=error.code, headers=_lower(error.headers), body=body, url=url)
        with answer:
            body = b"" if method == "HEAD" else self._read(answer, deadline)
            return Response(status=answer.status, headers=_lower(answer.headers), body=body, url=answer.url)

    def _open(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, left: Callable[[], float]
    ) -> HTTPResponse:
        from jetson_containers.registry.deadline import TimedRequest

        request = TimedRequest(url, data=data, method=method)
        request.left = left
        for name, value in headers.items():
            add = request.add_unredirected_header if name == "Authorization" else request.add_header
            add(name, value)
        answer: HTTPResponse = self._opener_for(urlsplit(url).netloc).open(request, timeout=self.timeout)
        return answer

    def _read(self, answer: Any, deadline: float) -> bytes:
        body = b""
        while chunk := answer.read1(1 << 16):  # what has arrived, so that a trickle cannot outlive the deadline
            body += chunk
            if self._clock() > deadline:
                raise TimeoutError
            if len(body) > MAX_BODY:
                raise RegistryError(f"an answer is larger than {MAX_BODY >> 20} MiB, which no listing or manifest is")
        expected = answer.headers.get("Content-Length")
        if expected and is_number(expected) and len(body) < int(expected):
            raise ConnectionResetError("truncated answer")
        return body

    def _unanswered(self, reason: object, url: str) -> Exception:
        import ssl

        host = urlsplit(url).netloc
        if isinstance(reason, RegistryError):
            return reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            if reason.verify_code in OUT_OF_TIME:
                return ClockError(
                    f"{self._what} {host}: {reason.verify_message} by this machine's clock, which says"
                    f" {time.strftime('%Y-%m-%d %H:%M')}",
                    hint="if that is wrong: sudo timedatectl set-ntp true",
                )
            return RegistryError(
                f"{self._what} {host}: its certificate is not trusted ({reason.verify_message})",
                hint=f"JETSON_CONTAINERS_CA_BUNDLE=FILE, or put the CA into {CERTS}/{host}/ca.crt",
            )
        if isinstance(reason, socket.gaierror):
            return _Retry("its name cannot be resolved (no network, or no DNS)", attempts=1)
        if isinstance(reason, TimeoutError):
            return _Retry(f"no answer within {self.timeout:.0f} s")
        if isinstance(reason, ConnectionRefusedError):
            return _Retry("connection refused", attempts=2)
        return _Retry(str(reason) or type(reason).__name__, attempts=3)

    def _opener_for(self, host: str) -> OpenerDirector:
        return self._opener if not (extra := _registry_ca(host)) else self._make_opener(extra)

    @cached_property
    def _opener(self) -> OpenerDirector:
        return self._make_opener("")

    def _make_opener(self, extra_ca: str) -> OpenerDirector:
        import urllib.request

        from jetson_containers.registry.deadline import HTTPHandler, HTTPSHandler

        return urllib.request.build_opener(
            self._proxy_handler(),
            HTTPHandler(),
            HTTPSHandler(partial(self._tls, extra_ca)),
            self._redirect_handler(),
        )

    def _tls(self, extra_ca: str) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context()
        for file in (extra_ca, str(self._ca_bundle or "")):
            if not file:
                continue
            try:
                context.load_verify_locations(cafile=file)
            except (OSError, ssl.SSLError) as error:
                raise RegistryError(f"{file}: no usable certificates: {error}", hint="setting `ca_bundle`") from error
        return context

    def _proxy_handler(self) -> Any:
        import urllib.request

        found = {
            scheme: value
            for scheme in ("http", "https")
            if (value := self._proxy(f"{scheme}_proxy") or self._proxy("all_proxy")) and "://" in value
        }
        bypass = {"no": self._proxy("no_proxy")}
        insecure = self.insecure

        class Proxies(urllib.request.ProxyHandler):
            def proxy_open(self, req: Request, proxy: str, type: str) -> Any:  # noqa: A002 - urllib's name
                if plain_http_allowed(req.host, insecure):
                    return None  # no proxy stands before loopback and registries that the user listed
                if urllib.request.proxy_bypass_environment(req.host, bypass):  # type: ignore[attr-defined]
                    return None
                return super().proxy_open(req, proxy, type)

        return Proxies(found)

    def _proxy(self, name: str) -> str:
        return self._env.get(name) or self._env.get(name.upper()) or ""

    def _redirect_handler(self) -> Any:
        import urllib.request

        check = self.check_url

        class Redirects(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
                try:
                    check(newurl)
                except BaseException:
                    fp.close()  # the caller does so only where there is something to go on with
                    raise
                new = super().redirect_request(req, fp, code, msg, headers, newurl)
                if new is not None:
                    new.left = req.left  # type: ignore[attr-defined]  # all of a chain end by the same moment
                    new.method = req.get_method()
                    secret = req.get_header("Authorization")
                    if secret and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
                        new.add_unredirected_header("Authorization", secret)
                return new

        return Redirects()


def _lower(headers: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _is_json(body: bytes) -> bool:
    try:
        json_text.parse(body)
    except ValueError:
        return False
    return True


def _let_go(error: BaseException | None) -> None:
    """Free what the frames of a failure hold: http.client leaves a half-read answer open there, and its socket with it.

    A dropped connection does so in every Python, a refused tunnel in those before 3.11.3.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _retry_after(value: str) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    digits = value.strip()
    if is_number(digits):
        return float(digits)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None  # a value that cannot be read counts as none


def _registry_ca(host: str) -> str:
    file = f"{CERTS}/{host}/ca.crt"
    return file if os.path.isfile(file) else ""  # noqa: PTH113 - pathlib is slower to no end here
