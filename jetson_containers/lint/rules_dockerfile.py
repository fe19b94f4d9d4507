"""Rules about Dockerfiles: what they stand on, copy and leave behind."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.core.secrets import holds_token, is_secret_name
from jetson_containers.dockerfile.parser import split_lines, split_words
from jetson_containers.lint import rules_commands
from jetson_containers.lint.findings import finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.dockerfile.parser import Instruction
    from jetson_containers.lint.files import Step, Text
    from jetson_containers.lint.findings import LintFinding

_LEAKS = re.compile(
    r"DEBIAN_FRONTEND|(?:PIP|UV|TWINE|POETRY|NPM_CONFIG)_\w*(?:INDEX|REGISTRY|REPOSITORY|TRUSTED_HOST|FIND_LINKS)\w*"
    r"|(?:https?|ftp|all)_proxy|MAX_JOBS",
    re.IGNORECASE,
)
_INDEX_FILES = re.compile(r"(?:index-url|index_url|extra-index-url|registry)\s*=?\s*\S*https?://", re.IGNORECASE)


def check(text: Text, *, kept: bool, pip_cache_is_off: bool) -> Iterator[LintFinding]:
    """All rules for one Dockerfile. `kept`: its last stage becomes an image, not just `/artifacts`."""
    names: set[str] = set()
    for stage in text.stages:
        yield from _base(stage.start, stage.base, names, text)
        if stage.name:
            names.add(stage.name)
    for step in text.instructions:
        yield from _buildkit(step, text)
        yield from _copies(step, text)
        yield from _variables(step, text)
    yield from _tokens(text)
    last = text.stages[-1]
    for stage in text.stages:
        for run in (step for step in stage.body if step.keyword == "RUN"):
            place = (text.path, run.line, run.end)
            for item in _run(text.steps_of(run), kept=kept and stage is last, pip_cache_is_off=pip_cache_is_off):
                yield replace(item, via=place)


def _run(steps: list[Step], *, kept: bool, pip_cache_is_off: bool) -> Iterator[LintFinding]:
    yield from rules_commands.everywhere(steps)
    yield from rules_commands.building(steps)
    yield from rules_commands.recommends(steps)
    yield from _index_settings(steps)
    if kept:
        yield from rules_commands.leftovers(steps, pip_cache_is_off=pip_cache_is_off)


def _at(rule: str, step: Instruction, text: Text, message: str, remedy: str = "") -> LintFinding:
    return finding(rule, text.path, step.line, message, remedy=remedy, end=step.end)


def _base(step: Instruction, base: str, names: set[str], text: Text) -> Iterator[LintFinding]:
    if "$" in base or base == "scratch" or base.lower() in names or "@sha256:" in base:
        return
    tag = base.rpartition("/")[2].partition(":")[2]
    if tag in {"", "latest", "main", "master", "nightly", "dev", "stable", "devel"}:
        yield _at("base-unpinned", step, text, f"`{base}` is another image tomorrow")


def _buildkit(step: Instruction, text: Text) -> Iterator[LintFinding]:
    if step.heredocs:
        yield _at("buildkit-only", step, text, "a here-document", "put it into a script, and COPY that")
    elif step.option("mount") is not None:
        yield _at("buildkit-only", step, text, "`--mount`", "leave mounts out; builders that can get them added")


def _copies(step: Instruction, text: Text) -> Iterator[LintFinding]:
    if step.keyword not in {"COPY", "ADD"} or step.option("from") is not None:
        return
    for source in step.words[:-1]:
        if step.keyword == "ADD" and (problem := _fetched(source, step)):
            yield _at(problem[0], step, text, problem[1])
        elif re.sub(r"^(?:\./)+|/+$", "", f"{source}/").strip("/") in {"", ".", "*"}:
            yield _at("copy-all", step, text, f"`{step.keyword} {source}`")


def _fetched(source: str, step: Instruction) -> tuple[str, str] | None:
    """The rule that an ADD from elsewhere breaks, and how."""
    if re.match(r"git@|(?:https?|git|ssh)://\S+\.git(?:#|$)", source):
        pinned = rules_commands.is_commit(source.partition("#")[2].partition(":")[0])
        return None if pinned else ("git-unpinned", f"ADD takes {source} at whatever its branch is at")
    if re.match(r"(?:https?|ftp)://", source) and not (step.option("checksum") or "").startswith("sha256:"):
        return "download-unchecked", f"ADD takes {source} unchecked"
    return None


def _variables(step: Instruction, text: Text) -> Iterator[LintFinding]:
    if step.keyword not in {"ENV", "ARG"}:
        return
    words = split_words(step.value)
    if step.keyword == "ENV" and words and "=" not in words[0]:
        words = words[:1]  # the old form: ENV NAME value
    for name in (word.partition("=")[0] for word in words):
        if is_secret_name(name):
            yield _at("env-leak", step, text, f"`{step.keyword} {name}` stays readable in the image's history", _MOUNT)
        elif step.keyword == "ENV" and _LEAKS.fullmatch(name):
            yield _at("env-leak", step, text, f"`ENV {name}` holds in every container, and for every image on top")


def _tokens(text: Text) -> Iterator[LintFinding]:
    """Lines that hold an access token, comments too: who has the recipe has the token."""
    for number, line in enumerate(split_lines(text.text), 1):
        if holds_token(line):
            yield finding("env-leak", text.path, number, "an access token stands in the file", remedy=_REVOKE)


_REVOKE = "revoke it where it was made, and take it out of the file and its history"
_MOUNT = "give secrets to containers when they start, by name: `--env NAME`"


def _index_settings(steps: list[Step]) -> Iterator[LintFinding]:
    for step in steps:
        text = " ".join(step.command.words)
        sets = re.search(r"\b(?:pip3?|npm) config set\b.*(?:index-url|registry)", text)
        writes = step.command.outputs and step.name in {"echo", "printf"} and _INDEX_FILES.search(text)
        if sets or writes:
            yield rules_commands.at("env-leak", step, "an index address stays in the image's configuration")
