"""`keys new` and `push --sign`: files, passwords, and what is said."""

from __future__ import annotations

import io
import stat
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import images, keys
from jetson_containers.cli.app import App
from jetson_containers.cli.main import main
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.signing.keys import PrivateKey, PublicKey
from tests.fakes import FakeEngine
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def app_with(engine: FakeEngine | None = None) -> App:
    app = App()
    app.__dict__["console"] = Console(out=io.StringIO(), err=io.StringIO())
    app.__dict__["engine"] = engine or FakeEngine()
    return app


def call(command: object, app: App, *argv: str) -> None:
    command.main([*argv], standalone_mode=False, obj=app)  # type: ignore[attr-defined]


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(keys.PASSWORD, "pass phrase")
    call(keys.keys_new, app_with(), str(tmp_path / "robots"))
    return tmp_path / "robots"


def test_keys_new_writes_a_pair_that_belongs_together(name: Path) -> None:
    """The private key is the user's alone and sealed by the password; the public one verifies what it signs."""
    private, public = name.with_suffix(".key"), name.with_suffix(".pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    signature = PrivateKey.read(private, lambda: b"pass phrase").sign(b"text")
    assert PublicKey.read(public).verifies(signature, b"text")


def test_keys_new_replaces_no_key(name: Path) -> None:
    """A key that is there stays: what it signed would never verify again."""
    before = name.with_suffix(".key").read_text()
    with pytest.raises(UsageError, match="a key is not replaced"):
        call(keys.keys_new, app_with(), str(name))
    assert name.with_suffix(".key").read_text() == before


def test_password_is_not_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the variable is named; an empty password in it is one."""
    monkeypatch.delenv(keys.PASSWORD, raising=False)
    with pytest.raises(UsageError, match="nobody to ask") as caught:
        keys.password(app_with())
    assert "COSIGN_PASSWORD" in (caught.value.hint or "")
    monkeypatch.setenv(keys.PASSWORD, "")
    assert keys.password(app_with()) == b""


class PushingEngine(FakeEngine):
    """An engine that pushes to a fake registry, and says what docker says."""

    says = "1: digest: {} size: 528"

    def push(self, reference: str, on_line: Callable[[str], None], **more: Any) -> None:
        super().push(reference, on_line, **more)
        on_line(self.says.format(self.digest))

    digest = ""


def test_push_signs_what_was_pushed(name: Path) -> None:
    """The digest that docker names is signed, in the repository of the image, and comes back."""
    engine = PushingEngine()
    with FakeRegistry() as registry:
        engine.digest = registry.add_image("robots/llm", "1")
        image = f"{registry.host}/robots/llm:1"
        engine.add_image(image)
        app = app_with(engine)
        call(images.push, app, "--sign", str(name.with_suffix(".key")), image)
        assert app.console.out.getvalue() == f"{registry.host}/robots/llm@{engine.digest}\n"  # type: ignore[union-attr]
        assert f"{engine.digest.replace(':', '-')}.sig" in registry.tags["robots/llm"]


def test_push_says_that_it_could_not_sign(name: Path) -> None:
    """Where the engine names no digest, nothing is signed, which is said."""
    engine = PushingEngine()
    engine.says = "pushed"
    engine.add_image("127.0.0.1:1/robots/llm:1")
    with pytest.raises(NotReadyError, match="pushed and not signed"):
        call(images.push, app_with(engine), "--sign", str(name.with_suffix(".key")), "127.0.0.1:1/robots/llm:1")


def test_build_says_that_without_a_push_nothing_is_signed(name: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--sign` alone has no effect, which is said; the setting is for builds that push, and says nothing."""
    line = ["build", "--dry-run", "python", "--target", "cpu"]
    assert main([*line, "--sign", str(name.with_suffix(".key"))]) == 0
    assert "--sign: nothing is pushed, so nothing is signed" in capsys.readouterr().err
    assert main(line) == 0
    assert "signed" not in capsys.readouterr().err


def test_build_dry_run_looks_whether_the_key_is_one(name: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not after hours, and without its password."""
    line = ["build", "--dry-run", "python", "--target", "cpu", "--push", "registry.example/me", "--sign"]
    assert main([*line, str(name.with_suffix(".key"))]) == 0
    for wrong in (name.with_suffix(".pub"), name.with_suffix(".nowhere")):
        capsys.readouterr()
        assert main([*line, str(wrong)]) == 2
        assert str(wrong) in capsys.readouterr().err
