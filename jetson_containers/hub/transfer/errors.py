"""The error of a download with its exit status, and what an error of the client tells about itself."""

from __future__ import annotations

import email.utils
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Mapping

FAILED, USAGE, NOTHING_FOUND, NOT_READY = 1, 2, 3, 4  # exit statuses
_HTTP_LIBRARIES = frozenset({"requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2"})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
BAD_ADDRESS = frozenset({"InvalidURL", "UnsupportedProtocol", "MissingSchema", "InvalidSchema", "InvalidProxyURL"})


class DownloadError(Exception):
    """A download that cannot be had: the exit status, what failed and what helps."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


def status_of(error: BaseException) -> int | None:
    """The HTTP status an error came with; None when no answer came."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def is_transient(error: BaseException) -> bool:
    """Whether the same request may work in a moment."""
    if is_offline(error) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    code = status_of(error)
    return code in _TRANSIENT if code is not None else is_network(error)


def is_network(error: BaseException) -> bool:
    """Whether the connection failed, whatever HTTP library the client stands on."""
    if isinstance(error, ValueError) or type(error).__name__ in BAD_ADDRESS:
        return False  # an answer that is not JSON, an address that is none: requests has its own kinds of both
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(kind.__module__.split(".")[0] in _HTTP_LIBRARIES for kind in type(error).__mro__)


def is_offline(error: BaseException) -> bool:
    """Whether the client was told (HF_HUB_OFFLINE) not to ask."""
    return type(error).__name__ in {"OfflineModeIsEnabled", "OfflineModeIsEnabledError"}


def is_number(text: str) -> bool:
    """Whether this is a whole number that `int` reads: 1 to 18 ASCII digits (`str.isdigit` takes more than those)."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Seconds the server asks to wait: `Retry-After` (seconds or a date) or the hub's `RateLimit: "api";r=0;t=55`."""
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    given = str(headers.get("Retry-After") or "").strip()
    if is_number(given):
        return float(given)
    date = email.utils.parsedate_tz(given) if given else None
    if date is not None:
        return max(0.0, email.utils.mktime_tz(date) - (time.time() if now is None else now))
    limit = re.search(r";\s*r=0\s*;\s*t=([0-9]{1,18})", str(headers.get("RateLimit") or ""))
    return float(limit.group(1)) if limit and status_of(error) == 429 else None


def headers_of(error: BaseException) -> Mapping[str, str]:
    """The headers of the answer an error came with."""
    return getattr(getattr(error, "response", None), "headers", None) or {}


def one_line(text: Any) -> str:
    """The first 200 characters without line breaks; addresses lose their query, which may hold a signature."""
    return re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(str(text).split()))[:200]
