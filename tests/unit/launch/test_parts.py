"""How mounts are spelled."""

from __future__ import annotations

import pytest

from jetson_containers.launch.parts import Mount


@pytest.mark.parametrize(
    ("mount", "argv"),
    [
        (Mount("/a", "/b"), ("--volume", "/a:/b")),
        (Mount("/a", "/b", readonly=True), ("--volume", "/a:/b:ro")),
        (Mount("/a", "/b", volatile=True), ("--mount", "type=bind,source=/a,target=/b")),
        (Mount("/a:x", "/b", readonly=True), ("--mount", "type=bind,source=/a:x,target=/b,readonly")),
        (Mount('/a:x,"y"', "/b"), ("--mount", 'type=bind,"source=/a:x,""y""",target=/b')),
    ],
)
def test_mount_argv_keeps_odd_paths(mount: Mount, argv: tuple[str, str]) -> None:
    """Mounts are spelled so that odd paths survive."""
    assert mount.argv == argv
