"""What must not be shown: which variables hold secrets, and how secrets are taken out of text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN = "***"

# The name alone decides. `TOKENIZERS_PARALLELISM` and `KEYBOARD` hold no secret, and `PWD` is the current directory.
_NAME = re.compile(
    r"TOKEN(?!IZER)|SECRET|CREDENTIAL|PRIVATE|AUTH_CONFIG|PASS(WORD|WD|PHRASE)|(API|ACCESS|ACCOUNT)_?KEY"
    r"|PASS(_|$)|KEYS?$|_PWD$|(^|_)PAT$",
    re.IGNORECASE,
)
_PREFIX = r"(hf_|ghp_|gho_|github_pat_|glpat-|sk-|nvapi-|xox[abp]-|AKIA)"
_TOKEN = re.compile(_PREFIX + r"[\w-]{8,}")
# Within a text, only what looks random: long, of both cases or with digits. `hf_YOUR_TOKEN_GOES_HERE` is a placeholder.
_TOKEN_WITHIN = re.compile(
    rf"(?<![\w-]){_PREFIX}(?=\S*[0-9]|\S*[a-z]\S*[A-Z]|\S*[A-Z]\S*[a-z])[\w-]*?[A-Za-z0-9]{{16}}"
)
_URL_WITH_PASSWORD = re.compile(r"\w[\w+.-]*://[^/@\s:]*:[^/@\s]+@")
_USER_OF_URL = re.compile(r"(?<=://)[^/\s:@]+(?::[^/\s@]*)?@")
# Where a file lies may be read by all. Only places that paths really begin with: a key may begin with a slash as well.
_PATH = re.compile(
    r"(?:\.{0,2}|~)/(?:[\w.@-]+/)*[\w@-][\w.@-]*\.(?:pem|key|crt|cer|p12|pfx|json|txt|env|ya?ml|conf)"
    r"|(?:\.{1,2}|~|/(?:data|etc|home|media|mnt|opt|root|run|srv|tmp|usr|var|workspace))/[\w./@-]*"
)
_SHORTEST = 4  # characters; hiding shorter values ("1", "on") would hide half the log


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret, whatever its value is."""
    return _NAME.search(name) is not None


def is_token(value: str) -> bool:
    """Whether a value is an access token of a known hub, whatever its variable is called."""
    return _TOKEN.match(value) is not None


def holds_token(text: str) -> bool:
    """Whether an access token stands somewhere in a line of text: `# ENV X=ghp_…`, `login --token hf_…`."""
    return _TOKEN_WITHIN.search(text) is not None


def is_path(value: str) -> bool:
    """Whether a value is the path of a file: `/data/key.pem`, `./cert.crt`, `/run/secrets/token`."""
    return _PATH.fullmatch(value) is not None


def is_secret(name: str, value: str) -> bool:
    """Whether this variable must be kept secret: by its name, or because its value holds a token or a password."""
    by_name = is_secret_name(name) and not is_path(value)
    return by_name or is_token(value) or _URL_WITH_PASSWORD.match(value) is not None


class Redactor:
    """Replaces secrets by `***`: the values of secret variables in `sources`, and credentials inside URLs."""

    def __init__(self, *sources: Mapping[str, str]) -> None:
        values = {
            value
            for source in sources
            for name, value in source.items()
            if len(value) >= _SHORTEST and ((is_secret_name(name) and not is_path(value)) or is_token(value))
        }
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        self._values = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        if "://" in text:
            text = _USER_OF_URL.sub(HIDDEN + "@", text)
        return self._values.sub(HIDDEN, text) if self._values else text
