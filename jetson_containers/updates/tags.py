"""Tags of git repositories, as `git ls-remote` lists them, and which of them is newer than another."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from typing import TYPE_CHECKING

from jetson_containers.core import mirrors
from jetson_containers.updates.index import UnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROTOCOLS = "https:http:git:ssh"  # not git's `ext`, which runs a program that the address names
LARGEST = 8 << 20  # bytes of a list that are read
_LINE = re.compile(r"[0-9a-f]{40,64}\trefs/tags/([^\s^]{1,200})")
_TAG = re.compile(r"([^0-9]*)([0-9]{1,9}(?:\.[0-9]{1,9}){0,4})")  # "v1.2.3", "b9016", "release-1.2"


def remote_tags(
    address: str, timeout: float, prefixes: Mapping[str, str], protocols: str = PROTOCOLS
) -> tuple[str, ...]:
    """The tags of a repository. Raises UnknownError where it cannot be asked within `timeout` seconds."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": protocols, **mirrors.git_variables(prefixes)}
    words = ["git", "ls-remote", "--tags", "--refs", "--", address]
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                words,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise UnknownError("git is not installed") from None
        except subprocess.TimeoutExpired:
            raise UnknownError(f"no answer within {timeout:.0f} s") from None
        output.seek(0)
        text = output.read(LARGEST).decode("utf-8", "replace")
    if done.returncode != 0:
        raise UnknownError("the repository cannot be reached")
    return tuple(match[1] for line in text.splitlines() if (match := _LINE.fullmatch(line)))


def newest_like(tag: str, tags: Iterable[str]) -> str | None:
    """The newest tag of the same form: the same words before its numbers, and nothing behind them.

    None for a tag without such numbers, which has no order.

    >>> newest_like("v1.9", ["v1.2", "v1.10", "v2.0-rc1", "nightly"])
    'v1.10'
    """
    mine = _TAG.fullmatch(tag)
    if mine is None:
        return None
    alike = [
        (_numbers(match[2]), other)
        for other in (*tags, tag)
        if (match := _TAG.fullmatch(other)) and match[1] == mine[1]
    ]
    return max(alike)[1]


def is_newer(one: str, other: str) -> bool:
    """Whether a tag is newer than another of the same form."""
    mine, theirs = _TAG.fullmatch(one), _TAG.fullmatch(other)
    return mine is not None and theirs is not None and _numbers(mine[2]) > _numbers(theirs[2])


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
