"""The access token: where it is found, and that it is never shown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NOT_READY, DownloadError

if TYPE_CHECKING:
    from typing import Mapping

VARIABLES = ("HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN")
FILE_VARIABLES = ("HF_TOKEN_PATH", "HF_TOKEN_FILE", "HUGGINGFACE_TOKEN_FILE")


@dataclass(frozen=True)
class Token:
    """A token and where it came from; an empty one counts as false."""

    value: str = field(default="", repr=False)
    source: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return f"the token of {self.source}" if self else "no token"

    def redact(self, text: str) -> str:
        """The text without the token, should a library have put it there."""
        return text.replace(self.value, "***") if self.value else text


def find_token(given: str = "", env: Mapping[str, str] | None = None) -> Token:
    """The token: the option, a variable, a file that a variable names, then the file of `hf auth login`.

    A variable may also hold the path of a file (`HF_TOKEN=/run/secrets/hf_token`). Raises DownloadError for a named
    file that cannot be read, and for a token that no header can carry.
    """
    variables = os.environ if env is None else env
    if given:
        return _checked(given, "--token")
    for name in VARIABLES:
        value = variables.get(name, "").strip()
        if value.startswith("/"):
            return _from_file(value, name)
        if value:
            return _checked(value, name)
    for name in FILE_VARIABLES:
        path = variables.get(name, "").strip()
        if path and (name != "HF_TOKEN_PATH" or Path(path).expanduser().is_file()):  # the library's own: may be absent
            return _from_file(path, name)
    return _stored(variables)


def _stored(env: Mapping[str, str]) -> Token:
    """What `hf auth login` left; the library knows where that is."""
    if env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Token()
    import huggingface_hub

    stored = huggingface_hub.get_token()
    return _checked(stored, "the file of `hf auth login`") if stored else Token()


def _from_file(path: str, variable: str) -> Token:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DownloadError(NOT_READY, f"the token file {path} ({variable}) cannot be read: {reason}") from error
    if not text:
        raise DownloadError(NOT_READY, f"the token file {path} ({variable}) is empty")
    return _checked(text, "the file in " + variable)


def _checked(value: str, source: str) -> Token:
    value = value.strip().strip("'\"")
    if not value.isascii() or any(letter.isspace() or not letter.isprintable() for letter in value):
        raise DownloadError(
            NOT_READY, f"what {source} holds is not a token", "a token is one word that begins with hf_"
        )
    return Token(value, source)
