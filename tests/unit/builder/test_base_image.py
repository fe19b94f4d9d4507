"""Where the base image comes from, and what a made one is made of."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder import base_image, known_base, rootfs
from jetson_containers.builder.known_base import BaseImage
from jetson_containers.builder.rootfs import Rootfs, RootfsSource
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, RegistryError, StepError, UsageError
from jetson_containers.engine.interface import RunResult
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target
from tests.fakes import CAPABILITIES, FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.core.settings import Settings

JETSON = parse_target("r36.4.3")
NAMED = parse_target("x86_64,cpu,ubuntu22.04")  # its distribution is the user's word
PC = replace(NAMED, distro_chosen=False)  # the same where nobody chose
OTHER_TARGETS = [
    replace(parse_target(text), distro_chosen=False)
    for text in ("x86_64,cu129,ubuntu22.04", "x86_64,cpu,ubuntu22.04,py3.12")
]
BOOKWORM = """PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n"""
NOBLE = "ID=ubuntu\nVERSION_ID=24.04\nVERSION_CODENAME=noble\n"
END = "http://m bookworm main"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}
"""


class Said:
    """A console that remembers."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.console = Console(err=self.stream, out=io.StringIO(), env={"NO_COLOR": "1"})

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return settings.load({"cache": str(tmp_path / "cache")}, env={"PATH": ""}, files=(), root=tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A Debian 12 machine."""
    return machine(tmp_path / "host", BOOKWORM, {"sources.list.d/debian.sources": DEB822})


@pytest.fixture(autouse=True)
def no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has installed, no unit test runs it."""
    monkeypatch.setattr(rootfs, "find_tool", lambda env: None)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Rootfs]:
    """Instead of running a tool: remember what was to be made."""
    wanted: list[Rootfs] = []

    def make(tool: str, what: Rootfs, work: Path, **more: object) -> Path:
        wanted.append(what)
        (work / "rootfs.tar").write_bytes(b"tar")
        return work / "rootfs.tar"

    monkeypatch.setattr(rootfs, "make", make)
    monkeypatch.setattr(rootfs, "find_tool", lambda env: "/usr/bin/mmdebstrap")
    return wanted


def machine(root: Path, os_release: str, apt: dict[str, str]) -> Path:
    (root / "etc/apt/sources.list.d").mkdir(parents=True)
    (root / "etc/os-release").write_text(os_release)
    for name, text in apt.items():
        (root / "etc/apt" / name).write_text(text)
    return root


def test_base_image_in_the_local_store_is_taken_silently(config: Settings, said: Said, host: Path) -> None:
    """The default in the local store is taken without a message."""
    engine = FakeEngine()
    image = engine.add_image("ubuntu:22.04")
    found = base_image.ensure(PC, engine, said.console, config, root=host)
    assert found == BaseImage(reference="ubuntu:22.04", platform=PC, digest=image.id)
    assert (said.text, engine.calls) == ("", [])


def test_base_image_of_another_architecture_is_not_the_default(config: Settings, said: Said, host: Path) -> None:
    """A default of another architecture is not taken."""
    engine = FakeEngine()
    engine.add_image("ubuntu:22.04", architecture="arm64")
    with pytest.raises(NotReadyError):
        base_image.ensure(PC, engine, said.console, config, root=host)
    assert ("pull", "ubuntu:22.04") in engine.calls


def test_base_image_is_pulled_where_a_registry_answers(config: Settings, said: Said, host: Path) -> None:
    """The default is pulled where a registry answers."""
    engine = FakeEngine()
    image = replace(engine.add_image("ubuntu:22.04"), digests=("ubuntu@sha256:abc",))
    engine.untag("ubuntu:22.04")
    engine.registry["ubuntu:22.04"] = image
    found = base_image.ensure(PC, engine, said.console, config, root=host)
    assert found == BaseImage(reference="ubuntu:22.04", platform=PC, digest="sha256:abc")
    assert said.text == "pulling the base image ubuntu:22.04\n"


def test_base_image_has_the_same_digest_while_a_farm_pulls_its_copy(config: Settings, said: Said, host: Path) -> None:
    """A worker on the same engine that has just pulled the copy gives the image a digest that must not count."""
    engine = FakeEngine()
    image = engine.add_image("ubuntu:22.04")
    alone = base_image.ensure(PC, engine, said.console, config, root=host)
    engine.store["ubuntu:22.04"] = replace(image, digests=("registry.lan:5000/team/farm-base@sha256:abc",))
    assert base_image.ensure(PC, engine, said.console, config, root=host) == alone
    engine.store["ubuntu:22.04"] = replace(image, digests=("a/farm-base@sha256:abc", "ubuntu@sha256:def"))
    assert base_image.ensure(PC, engine, said.console, config, root=host).digest == "sha256:def"


def test_base_image_is_made_where_no_registry_answers(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """Where no registry answers, one is made, with a message."""
    engine = FakeEngine()
    found = base_image.ensure(PC, engine, said.console, config, root=host)
    assert found.reference == "jetson-containers/base:debian12-amd64"
    assert (found.made, found.digest) == (True, engine.image(found.reference).id)  # type: ignore[union-attr]
    assert (found.platform.distro, found.platform.distro_version) == ("debian", "12")
    assert str(found.platform.python) == "3.11"
    request = engine.requests[0]
    assert (request.platform, request.dockerfile) == ("linux/amd64", base_image.DOCKERFILE)
    assert request.labels[labels.ROLE] == "base"
    assert not request.context.exists()
    assert "warning: cannot get the base image `ubuntu:22.04`" in said.text
    assert "making the base image jetson-containers/base:debian12-amd64 with mmdebstrap" in said.text


def test_base_image_that_was_made_is_used_again(config: Settings, said: Said, host: Path, made: list[Rootfs]) -> None:
    """A base image that was made is used again."""
    engine = FakeEngine()
    first = base_image.ensure(PC, engine, said.console, config, root=host)
    assert base_image.ensure(PC, engine, said.console, config, root=host) == first
    assert len(made) == 1
    assert [call for call in engine.calls if call[0] == "pull"] == [("pull", "ubuntu:22.04")]


def test_base_image_that_only_has_the_name_is_not_taken(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """An image that only has the name is not taken for one made here."""
    engine = FakeEngine()
    engine.add_image("jetson-containers/base:debian12-amd64", {labels.ROLE: "stage"})
    base_image.ensure(PC, engine, said.console, config, root=host)
    assert len(made) == 1


def test_base_image_is_not_pulled_offline(config: Settings, said: Said, host: Path, made: list[Rootfs]) -> None:
    """Offline, nothing is pulled."""
    values = {**config.values, "offline": settings.Value(True, "--offline")}
    engine = FakeEngine()
    assert base_image.ensure(PC, engine, said.console, replace(config, values=values), root=host).made
    assert not [call for call in engine.calls if call[0] == "pull"]


def test_base_image_is_predicted_without_an_engine(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """What was found is predicted without an engine."""
    assert known_base.predict(PC, config) == BaseImage(reference="ubuntu:22.04", platform=PC, digest=None)
    found = base_image.ensure(PC, FakeEngine(), said.console, config, root=host)
    assert known_base.predict(PC, config) == found
    assert known_base.predict(JETSON, config).digest is None
    for other in OTHER_TARGETS:
        assert known_base.predict(other, config) == BaseImage(reference="ubuntu:22.04", platform=other, digest=None)
    record = config.path("cache") / known_base.RECORD
    (written,) = json.loads(record.read_text()).items()
    for damaged in (7, "text", ["list"], {}, {**written[1], "reference": 1}, {**written[1], "distro": None}):
        record.write_text(json.dumps({written[0]: damaged}))
        assert known_base.predict(PC, config) == BaseImage(reference="ubuntu:22.04", platform=PC, digest=None)
    record.write_text("{broken")
    assert known_base.predict(PC, config) == BaseImage(reference="ubuntu:22.04", platform=PC, digest=None)


@pytest.mark.parametrize("target", ["x86_64,cpu,ubuntu22.04", "x86_64,cu128,22.04", "r36.4.3,ubuntu24.04"])
def test_base_image_of_a_named_distribution_is_never_another(
    config: Settings, said: Said, host: Path, made: list[Rootfs], target: str
) -> None:
    """Where the target names a distribution, one that was made of another is neither taken, made nor predicted."""
    named = parse_target(target)
    engine = FakeEngine()
    earlier = base_image.ensure(replace(named, distro_chosen=False), engine, said.console, config, root=host)
    assert (earlier.platform.distro, len(made)) == ("debian", 1)
    assert known_base.predict(named, config).platform == named
    engine.calls.clear()
    with pytest.raises(NotReadyError, match=rf"--target .*{named.distro_version}: .* can only make debian 12"):
        base_image.ensure(named, engine, said.console, config, root=host)
    assert [call for call in engine.calls if call[0] == "pull"]
    assert len(made) == 1


def test_base_image_of_a_named_distribution_is_pulled_although_another_was_made(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """Once a registry answers, the named distribution is pulled although another one was made before."""
    engine = FakeEngine()
    base_image.ensure(PC, engine, said.console, config, root=host)
    engine.registry["ubuntu:22.04"] = engine.add_image("ubuntu:22.04")
    engine.untag("ubuntu:22.04")
    found = base_image.ensure(NAMED, engine, said.console, config, root=host)
    assert (found.reference, found.platform) == ("ubuntu:22.04", NAMED)


def test_base_image_of_a_named_distribution_is_made_where_it_is_the_hosts(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """A named distribution that this machine can make is made, and used again."""
    named = parse_target("x86_64,cpu,debian12")
    engine = FakeEngine()
    found = base_image.ensure(named, engine, said.console, config, root=host)
    assert (found.reference, found.platform.distro) == ("jetson-containers/base:debian12-amd64", "debian")
    assert base_image.ensure(named, engine, said.console, config, root=host) == found
    assert (len(made), known_base.predict(named, config)) == (1, found)


def test_base_image_for_another_architecture_is_marked_foreign(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """A base for another architecture is marked foreign."""
    engine = FakeEngine()
    found = base_image.ensure(JETSON, engine, said.console, config, root=host)
    assert found.reference == "jetson-containers/base:debian12-arm64"
    assert (made[0].arch, made[0].foreign, engine.requests[0].platform) == ("arm64", True, "linux/arm64")
    assert found.platform.l4t == JETSON.l4t


def test_base_image_without_an_emulator_names_the_remedy(
    config: Settings, said: Said, host: Path, made: list[Rootfs]
) -> None:
    """Without an emulator the remedy is named."""
    engine = FakeEngine(replace(CAPABILITIES, platforms=("linux/amd64",)))
    with pytest.raises(NotReadyError, match="linux/arm64 cannot be made here"):
        base_image.ensure(JETSON, engine, said.console, config, root=host)
    assert made == []


def test_base_image_that_fails_leaves_no_files(
    config: Settings, said: Said, host: Path, made: list[Rootfs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base image that could not be made leaves no files behind."""

    def fail(tool: str, what: Rootfs, work: Path, **more: object) -> Path:
        (work / "half").write_bytes(b"x")
        folders.append(work)
        raise StepError("mirror down")

    folders: list[Path] = []
    monkeypatch.setattr(rootfs, "make", fail)
    engine = FakeEngine()
    with pytest.raises(StepError):
        base_image.ensure(PC, engine, said.console, config, root=host)
    assert engine.images() == []
    assert not folders[0].exists()
    assert known_base.predict(PC, config).digest is None


def test_base_image_without_a_tool_names_the_command_to_install_one(config: Settings, said: Said, host: Path) -> None:
    """Without a tool and the rights to install one, the command is named."""
    with pytest.raises(NotReadyError) as caught:
        base_image.ensure(PC, FakeEngine(), said.console, config, root=host)
    assert "apt-get install mmdebstrap" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("os_release", "said_is"),
    [("ID=fedora\nPRETTY_NAME=Fedora 40\n", "`Fedora 40`"), (BOOKWORM, "no source of debian bookworm itself")],
)
def test_base_image_on_a_host_that_cannot_make_one_says_why(
    config: Settings, said: Said, tmp_path: Path, made: list[Rootfs], os_release: str, said_is: str
) -> None:
    """A host that cannot make one says why."""
    root = machine(tmp_path / "other", os_release, {})
    with pytest.raises(NotReadyError, match=said_is):
        base_image.ensure(PC, FakeEngine(), said.console, config, root=root)


# The user's own base ------------------------------------------------------------------------------------------------


def test_base_image_of_the_user_is_taken_with_its_distribution(config: Settings, said: Said) -> None:
    """The user's base is taken and its distribution read."""
    engine = FakeEngine(answer=lambda call: RunResult(exit_code=0, output='ID=ubuntu\nVERSION_ID="24.04"\n'))
    image = engine.add_image("my/base:1")
    found = base_image.ensure(PC, engine, said.console, config, base="my/base:1")
    assert (found.reference, found.digest, found.made) == ("my/base:1", image.id, False)
    assert (found.platform.distro_version, str(found.platform.python)) == ("24.04", "3.12")
    assert known_base.predict(PC, config, "my/base:1") == found


def test_base_image_of_the_user_without_a_distribution_counts_as_that_of_the_platform(
    config: Settings, said: Said
) -> None:
    """A base that does not say what it is counts as the platform's distribution."""
    engine = FakeEngine(answer=lambda call: RunResult(exit_code=1, output="cat: not found"))
    engine.add_image("my/base:1")
    assert base_image.ensure(PC, engine, said.console, config, base="my/base:1").platform == PC
    assert "does not say which distribution" in said.text


def test_base_image_of_the_user_says_its_distribution_once(config: Settings, said: Said) -> None:
    """The same image is not started again to say it; another one under the name is, and one that says nothing."""
    engine = FakeEngine(answer=lambda call: RunResult(exit_code=0, output="ID=ubuntu\nVERSION_ID=24.04\n"))
    engine.add_image("my/base:1")
    first = base_image.ensure(PC, engine, said.console, config, base="my/base:1")
    assert base_image.ensure(PC, engine, said.console, config, base="my/base:1") == first
    assert len(engine.runs) == 1
    engine.add_image("my/base:1", {"another": "image"})
    base_image.ensure(PC, engine, said.console, config, base="my/base:1")
    assert len(engine.runs) == 2
    silent = FakeEngine(answer=lambda call: RunResult(exit_code=1, output=""))
    silent.add_image("other:1")
    for count in (1, 2):
        base_image.ensure(PC, silent, said.console, config, base="other:1")
        assert len(silent.runs) == count


def test_base_image_of_the_user_is_never_replaced(config: Settings, said: Said, host: Path, made: list[Rootfs]) -> None:
    """A base of the user that is unavailable is never replaced."""
    with pytest.raises(RegistryError):
        base_image.ensure(PC, FakeEngine(), said.console, config, base="my/base:1", root=host)
    assert made == []


def test_base_image_of_the_user_for_another_architecture_is_refused(config: Settings, said: Said) -> None:
    """A base of the user for another architecture is refused."""
    engine = FakeEngine()
    engine.add_image("my/base:1", architecture="arm64")
    with pytest.raises(NotReadyError, match="is an image for arm64, and the target is amd64"):
        base_image.ensure(PC, engine, said.console, config, base="my/base:1")


def test_base_image_of_the_user_that_is_labeled_for_another_cuda_is_refused(config: Settings, said: Said) -> None:
    """An image on it would be labeled with a CUDA that it does not hold."""
    engine = FakeEngine()
    said_platform = json.dumps(labels.platform_value(parse_target("r36.4.3,cu128")))
    engine.add_image("my/base:1", {labels.PLATFORM: said_platform}, architecture="arm64")
    with pytest.raises(UsageError, match=r"is for CUDA 12\.8, and the target is CUDA 12\.6"):
        base_image.ensure(JETSON, engine, said.console, config, base="my/base:1")


# apt's sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("deb http://m/debian bookworm main", "deb http://m/debian bookworm main"),
        ("deb http://m/debian bookworm main contrib # all", "deb http://m/debian bookworm main"),
        ("deb http://m/ubuntu bookworm main universe", "deb http://m/ubuntu bookworm main universe"),
        (f"deb [ signed-by={KEYRING} arch=amd64 ] http://m bookworm main", f"deb [signed-by={KEYRING}] {END}"),
        (f"deb [trusted=yes lang=none] {END}", f"deb [trusted=yes] {END}"),
        ("deb [check-valid-until=no] http://m bookworm main", "deb [check-valid-until=no] http://m bookworm main"),
        ("deb http://m bookworm/updates main", "deb http://m bookworm/updates main"),
        ("# deb http://m bookworm main", None),
        ("deb-src http://m bookworm main", None),
        ("deb http://m bookworm-backports main", None),
        ("deb http://m bullseye main", None),
        ("deb http://m bookworm stable", None),
        ("deb [arch=arm64] http://m bookworm main", None),
        ("deb [signed-by=/etc/apt/keyrings/docker.gpg] http://m bookworm main", None),
        ("deb https://user:word@m/debian bookworm main", None),
    ],
)  # fmt: skip
def test_apt_sources_of_the_distribution_are_the_only_ones_used(tmp_path: Path, line: str, kept: str | None) -> None:
    """Only the distribution's own entries are used."""
    root = machine(tmp_path, BOOKWORM, {"sources.list": line + "\n"})
    found = rootfs.official(rootfs.read_sources(root), "bookworm", "amd64")
    assert [str(source) for source in found] == ([kept] if kept else [])


def test_apt_sources_in_the_new_format_are_read_without_third_parties(tmp_path: Path) -> None:
    """The new format is read, and third parties are left out."""
    files = {
        "sources.list.d/debian.sources": DEB822,
        "sources.list.d/off.sources": DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n").split("\n\n")[0],
        "sources.list.d/node.list": "deb https://node.example/x nodistro main\n",
        "sources.list.d/embedded.sources": "Types: deb\nURIs: http://x\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
        "sources.list.d/saved.sources.bak": DEB822,
    }
    found = rootfs.official(rootfs.read_sources(machine(tmp_path, BOOKWORM, files)), "bookworm", "arm64")
    assert [str(source) for source in found] == [
        f"deb [signed-by={KEYRING}] http://mirror.example/debian bookworm main",
        f"deb [signed-by={KEYRING}] http://mirror.example/debian bookworm-updates main",
        f"deb [signed-by={KEYRING}] http://mirror.example/debian-security bookworm-security main",
    ]


def test_rootfs_on_ubuntu_is_the_release_of_the_platform(tmp_path: Path) -> None:
    """On Ubuntu the platform's own release is made."""
    line = "deb http://m/ubuntu noble main universe\ndeb http://m/ubuntu noble-security main\n"
    root = machine(tmp_path, NOBLE, {"sources.list": line})
    host = base_image.parse_os_release(NOBLE)
    wanted = rootfs.plan(host, "amd64", version="22.04", codename="jammy", root=root)
    assert (wanted.suite, [source.suite for source in wanted.sources]) == ("jammy", ["jammy", "jammy-security"])


MAIN = RootfsSource(uri="http://m/debian", suite="bookworm", components=("main",), options=(("signed-by", KEYRING),))
ROOTFS = Rootfs(distro="debian", version="12", suite="bookworm", arch="amd64", sources=(MAIN,))


@pytest.mark.parametrize("root", [True, False])
def test_mmdebstrap_argv_of_a_native_rootfs(tmp_path: Path, *, root: bool) -> None:
    """The command line of mmdebstrap, which as root mounts in a namespace of its own."""
    argv = rootfs.mmdebstrap_argv("mmdebstrap", ROOTFS, tmp_path / "s", tmp_path / "t.tar", root=root)
    assert argv == [
        *(("unshare", "--mount") if root else ()),
        *("mmdebstrap", "--variant=apt", "--format=tar", "--architectures=amd64"),
        *(f"--customize-hook={rootfs.FORGET}", "bookworm", str(tmp_path / "t.tar"), str(tmp_path / "s")),
    ]


def test_mmdebstrap_argv_of_a_foreign_rootfs_over_https_with_an_own_keyring(tmp_path: Path) -> None:
    """The command line of mmdebstrap for another architecture, over HTTPS and with an own keyring."""
    own = RootfsSource(
        uri="https://m/debian",
        suite="bookworm",
        components=("main",),
        options=(("signed-by", "/etc/apt/keyrings/debian-archive.gpg"),),
    )
    abroad = replace(ROOTFS, arch="arm64", sources=(own,), foreign=True)
    argv = rootfs.mmdebstrap_argv("mmdebstrap", abroad, tmp_path / "s", tmp_path / "t.tar", root=False)
    assert argv[3:7] == [
        *("--architectures=arm64", "--skip=check/qemu", "--include=ca-certificates"),
        '--setup-hook=mkdir -p "$1"/etc/apt/keyrings && cp /etc/apt/keyrings/debian-archive.gpg "$1"/etc/apt/keyrings/',
    ]


def test_debootstrap_argv(tmp_path: Path) -> None:
    """The command line of debootstrap."""
    assert rootfs.debootstrap_argv("debootstrap", ROOTFS, tmp_path) == [
        *("unshare", "--mount", "debootstrap", "--variant=minbase", "--arch=amd64", f"--keyring={KEYRING}"),
        *("bookworm", str(tmp_path), "http://m/debian"),
    ]


def test_rootfs_tool_that_fails_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    """A tool that fails is reported with its last lines."""
    tool = tmp_path / "mmdebstrap"
    tool.write_text("#!/bin/sh\necho 'E: no mirror' >&2\nexit 25\n")
    tool.chmod(0o755)
    with pytest.raises(StepError) as caught:
        rootfs.make(str(tool), ROOTFS, tmp_path, env={"PATH": "/usr/bin:/bin"}, on_line=lambda line: None)
    assert "exit code 25" in caught.value.message
    assert caught.value.details == ("E: no mirror",)
