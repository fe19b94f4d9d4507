"""Locks, atomic writes, free space and the errors of files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from jetson_containers.core import files
from jetson_containers.core.errors import DiskSpaceError, InterruptedByUserError, NotReadyError, UsageError


def test_open_lock_opens_the_lock_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open lock opens the lock of another user."""
    lock = tmp_path / "lock"
    lock.touch()
    original = files.os.open

    def refuse(path: Path, flags: int, mode: int = 0) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, flags, mode)

    monkeypatch.setattr(files.os, "open", refuse)
    with files.open_lock(lock) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("code", "taken"), [(errno.EWOULDBLOCK, False), (errno.ENOLCK, True)])
def test_try_lock_succeeds_on_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, taken: bool
) -> None:
    """Try lock succeeds on a file system without locks."""

    def flock(_descriptor: int, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    with files.open_lock(tmp_path / "lock") as lock:
        monkeypatch.setattr(files.fcntl, "flock", flock)
        assert files.try_lock(lock) is taken


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EROFS, "mounted read-only"), (errno.EACCES, 'chown -R "$(id -u):$(id -g)" /data/models')],
)
def test_readable_os_errors_say_what_to_do(number: int, said: str) -> None:
    """Readable os errors say what to do."""
    with pytest.raises(NotReadyError) as caught, files.readable_os_errors():
        raise OSError(number, os.strerror(number), "/data/models/x")
    assert said in (caught.value.hint or "")


def test_open_lock_reports_a_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open lock reports a directory of another user."""

    def refuse(path: Path, flags: int, mode: int = 0) -> int:
        kind = PermissionError if flags & os.O_CREAT else FileNotFoundError
        raise kind(errno.EACCES, "no", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError), files.open_lock(tmp_path / "none"):
        pass


def test_write_atomically_never_shows_half_a_file(tmp_path: Path) -> None:
    """Write atomically never shows half a file."""
    path = tmp_path / "list.json"
    texts = [json.dumps({"n": n, "pad": "x" * 20000}).encode() for n in range(8)]
    files.write_atomically(path, texts[0])
    torn: list[Exception] = []

    def work(text: bytes) -> None:
        for _ in range(20):
            files.write_atomically(path, text)
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                torn.append(error)

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torn == []
    assert [file.name for file in tmp_path.iterdir()] == ["list.json"]


def test_write_atomically_leaves_the_old_file_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write atomically leaves the old file when interrupted."""
    path = tmp_path / "list.json"
    files.write_atomically(path, b"old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["list.json"]
    assert path.read_bytes() == b"old"


def test_make_data_directory_under_sudo_belongs_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make data directory under sudo belongs to the caller."""
    owners: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, **_: owners.update({str(path): (uid, gid)}))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    files.make_data_directory(tmp_path / "a" / "b")
    assert owners == {str(tmp_path / "a" / "b"): (1000, 1001), str(tmp_path / "a"): (1000, 1001)}
    files.make_data_directory(tmp_path / "a" / "b")
    assert len(owners) == 2


def test_open_no_link_writes_through_none(tmp_path: Path) -> None:
    """Whoever may write a folder does not choose by a link what is overwritten; new and old files open as usual."""
    victim, log = tmp_path / "victim", tmp_path / "x.log"
    victim.write_text("kept")
    log.symlink_to(victim)
    for mode in ("w", "wb", "ab", "r+b", "a+"):
        with pytest.raises(OSError, match="symbolic links"):
            files.open_no_link(log, mode)
    assert victim.read_text() == "kept"
    log.unlink()
    for text in ("a", "b"):
        with files.open_no_link(log, "a", encoding="utf-8") as file:
            file.write(text)
    assert log.read_text() == "ab"


def test_read_regular_waits_for_nobody_and_ends(tmp_path: Path) -> None:
    """A FIFO, a device, a directory and a file without end are errors at once."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"12345")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path, tmp_path / "large", tmp_path / "none"):
        with pytest.raises(OSError, match=r"it is|it has|No such file"):
            files.read_regular(path, 4)
    assert files.read_regular(tmp_path / "large", 5) == b"12345"


def test_open_lock_makes_nothing_behind_a_link(tmp_path: Path) -> None:
    """A dangling link in the place of a lock does not make root create what it names."""
    (tmp_path / "lock").symlink_to(tmp_path / "nologin")
    with pytest.raises(OSError, match="symbolic links"), files.open_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "nologin").exists()


def test_make_data_directory_refuses_a_file(tmp_path: Path) -> None:
    """Make data directory refuses a file."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="not a directory"):
            files.make_data_directory(path)


def test_engine_space_is_returned_and_too_little_refused(tmp_path: Path) -> None:
    """Engine space is returned and too little refused."""
    free = files.ensure_engine_space(str(tmp_path), 1)
    assert free is not None
    assert free > 0
    with pytest.raises(DiskSpaceError, match="are needed below"):
        files.ensure_engine_space(str(tmp_path), 10**18)


def test_engine_space_of_another_machine_is_not_judged(tmp_path: Path) -> None:
    """Engine space of another machine is not judged."""
    assert files.directory_space(tmp_path / "none") is None
    assert files.ensure_engine_space(str(tmp_path / "none"), 10**18) is None


def test_write_atomically_makes_directories_and_keeps_the_mode(tmp_path: Path) -> None:
    """Write atomically makes directories and keeps the mode."""
    path = tmp_path / "a" / "b"
    files.write_atomically(path, "ä", mode=0o600)
    assert path.read_bytes() == "ä".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_write_atomically_replaces_the_leftover_of_a_killed_process(tmp_path: Path) -> None:
    """Write atomically replaces the leftover of a killed process."""
    (tmp_path / f".x.{os.getpid()}.{threading.get_ident()}").write_text("half")
    files.write_atomically(tmp_path / "x", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_wait_for_lock_ends_when_cancelled(tmp_path: Path) -> None:
    """Wait for lock ends when cancelled."""
    cancelled = threading.Event()
    cancelled.set()
    with files.open_lock(tmp_path / "lock") as held, files.open_lock(tmp_path / "lock") as wanted:
        assert files.try_lock(held)
        with pytest.raises(InterruptedByUserError):
            files.wait_for_lock(wanted, cancelled)


def test_wait_for_lock_takes_a_lock_that_is_released(tmp_path: Path) -> None:
    """Wait for lock takes a lock that is released."""
    with files.open_lock(tmp_path / "lock") as wanted:
        with files.open_lock(tmp_path / "lock") as held:
            assert files.try_lock(held)
            assert not files.try_lock(wanted)
            waiting = threading.Thread(target=files.wait_for_lock, args=(wanted,))
            waiting.start()
        waiting.join(10)
        assert not waiting.is_alive()


def test_free_space_of_a_place_that_does_not_exist_yet(tmp_path: Path) -> None:
    """Free space of a place that does not exist yet."""
    assert files.free_space(tmp_path / "none" / "below") > 0
    assert files.directory_space("") is None


def test_temporary_folder_is_removed_with_what_is_in_it() -> None:
    """A temporary folder is removed at the end, also after an error."""
    said: list[str] = []

    def leave() -> None:
        with files.temporary_folder("jc-t-", lambda *words: said.extend(words)) as folder:
            made.append(folder)
            (folder / "deep").mkdir()
            (folder / "deep/file").write_text("x")
            raise ValueError("broken")

    made: list[Path] = []
    with pytest.raises(ValueError, match="broken"):
        leave()
    assert (made[0].exists(), said) == (False, [])


def test_temporary_folder_stays_while_something_is_mounted_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted below a temporary folder is not emptied; the warning says how to remove both."""
    said: list[str] = []
    with files.temporary_folder("jc-t-", lambda *words: said.extend(words)) as made:
        (made / "dev shm").mkdir()
        (made / "dev shm/file").write_text("another's")
        lines = (
            f"36 35 98:0 / {made}/dev\\040shm rw - tmpfs none rw\n37 35 98:0 / {made}-other rw - tmpfs none rw\nodd\n"
        )
        real = Path.read_text
        monkeypatch.setattr(
            Path, "read_text", lambda path, **more: lines if path.name == "mountinfo" else real(path, **more)
        )
    assert (made / "dev shm/file").read_text() == "another's"
    assert f"umount '{made}/dev shm'" in said[1]
    monkeypatch.undo()
    files.remove(made)
