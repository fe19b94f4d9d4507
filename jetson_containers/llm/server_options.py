"""Options that a user hands through to the runtime's own server, behind `--`: checked, and joined with ours.

What decides where the server listens and what it loads is refused, because the rest of this program relies on it; any
other option that we set ourselves gives way to the user's, which is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.llm.runtimes.interface import Service

# The option of ours → its spellings in servers: llama-server, vLLM, LMDeploy, MLC and our own.
OURS = {
    "--port": {"--port", "--server-port"},
    "--host": {"--host", "--server-name"},
    "MODEL": {
        "-m", "--model", "--model-path", "-a", "--alias", "--served-model-name", "--model-name", "--model-id",
        "--model-lib", "--model-lib-path", "--model-url", "-mu", "--hf-repo", "-hf", "-hfr", "--hf-file", "-hff",
    },
    "--context": {"-c", "--ctx-size", "--max-model-len", "--session-len"},
    "--max-batch": {"-np", "--parallel", "--max-num-seqs", "--max-batch-size"},
    "--prefill-chunk": {"-ub", "--ubatch-size", "--max-num-batched-tokens", "--prefill-chunk-size"},
    "--threads": {"-t", "--threads"},
}  # fmt: skip
SECRET = ("--api-key", "--api-keys", "--api-key-file", "--hf-token", "-hft")
# Spellings of the same option: with one given, ours of another spelling would be the second.
SAME = ({"-ngl", "--gpu-layers", "--n-gpu-layers"}, {"--mmap", "--no-mmap", "--load-mode"})
_SHORTEST = 5  # characters of a cut option (`--por`) that counts as the whole one, as argparse takes it
_NUMBER = re.compile(r"-[0-9]")


@dataclass(frozen=True, kw_only=True)
class JoinedService:
    """A server with the user's options, and what of ours they replaced."""

    service: Service
    notices: tuple[str, ...]


def join(service: Service, given: Sequence[str], probed: Mapping[str, str]) -> JoinedService:
    """Put a user's options behind ours. `probed` holds the help of the server, where the image was asked.

    Raises UsageError for an option that is ours to set, holds a secret, or that the server's help does not name.
    """
    if not given:
        return JoinedService(service=service, notices=())
    if not given[0].startswith("-"):
        raise UsageError(
            f"`{given[0]}` is not an option", hint="put options of the runtime's server behind `--`: -- --name value"
        )
    names = [word.partition("=")[0] for word in given if _is_option(word)]
    for name in names:
        _refuse_ours(name)
    if help_text := _help_of(service, probed):
        _refuse_unknown(names, help_text)
    argv, replaced = _without(service.argv, {same for name in names for same in _same(name)})
    notices = tuple(f"your option takes the place of `{words}`" for words in replaced)
    return JoinedService(service=replace(service, argv=(*argv, *given)), notices=notices)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NUMBER.match(word)


def _refuse_ours(name: str) -> None:
    if _is_named(name, SECRET):
        raise UsageError(
            f"`{name}` would show a secret to every user of this machine", hint="use `--api-key-env NAME` instead"
        )
    for ours, theirs in OURS.items():
        if _is_named(name, theirs):
            remedy = "name it as MODEL" if ours == "MODEL" else f"use `{ours}` in front of `--`"
            raise UsageError(f"`{name}` is set by this program", hint=remedy)


def _is_named(name: str, options: Sequence[str] | set[str]) -> bool:
    cut = name.startswith("--") and len(name) >= _SHORTEST
    return name in options or (cut and any(option.startswith(name) for option in options))


def _help_of(service: Service, probed: Mapping[str, str]) -> str:
    """What the server printed for `--help`; "" where it was not asked or did not answer with its options."""
    command = " ".join(service.argv)
    for probe, text in probed.items():
        if probe.endswith(" --help") and command.startswith(probe.removesuffix("--help")) and "--port" in text:
            return text
    return ""


def _refuse_unknown(names: Sequence[str], help_text: str) -> None:
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w.-]*", help_text))
    for name in names:
        if name not in known and not (name.startswith("--") and any(one.startswith(name) for one in known)):
            raise UsageError(
                f"the server of this image has no option `{name}`", hint=did_you_mean(name, sorted(known)) or None
            )


def _same(name: str) -> set[str]:
    return next((group for group in SAME if name in group), {name})


def _without(argv: Sequence[str], names: set[str]) -> tuple[tuple[str, ...], list[str]]:
    """A command without some options and their values, and what was left out."""
    kept: list[str] = []
    replaced: list[str] = []
    for group in _groups(argv):
        if group[0].partition("=")[0] in names and _is_option(group[0]):
            replaced.append(" ".join(group))
        else:
            kept += group
    return tuple(kept), replaced


def _groups(argv: Sequence[str]) -> Iterator[list[str]]:
    """Each option with the value behind it, every other word alone."""
    words = list(argv)
    while words:
        size = 2 if _is_option(words[0]) and len(words) > 1 and not _is_option(words[1]) else 1
        yield words[:size]
        del words[:size]
