"""How mounts are spelled."""

from __future__ import annotations

import pytest

from jetson_containers.launch.parts import Mount


@pytest.mark.parametrize(
    ("mount", "argv"),
    [
        (Mount(source="/a", target="/b"), ("--volume", "/a:/b")),
        (Mount(source="/a", target="/b", readonly=True), ("--volume", "/a:/b:ro")),
        (Mount(source="/a", target="/b", volatile=True), ("--mount", "type=bind,source=/a,target=/b")),
        (Mount(source="/a:x", target="/b", readonly=True), ("--mount", "type=bind,source=/a:x,target=/b,readonly")),
        (Mount(source='/a:x,"y"', target="/b"), ("--mount", 'type=bind,"source=/a:x,""y""",target=/b')),
    ],
)
def test_mount_argv_keeps_odd_paths(mount: Mount, argv: tuple[str, str]) -> None:
    """Mounts are spelled so that odd paths survive."""
    assert mount.argv == argv
