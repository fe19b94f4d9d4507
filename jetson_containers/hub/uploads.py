"""Uploads: what was made here becomes a repository of the hub, by the hub's own client.

It sends what the hub does not have yet, so the same command again resumes. The token goes in a header, never anywhere
else.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError, NotReadyError, StepError, UsageError
from jetson_containers.hub.downloads import translate_errors
from jetson_containers.hub.transfer.credentials import Token, find_token
from jetson_containers.hub.transfer.errors import is_network, one_line, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.core.settings import Settings

_LOGIN = "make a token with the right to write on the hub, and `export HF_TOKEN=…` or `hf auth login`"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What goes where: a file or folder, the files of it that are sent with their bytes, and a repository."""

    path: Path
    files: tuple[tuple[str, int], ...]
    repository: str

    @property
    def bytes(self) -> int:
        """All of them together."""
        return sum(size for _, size in self.files)


def plan(path: Path, repository: str) -> Upload:
    """What an upload would send: all files but hidden ones and manifests. Raises UsageError where there are none."""
    if path.is_file():
        return Upload(path=path, files=((path.name, path.stat().st_size),), repository=repository)
    found = tuple(
        (name, each.stat().st_size)
        for each in sorted(path.rglob("*"))
        if each.is_file() and is_sent(name := each.relative_to(path).as_posix())
    )
    if not found:
        raise UsageError(f"`{path}` has no files to upload")
    return Upload(path=path, files=found, repository=repository)


def is_sent(name: str) -> bool:
    """Whether a file of a folder belongs to the model."""
    return not any(part.startswith(".") for part in name.split("/")) and not name.endswith(".manifest.json")


def upload(wanted: Upload, settings: Settings, *, public: bool, message: str) -> str:
    """Send it in one commit; makes the repository where there is none. The address of the commit.

    Raises NotReadyError (no token, no right, no network) and StepError where the hub refuses the files.
    """
    with translate_errors():
        token = find_token("", settings.env)
    if not token:
        raise NotReadyError("uploads need a token of the hub", hint=_LOGIN)
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=settings.env.get("HF_ENDPOINT") or None, token=token.value)
    try:
        api.create_repo(wanted.repository, exist_ok=True, private=not public)
        if wanted.path.is_file():
            done = api.upload_file(
                path_or_fileobj=str(wanted.path), path_in_repo=wanted.path.name, repo_id=wanted.repository,
                commit_message=message,
            )  # fmt: skip
        else:
            names = [glob.escape(name) for name, _ in wanted.files]
            done = api.upload_folder(
                folder_path=str(wanted.path), repo_id=wanted.repository, commit_message=message, allow_patterns=names,
            )  # fmt: skip
    except Exception as error:
        if explained := _explained(error, wanted.repository, token):
            raise explained from error
        raise
    return str(getattr(done, "commit_url", done))


def _explained(error: Exception, repository: str, token: Token) -> JetsonError | None:
    """An error of the client as one of ours; None for one of another kind.

    That of a large file comes as the cause of a RuntimeError.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    why, status = token.redact(one_line(error)), status_of(error)
    if status in {401, 403}:
        return NotReadyError(f"the hub does not let {token} write to `{repository}`: {why}", hint=_LOGIN)
    if status is not None:
        return StepError(f"the hub refused `{repository}`: {why}", hint="run the same command again to resume")
    if is_network(error):
        return NotReadyError(f"the hub does not answer: {why}", hint="run the same command again to resume")
    return (
        StepError(f"the upload to `{repository}` failed: {why}") if isinstance(error, (OSError, ValueError)) else None
    )
