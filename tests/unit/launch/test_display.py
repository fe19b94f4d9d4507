"""The display and its cookie, and the sound server."""

from __future__ import annotations

import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.launch import display
from tests.unit.launch.helpers import added, plan


def test_display_gets_its_own_cookie_file(tmp_path: Path) -> None:
    """The display is passed with a cookie file of its own."""
    planned = plan(tmp_path, files="tmp/.X11-unix/X0", env={"DISPLAY": ":0", "HOME": "/home/me"})
    assert added(planned, plan(tmp_path)) == [
        *("--env", "DISPLAY", "--env", "XAUTHORITY=/tmp/.docker.xauth"),
        *("--mount", "type=bind,source=/tmp/.X11-unix,target=/tmp/.X11-unix"),
        *("--mount", "type=bind,source=/srv/cache/xauth-0,target=/tmp/.docker.xauth,readonly"),
    ]
    assert planned.cookie is not None
    assert planned.cookie.source == Path("/home/me/.Xauthority")


def test_display_forwarded_by_ssh_has_no_socket(tmp_path: Path) -> None:
    """A display forwarded by SSH has no socket."""
    planned = plan(tmp_path, env={"DISPLAY": "localhost:10.0", "XAUTHORITY": "/run/user/1/auth"})
    assert planned.cookie is not None
    assert (planned.cookie.source, planned.cookie.path.name) == (Path("/run/user/1/auth"), "xauth-localhost-10.0")
    assert not any(".X11-unix" in word for word in planned.argv)


@pytest.mark.parametrize("args", ["-e DISPLAY=:1 img", "--env DISPLAY img"])
def test_display_of_the_user_replaces_the_default(tmp_path: Path, args: str) -> None:
    """A display that the user passes replaces the default."""
    planned = plan(tmp_path, *args.split(), env={"DISPLAY": ":0"})
    assert planned.cookie is None
    assert not any("XAUTHORITY" in word for word in planned.argv)


def xauth_entry(family: int, address: bytes, number: bytes, cookie: bytes) -> bytes:
    fields = (address, number, b"MIT-MAGIC-COOKIE-1", cookie)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(f)) + f for f in fields)


def test_display_cookies_are_made_valid_for_any_host() -> None:
    """The cookies of the display are made valid for any host."""
    data = xauth_entry(256, b"host", b"0", b"a" * 16) + xauth_entry(256, b"host", b"10", b"b" * 16)
    assert display.wild_entries(data, ":0") == xauth_entry(0xFFFF, b"host", b"0", b"a" * 16)
    assert display.wild_entries(data, "localhost:10.0") == xauth_entry(0xFFFF, b"host", b"10", b"b" * 16)
    assert display.wild_entries(data, ":1") == b""


@given(st.binary(max_size=80))
def test_display_cookie_file_of_any_bytes_is_read(data: bytes) -> None:
    """A broken cookie file does not fail."""
    assert isinstance(display.wild_entries(data, ":0"), bytes)


def test_display_cookie_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    """The cookie file is private and replaced whole."""
    source = tmp_path / "auth"
    source.write_bytes(xauth_entry(256, b"host", b"0", b"a" * 16))
    cookie = display.CookieFile(display=":0", source=source, path=tmp_path / "cache" / "xauth-0")
    for _ in range(2):
        assert display.write_cookie(cookie) is None
        assert stat.S_IMODE(cookie.path.stat().st_mode) == 0o600
        assert cookie.path.read_bytes().endswith(b"a" * 16)
    assert [path.name for path in cookie.path.parent.iterdir()] == ["xauth-0"]


def test_display_without_a_cookie_gets_a_notice_with_the_command_that_helps(tmp_path: Path) -> None:
    """A missing cookie gets a notice with the command that helps."""
    notice = display.write_cookie(display.CookieFile(display=":0", source=tmp_path / "none", path=tmp_path / "xauth-0"))
    assert notice is not None
    assert notice.hint == "xhost +si:localuser:root"


def test_sound_server_of_the_session_is_passed(tmp_path: Path) -> None:
    """The sound server of the session is passed."""
    env = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/me"}
    files = "run/user/1000/pulse/native home/me/.config/pulse/cookie"
    assert added(plan(tmp_path, files=files, env=env), plan(tmp_path)) == [
        *("--env", "PULSE_SERVER=unix:/run/user/1000/pulse/native", "--env", "PULSE_COOKIE=/tmp/.pulse-cookie"),
        *("--mount", "type=bind,source=/run/user/1000/pulse/native,target=/run/user/1000/pulse/native"),
        *("--mount", "type=bind,source=/home/me/.config/pulse/cookie,target=/tmp/.pulse-cookie,readonly"),
    ]


def test_sound_server_that_is_missing_adds_no_words(tmp_path: Path) -> None:
    """Without a sound server nothing is added."""
    assert plan(tmp_path, env={"XDG_RUNTIME_DIR": "/run/user/1000"}).argv == plan(tmp_path).argv
    assert plan(tmp_path, env={"XDG_RUNTIME_DIR": ""}).argv == plan(tmp_path).argv
