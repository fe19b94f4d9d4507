"""What the local store holds: through the Docker SDK, or through the client where only `sudo docker` may ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core.errors import EngineMissingError, EnginePermissionError, JetsonError
from jetson_containers.engine import argv
from jetson_containers.engine.interface import LocalImage
from jetson_containers.engine.messages import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    import docker.client

    from jetson_containers.engine.interface import Capabilities
    from jetson_containers.engine.probe import Host

TIMEOUT = 60  # seconds an answer may take: a store of thousands of images on an SD card is slow


class Queries(Protocol):
    """Raw answers in the form of the engine's API (`/images/ID/json`)."""

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """One image, None when there is none."""
        ...

    def search(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All images that have these labels."""
        ...

    def tag(self, source: str, target: str) -> None:
        """Give a name."""
        ...

    def remove(self, reference: str, *, keep_parents: bool = False) -> None:
        """Take a name away, and with the last name the image."""
        ...


def local_image(attributes: Mapping[str, Any]) -> LocalImage:
    """Read the engine's description of an image."""
    config = attributes.get("Config") or {}
    return LocalImage(
        id=str(attributes["Id"]),
        references=tuple(attributes.get("RepoTags") or ()),
        labels=dict(config.get("Labels") or {}),
        architecture=str(attributes.get("Architecture", "")),
        created=str(attributes.get("Created", "")),
        size=int(attributes.get("Size", 0)),
        digests=tuple(attributes.get("RepoDigests") or ()),
    )


class SdkQueries:
    """Through docker-py, which is imported and connected on first use."""

    def __init__(self, endpoint: str, env: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._env = dict(env)
        self._client: docker.client.DockerClient | None = None

    @property
    def client(self) -> docker.client.DockerClient:
        """The connected client. The API version is negotiated: engine 20.10 speaks 1.41, 29 nothing below 1.44."""
        if self._client is None:
            from docker.client import DockerClient

            env = {**self._env, "DOCKER_HOST": self._endpoint}
            ssh = self._endpoint.startswith("ssh://")
            self._client = DockerClient.from_env(version="auto", timeout=TIMEOUT, environment=env, use_ssh_client=ssh)
        return self._client

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """One image, None when there is none."""
        from docker.errors import DockerException, ImageNotFound

        try:
            return dict(self.client.images.get(reference).attrs)
        except ImageNotFound:
            return None
        except (DockerException, OSError) as error:
            raise _unreachable(error) from error

    def search(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All images that have these labels; one that goes away meanwhile is left out."""
        from docker.errors import DockerException

        try:
            rows = self.client.api.images(filters={"label": [f"{k}={v}" for k, v in labels.items()]})
        except (DockerException, OSError) as error:
            raise _unreachable(error) from error
        found = (self.inspect(row["Id"]) for row in rows)
        return [attributes for attributes in found if attributes is not None]

    def tag(self, source: str, target: str) -> None:
        """Give a name."""
        from docker.errors import DockerException

        repository, tag = split_tag(target)
        try:
            self.client.api.tag(source, repository, tag)
        except (DockerException, OSError) as error:
            raise _failed(error, f"naming `{source}` `{target}`") from error

    def remove(self, reference: str, *, keep_parents: bool = False) -> None:
        """Take a name away."""
        from docker.errors import DockerException

        try:
            self.client.api.remove_image(reference, noprune=keep_parents)
        except (DockerException, OSError) as error:
            raise _failed(error, f"removing `{reference}`") from error


class CliQueries:
    """Through the docker client: the SDK cannot open a socket that needs sudo."""

    def __init__(self, capabilities: Capabilities, host: Host) -> None:
        self._capabilities = capabilities
        self._host = host

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """One image, None when there is none."""
        code, out, err = self._ask("image", "inspect", reference)
        if code != 0 and "no such image" in err.lower():
            return None
        rows = json.loads(self._need(code, out, err, "asking for images"))
        return dict(rows[0]) if rows else None

    def search(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All images that have these labels."""
        filters = [word for name, value in labels.items() for word in ("--filter", f"label={name}={value}")]
        code, out, err = self._ask("image", "ls", "--quiet", "--no-trunc", *filters)
        ids = list(dict.fromkeys(self._need(code, out, err, "listing images").split()))
        found = (self.inspect(image_id) for image_id in ids)
        return [attributes for attributes in found if attributes is not None]

    def tag(self, source: str, target: str) -> None:
        """Give a name."""
        self._need(*self._ask("image", "tag", source, target), f"naming `{source}` `{target}`")

    def remove(self, reference: str, *, keep_parents: bool = False) -> None:
        """Take a name away."""
        more = ["--no-prune"] if keep_parents else []
        self._need(*self._ask("image", "rm", *more, reference), f"removing `{reference}`")

    def _ask(self, *args: str) -> tuple[int, str, str]:
        answer = self._host.ask(argv.docker(self._capabilities, *args))
        return answer.exit_code, answer.out, answer.err

    def _need(self, code: int, out: str, err: str, what: str) -> str:
        if code != 0:
            raise translate(err or out, what)
        return out


def split_tag(reference: str) -> tuple[str, str]:
    """Split `host:5000/a/b:tag` into repository and tag (`latest` when there is none)."""
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag or "latest"


def _failed(error: Exception, what: str) -> JetsonError:
    from docker.errors import APIError

    return translate(str(error), what) if isinstance(error, APIError) else _unreachable(error)


def _unreachable(error: Exception) -> JetsonError:
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return EnginePermissionError(
            "this user may not talk to the Docker engine",
            hint="sudo usermod -aG docker $USER && newgrp docker",
            details=(text,),
        )
    return EngineMissingError(
        "the Docker engine does not answer (any more)",
        hint="./install.sh starts it; jetson-containers doctor says what is wrong",
        details=(text,),
    )
