"""What an error of the hub's client means: the exit status, what failed and what helps."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .errors import (
    BAD_ADDRESS,
    FAILED,
    NOT_READY,
    NOTHING_FOUND,
    USAGE,
    DownloadError,
    headers_of,
    is_network,
    is_offline,
    one_line,
    retry_after,
    status_of,
)

if TYPE_CHECKING:
    from .credentials import Token
    from .reference import Reference

_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT})
_MAY_NOT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def explain(error: BaseException, reference: Reference, token: Token, endpoint: str) -> DownloadError | None:
    """Turn what the hub's client raised into a DownloadError that says what to do; None when it is not a known one."""
    if isinstance(error, DownloadError):
        return error
    if isinstance(error, OSError) and error.errno in _WRITING:
        return DownloadError(
            NOT_READY, f"the disk is full while downloading `{reference}`",
            "free some space, then the same command goes on where it stopped",
        )  # fmt: skip
    if isinstance(error, OSError) and error.errno in _MAY_NOT and status_of(error) is None:
        return DownloadError(
            NOT_READY, f"`{error.filename or 'the cache'}` cannot be written: {error.strerror}",
            'where an earlier container left it to root: sudo chown -R "$(id -u):$(id -g)" DIRECTORY',
        )  # fmt: skip
    code = status_of(error)
    if code is not None:
        return _from_answer(error, code, reference, token, endpoint)
    return _without_answer(error, reference, endpoint)


def _from_answer(error: BaseException, code: int, reference: Reference, token: Token, endpoint: str) -> DownloadError:
    """Explain an answer of the hub by its error code, its words and its status, in this order."""
    kind = headers_of(error).get("X-Error-Code") or ""
    words = server_words(error)
    page = reference.page(endpoint)
    if kind == "GatedRepo":
        return _gated(reference, token, page, words, endpoint)
    if code == 401 and "invalid" in words.lower() and token:
        return _bad_token(reference, token, endpoint, code)
    if kind == "RevisionNotFound":
        return DownloadError(NOTHING_FOUND, f"`{reference}` has no such revision", f"see {page}/refs")
    if kind == "EntryNotFound":
        return DownloadError(NOTHING_FOUND, f"`{reference}`: there is no such file", f"see {page}/tree/main")
    if "disabled" in words.lower():
        return DownloadError(NOTHING_FOUND, f"`{reference.repo}` has been disabled by the hub: {words}", page)
    if kind == "RepoNotFound" or code in (401, 404):
        return _missing(reference, token, endpoint, page)
    if code == 403:
        who = token.source or "nobody"
        return DownloadError(
            NOT_READY, f"the token of {who} may not read `{reference.repo}`{_in_words(words)}",
            f"give the token read access to it at {endpoint}/settings/tokens",
        )  # fmt: skip
    return _limited(error, token, words) if code == 429 else _other_answer(code, reference, page, words)


def _limited(error: BaseException, token: Token, words: str) -> DownloadError:
    wait = retry_after(error)
    how_long = f"{wait:.0f} s" if wait else "some minutes"
    more = "" if token else "; with a token in HF_TOKEN the limit is higher"
    return DownloadError(
        NOT_READY, f"the hub limits how often this address may ask (HTTP 429){_in_words(words)}",
        f"wait {how_long} and run the same again{more}",
    )  # fmt: skip


def _other_answer(code: int, reference: Reference, page: str, words: str) -> DownloadError:
    if code == 416:
        return DownloadError(FAILED, f"a file of `{reference.repo}` is shorter than the hub says", "try again later")
    hint = "try again later; see https://status.huggingface.co" if code >= 500 else "see " + page
    return DownloadError(FAILED, f"the hub answered HTTP {code} for `{reference}`{_in_words(words)}", hint)


def _without_answer(error: BaseException, reference: Reference, endpoint: str) -> DownloadError | None:
    name = type(error).__name__
    if is_offline(error):
        return not_cached(reference)
    if name in {"HFValidationError", "RepoIdError"}:
        return DownloadError(
            USAGE, f"invalid repository name `{reference}`", "write ORGANIZATION/NAME or ORGANIZATION/NAME/FILE"
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return DownloadError(
            NOT_READY, f"the certificate of {endpoint} cannot be verified",
            "behind a proxy that opens TLS, name its CA file in SSL_CERT_FILE and REQUESTS_CA_BUNDLE",
        )  # fmt: skip
    if name in BAD_ADDRESS:
        return DownloadError(
            USAGE, f"`{endpoint}` is not an address of a hub: {one_line(error)}",
            "HF_ENDPOINT and proxies have to begin with https:// or http://",
        )  # fmt: skip
    if is_network(error):
        return DownloadError(
            NOT_READY, f"{endpoint} cannot be reached for `{reference}`: {one_line(error) or name}",
            "check the network, proxies and HF_ENDPOINT; --offline uses what is in the cache",
        )  # fmt: skip
    if isinstance(error, ValueError) and "JSON" in name + str(type(error).__mro__):
        return no_hub(endpoint)
    return None


def no_hub(endpoint: str) -> DownloadError:
    """The failure where what answers is something else than a hub."""
    return DownloadError(
        NOT_READY, f"{endpoint} does not answer as a hub does",
        "check HF_ENDPOINT, and whether a login page of the network answers instead",
    )  # fmt: skip


def not_cached(reference: Reference, what: str = "") -> DownloadError:
    """The failure of an offline command that finds nothing, or not enough, in the cache."""
    return DownloadError(
        NOT_READY, what or f"`{reference}` is not in the cache, and offline mode forbids to fetch it",
        "run it once without --offline and HF_HUB_OFFLINE",
    )  # fmt: skip


def _gated(reference: Reference, token: Token, page: str, words: str, endpoint: str) -> DownloadError:
    if not token:
        return DownloadError(
            NOT_READY, f"`{reference.repo}` is gated and no token was given",
            f"accept its license at {page}, then put a token from {endpoint}/settings/tokens into HF_TOKEN",
        )  # fmt: skip
    said = f" ({words})" if "fine-grained" in words else ""
    return DownloadError(
        NOT_READY, f"`{reference.repo}` is gated and the account of {token.source} has no access{said}",
        f"accept its license at {page}; some authors answer by hand, which takes its time",
    )  # fmt: skip


def _bad_token(reference: Reference, token: Token, endpoint: str, code: int) -> DownloadError:
    return DownloadError(
        NOT_READY, f"the hub refuses the token of {token.source} (HTTP {code}) for `{reference.repo}`",
        f"it is wrong or expired: make one at {endpoint}/settings/tokens; for a public repository none is needed",
    )  # fmt: skip


def _missing(reference: Reference, token: Token, endpoint: str, page: str) -> DownloadError:
    other = "dataset" if reference.kind == "model" else "model"
    if token:
        return DownloadError(
            NOTHING_FOUND,
            f"no {reference.kind} `{reference.repo}`, or it is private and the token of {token.source} may not read it",
            f"check the spelling ({page}) and whether it is a {other} (--type {other})",
        )  # fmt: skip
    return DownloadError(
        NOTHING_FOUND, f"no {reference.kind} `{reference.repo}`, or it is private and no token was given",
        f"check the spelling ({page}) and --type {other}; "
        f"for a private one put a token from {endpoint}/settings/tokens into HF_TOKEN",
    )  # fmt: skip


def server_words(error: BaseException) -> str:
    """What the hub says itself, one line."""
    return one_line(headers_of(error).get("X-Error-Message") or getattr(error, "server_message", None) or "")


def _in_words(words: str) -> str:
    return ": " + words if words else ""
