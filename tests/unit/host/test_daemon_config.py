"""Where the configuration of Docker's engine lies, and what of it is refused."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import ConfigError
from jetson_containers.host import daemon_config


@pytest.mark.parametrize(
    ("data_root", "place"),
    [
        ("/var/lib/docker", "/etc/docker/daemon.json"),
        ("/mnt/nvme/docker", "/etc/docker/daemon.json"),
        ("/var/snap/docker/common/var-lib-docker", "/var/snap/docker/current/config/daemon.json"),
        ("/home/ana/.local/share/docker", "/home/ana/.config/docker/daemon.json"),
    ],
)
def test_place_follows_from_the_data_root(data_root: str, place: str) -> None:
    """Engines from snap and without root have files of their own."""
    assert daemon_config.place_of(data_root, "/home/ana") == place


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"runtimes": null}'])
def test_parse_takes_nothing_for_no_options(text: str) -> None:
    """An empty file is one without options, and so is a member of null."""
    assert daemon_config.parse(text) == {}


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"runtimes": []}', '{"log-opts": "x"}'])
def test_parse_refuses_what_the_engine_refuses(text: str) -> None:
    """With the file's name, and what helps."""
    with pytest.raises(ConfigError, match=r"/etc/docker/daemon\.json") as caught:
        daemon_config.parse(text)
    assert caught.value.hint
