"""What single checks find on machines that are folders of files."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import RegistryError
from jetson_containers.doctor import run, types
from jetson_containers.engine.interface import Builder
from jetson_containers.platforms import detect
from jetson_containers.registry.types import ClockError
from tests.fakes import CAPABILITIES, FakeEngine
from tests.unit.shells import is_read_by_a_shell

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Capabilities

HOSTS = Path(__file__).parents[2] / "hosts"
NOON = datetime(2026, 11, 29, 12, tzinfo=timezone.utc).timestamp()
NVPMODEL = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
NVPMODEL += "< PM_CONFIG DEFAULT=1 >\n"
ROOT_ON_CARD = "24 1 179:1 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p1 rw\n"
DATA_ON_NVME = ROOT_ON_CARD + "30 24 259:1 / /var/lib rw shared:2 - ext4 /dev/nvme0n1p1 rw\n"


class Machine:
    """A captured host with files changed, and the checks of it by name."""

    def __init__(self, root: Path, host: str, env: dict[str, str] | None = None) -> None:
        self.root = root / "host"
        shutil.copytree(HOSTS / host, self.root, symlinks=True)
        self.data = root / "data"
        self.data.mkdir()
        flags = {"data": str(self.data), "cache": str(root / "cache"), "logs": str(root / "logs")}
        self.settings = settings.load(flags, env={"HOME": str(root), **(env or {})}, files=(), root=root)
        self.options: dict[str, Any] = {
            "ask": lambda argv: "",
            "head": lambda url: "Sun, 29 Nov 2026 12:00:00 GMT",
            "now": lambda: NOON,
            "user": 0,
        }

    def write(self, place: str, text: str) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self, name: str, capabilities: Capabilities = CAPABILITIES) -> types.Check:
        context = types.DoctorContext(
            platform=lambda: detect.detect(self.root, {}, ""),
            engine=lambda: FakeEngine(capabilities),
            settings=self.settings,
            root=self.root,
            **self.options,
        )
        wanted = [each for each in run.CHECKS if each.name in {"engine", name}]
        return next(each for each in run.run_checks(context, wanted) if each.check == name)


@pytest.fixture
def orin(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "orin-nano-super-r36.4.3")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("pmode:0002 fmode:quiet", "ok"), ("pmode:0000 fmode:quiet", "note"), ("", "note")],
)
def test_power_mode_is_compared_with_the_fastest(orin: Machine, status: str, expected: str) -> None:
    """The mode of the status file counts, then the default of the configuration."""
    orin.write("etc/nvpmodel.conf", NVPMODEL)
    orin.write("var/lib/nvpmodel/status", status)
    found = orin.check("power mode")
    assert (found.status.value, found.remedy, found.fix) == (
        expected,
        "" if expected == "ok" else "sudo nvpmodel -m 2",
        "" if expected == "ok" else "power-mode",
    )


def test_power_mode_is_skipped_where_there_is_none(tmp_path: Path) -> None:
    """A PC has no power modes."""
    assert Machine(tmp_path, "x86_64-debian12-cpu").check("power mode").status is types.Status.SKIP


@pytest.mark.parametrize(
    ("rows", "expected", "fix"),
    [
        ("/dev/zram0 partition 4000000 0 5\n", "warn", "swap"),
        ("/dev/zram0 partition 4000000 0 5\n/mnt/16G.swap file 16000000 0 -2\n", "ok", ""),
        ("", "warn", "swap"),
    ],
)
def test_swap_on_disk_counts_and_zram_does_not(orin: Machine, rows: str, expected: str, fix: str) -> None:
    """Compressed memory alone is a warning."""
    orin.write("proc/swaps", f"Filename Type Size Used Priority\n{rows}")
    found = orin.check("swap")
    assert (found.status.value, found.fix) == (expected, fix)


def test_engine_medium_is_that_of_the_longest_mount(orin: Machine) -> None:
    """The data-root on an SD card is a warning, on NVMe it is not."""
    orin.write("sys/block/mmcblk0/device/type", "SD\n")
    orin.write("proc/self/mountinfo", ROOT_ON_CARD)
    found = orin.check("engine medium")
    assert (found.status.value, found.finding) == ("warn", "/var/lib/docker is on SD card (mmcblk0, ext4)")
    orin.write("proc/self/mountinfo", DATA_ON_NVME)
    assert orin.check("engine medium").finding == "/var/lib/docker is on NVMe (nvme0n1, ext4)"


def test_engine_of_another_machine_is_not_judged_by_this_one(orin: Machine) -> None:
    """What lies here says nothing of an engine elsewhere; what the engine itself says holds."""
    orin.write("proc/self/mountinfo", ROOT_ON_CARD)
    remote = replace(CAPABILITIES, elsewhere=True)
    of_here = ("engine medium", "engine disk", "iptables", "emulation", "container logs", "gpu access", "--gpus")
    for name in of_here:
        found = orin.check(name, remote)
        assert (found.status, found.finding) == (types.Status.SKIP, "the engine runs on another machine")
    assert orin.check("storage driver", remote).status is types.Status.OK
    assert orin.check("engine", remote).finding.endswith("on another machine")


@pytest.mark.parametrize(
    ("version", "expected"), [("1.17.1-1", "note"), ("1.18.0-1", "note"), ("1.16.2-1", "ok"), (None, "warn")]
)
def test_nvidia_toolkit_from_1_17_1_on_is_noted_on_a_tegra(orin: Machine, version: str | None, expected: str) -> None:
    """The versions that break `graphics` are named, a missing toolkit is a warning."""
    status = "Package: nvidia-container-toolkit\nStatus: install ok installed\nVersion: " + (version or "")
    orin.write("var/lib/dpkg/status", f"{status}\n" if version else "")
    assert orin.check("nvidia toolkit").status.value == expected


def test_runtime_mode_of_another_kind_is_a_warning_on_a_tegra(orin: Machine) -> None:
    """The mode `legacy` mounts nothing on a Jetson with L4T 36."""
    orin.write("etc/nvidia-container-runtime/config.toml", '[nvidia-container-runtime]\nmode = "legacy"\n')
    assert orin.check("runtime mode").status is types.Status.WARN
    orin.write("etc/nvidia-container-runtime/config.toml", '[nvidia-container-runtime]\nmode = "auto"\n')
    assert orin.check("runtime mode").status is types.Status.OK


def test_iptables_module_of_the_kernel_is_enough(orin: Machine) -> None:
    """A kernel that has the module starts containers of Docker 28."""
    newer = replace(CAPABILITIES, server_version="28.1.1")
    assert orin.check("iptables", newer).status is types.Status.WARN
    orin.write("lib/modules/5.15.148-tegra/kernel/net/ipv4/netfilter/iptable_raw.ko", "")
    assert orin.check("iptables", newer).status is types.Status.OK


def test_default_runtime_is_read_from_the_configuration(orin: Machine) -> None:
    """A Jetson whose default runtime is another gets a note with the step that changes it."""
    assert orin.check("default runtime").fix == "nvidia-runtime"
    orin.write("etc/docker/daemon.json", json.dumps({"default-runtime": "nvidia"}))
    assert orin.check("default runtime").status is types.Status.OK


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [("{}", "note"), ('{"log-opts": {"max-size": "50m"}}', "ok"), ('{"log-driver": "local"}', "ok"), ("{,}", "skip")],
)
def test_container_logs_without_a_limit_are_noted(orin: Machine, configuration: str, expected: str) -> None:
    """Only drivers that rotate, and an explicit limit, are fine; a broken one is another check."""
    orin.write("etc/docker/daemon.json", configuration)
    assert orin.check("container logs").status.value == expected


def test_desktop_is_noted_on_a_board_with_little_memory(orin: Machine) -> None:
    """The processes tell whether a desktop runs."""
    orin.write("proc/812/comm", "systemd\n")
    assert orin.check("desktop").finding == "no desktop runs"
    orin.write("proc/900/comm", "gnome-shell\n")
    assert (orin.check("desktop").status.value, orin.check("desktop").fix) == ("note", "headless")


def test_clocks_are_fixed_when_lowest_and_highest_are_one(orin: Machine) -> None:
    """jetson_clocks raises the lowest clock to the highest."""
    folder = "sys/devices/system/cpu/cpu0/cpufreq"
    orin.write(f"{folder}/cpuinfo_max_freq", "1728000\n")
    orin.write(f"{folder}/scaling_min_freq", "729600\n")
    assert orin.check("clocks").status is types.Status.NOTE
    orin.write(f"{folder}/scaling_min_freq", "1728000\n")
    assert orin.check("clocks").status is types.Status.OK


@pytest.mark.parametrize("name", ["registries", "package index", "hub"])
def test_servers_that_do_not_answer_are_named(orin: Machine, name: str) -> None:
    """A silent server is a warning with its host; in offline mode none is asked."""

    def down(url: str) -> str:
        raise RegistryError(f"registry {url.split('/')[2]}: connection refused")

    orin.options["head"] = down
    found = orin.check(name)
    assert (found.status.value, "connection refused" in found.finding) == ("warn", True)
    assert found.remedy.startswith("curl -I https://")
    values = {**orin.settings.values, "offline": settings.Value(True, "--offline")}
    orin.settings = settings.Settings(values, orin.settings.env)
    assert (orin.check(name).status.value, orin.check(name).finding) == ("skip", "offline mode")


def test_registries_that_do_not_answer_share_a_reason(orin: Machine) -> None:
    """What is wrong with all of them is said once, and what is wrong with one beside it."""

    def down(url: str) -> str:
        host = url.split("/")[2]
        reason = "too slow" if host == "nvcr.io" else "its name cannot be resolved"
        raise RegistryError(f"registry {host}: {reason}")

    orin.options["head"] = down
    found = orin.check("registries").finding
    assert found == "each of docker.io, ghcr.io: its name cannot be resolved; nvcr.io: too slow"


@pytest.mark.parametrize(
    ("now", "expected", "said"),
    [(NOON + 60, "ok", "agrees"), (NOON - 3600, "fail", "60 minutes off"), (86400.0, "fail", "never set")],
)
def test_clock_is_compared_with_a_server(orin: Machine, now: float, expected: str, said: str) -> None:
    """Minutes are tolerated, an hour and a clock that was never set are not."""
    orin.options["now"] = lambda: now
    found = orin.check("clock")
    assert (found.status.value, said in found.finding) == (expected, True)


def test_clock_is_named_where_a_certificate_is_not_valid_by_it(orin: Machine) -> None:
    """A clock so wrong that no server can be asked for the time is not called set."""

    def refused(_url: str) -> str:
        raise ClockError("pypi.org: certificate is not yet valid by this machine's clock, which says 2025-01-02 03:04")

    orin.options["head"] = refused
    found = orin.check("clock")
    assert (found.status.value, "2025-01-02" in found.finding) == ("fail", True)
    assert found.remedy == "sudo timedatectl set-ntp true"


def test_proxy_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    """Nothing listens on port 9 of this machine."""
    machine = Machine(tmp_path, "x86_64-debian12-cpu", {"https_proxy": "http://user:secret@127.0.0.1:9"})
    found = machine.check("proxy")
    assert (found.status.value, "127.0.0.1:9" in found.finding) == ("warn", True)
    assert "secret" not in found.finding


def test_hub_token_in_a_file_that_others_read_is_a_warning(tmp_path: Path) -> None:
    """The token itself is not shown."""
    file = tmp_path / "token"
    file.write_text("hf_abcdefgh")
    file.chmod(0o644)
    machine = Machine(tmp_path, "x86_64-debian12-cpu", {"HF_TOKEN_PATH": str(file)})
    found = machine.check("hub token")
    assert (found.status.value, found.remedy) == ("warn", f"chmod 600 {file}")
    file.chmod(0o600)
    assert machine.check("hub token").status is types.Status.OK
    assert "abcdefgh" not in machine.check("hub token").finding


def test_stopped_containers_are_noted_from_eleven_on(orin: Machine) -> None:
    """The engine is asked for containers that have ended."""
    asked: list[list[str]] = []

    def answer(argv: list[str]) -> str:
        asked.append(argv)
        return "\n".join(f"c{number}" for number in range(11))

    orin.options["ask"] = answer
    found = orin.check("stopped containers")
    assert (found.status.value, found.remedy) == ("note", "docker container prune")
    assert asked[0][:3] == ["/usr/bin/docker", "ps", "-a"]


def test_engine_use_with_much_unused_cache_is_noted(orin: Machine) -> None:
    """More than 30 GB that can be freed is a note."""
    row = {"Type": "Build Cache", "Size": "50GB", "Reclaimable": "45GB"}
    orin.options["ask"] = lambda argv: json.dumps(row)
    assert orin.check("engine use").status is types.Status.NOTE
    orin.options["ask"] = lambda argv: json.dumps({**row, "Reclaimable": "5GB (10%)"})
    assert orin.check("engine use").status is types.Status.OK


def test_engine_question_without_answer_is_a_warning(orin: Machine) -> None:
    """An engine that answers nothing within its time stops no other check."""

    def silent(argv: list[str]) -> str:
        raise TimeoutError("`docker` did not answer within 10 s")

    orin.options["ask"] = silent
    assert orin.check("engine use").status is types.Status.WARN


def test_own_cache_and_data_owner_are_looked_at(orin: Machine) -> None:
    """Sizes are those of the folders; a data directory that is a file fails."""
    cache = orin.settings.path("cache")
    cache.mkdir()
    (cache / "index").write_bytes(b"x" * 2000)
    assert orin.check("own cache").finding == f"2.0 kB in {cache}"
    assert orin.check("data owner").status is types.Status.OK
    orin.data.rmdir()
    orin.data.write_text("")
    assert orin.check("data owner").status is types.Status.FAIL


def test_board_that_is_unknown_is_a_warning(orin: Machine) -> None:
    """A module that is not in the table is said, a known one is named."""
    assert orin.check("board").finding.startswith("Jetson Orin Nano")
    (orin.root / "etc/nv_boot_control.conf").unlink()
    orin.write("proc/device-tree/compatible", "nvidia,p9999-0000\0nvidia,tegra234\0")
    orin.write("proc/device-tree/model", "Some Carrier")
    assert orin.check("board").status is types.Status.WARN


def test_variables_that_nobody_reads_are_a_warning(tmp_path: Path) -> None:
    """A misspelled setting is named."""
    machine = Machine(tmp_path, "x86_64-debian12-cpu", {"JETSON_CONTAINERS_DATTA": "/x"})
    found = machine.check("variables")
    assert (found.status.value, "$JETSON_CONTAINERS_DATTA" in found.finding) == ("warn", True)


def test_settings_that_cannot_be_read_are_a_failure(orin: Machine) -> None:
    """The other checks use the defaults then."""
    orin.options["settings_error"] = "config.yaml: unknown setting `dta`"
    assert orin.check("settings").status is types.Status.FAIL


def test_sandbox_that_is_missing_is_a_note_with_the_package(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of trees run without one all the same."""
    monkeypatch.setenv("PATH", str(orin.data))
    found = orin.check("sandbox")
    assert (found.status.value, "`bwrap` is not installed" in found.finding) == ("note", True)
    assert "apt-get install bubblewrap" in found.remedy
    monkeypatch.setattr("jetson_containers.recipes.isolation.why_not", lambda: "")
    assert orin.check("sandbox").status is types.Status.OK


def test_package_trees_with_a_broken_recipe_are_a_warning(tmp_path: Path) -> None:
    """A directory of packages that is missing fails."""
    machine = Machine(tmp_path, "x86_64-debian12-cpu", {"JETSON_CONTAINERS_PACKAGE_DIRS": str(tmp_path / "none")})
    assert machine.check("package trees").status is types.Status.FAIL


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("{,}", "is not valid JSON"),
        ('{"default-runtime": "nvidia", }', "is not valid JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ('{"log-opts": []}', "`log-opts` must be an object"),
        ('{"runtimes": "nvidia"}', "`runtimes` must be an object"),
    ],
)
def test_broken_configuration_of_the_engine_is_found_without_an_engine(
    orin: Machine, configuration: str, said: str
) -> None:
    """An engine that does not start for it is not asked first."""
    orin.write("etc/docker/daemon.json", configuration)
    found = orin.check("engine settings")
    assert found.status is types.Status.FAIL
    assert said in found.finding
    assert found.remedy


@pytest.mark.parametrize("configuration", ["", "{}", '{"log-opts": null}', '{"dns": ["1.1.1.1"], "runtimes": null}'])
def test_configuration_that_the_engine_takes_is_fine(orin: Machine, configuration: str) -> None:
    """An empty file and members of null are as good as none."""
    orin.write("etc/docker/daemon.json", configuration)
    assert orin.check("engine settings").status is types.Status.OK
    assert orin.check("container logs").status is types.Status.NOTE


def test_engine_of_snap_is_a_warning_and_reads_its_own_configuration(orin: Machine) -> None:
    """What is in /etc/docker does not count for it."""
    snap = replace(CAPABILITIES, client="/snap/bin/docker", data_root="/var/snap/docker/common/var-lib-docker")
    assert orin.check("engine", snap).remedy.startswith("sudo snap remove docker")
    orin.write("etc/docker/daemon.json", json.dumps({"default-runtime": "nvidia"}))
    assert orin.check("default runtime", snap).status is types.Status.NOTE
    orin.write("var/snap/docker/current/config/daemon.json", json.dumps({"default-runtime": "nvidia"}))
    assert orin.check("default runtime", snap).status is types.Status.OK


def test_engine_without_root_needs_no_group(orin: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom an engine answers without sudo is not told to join a group."""
    monkeypatch.setattr("grp.getgrnam", lambda name: type("Group", (), {"gr_gid": -1}))
    orin.options["user"] = 4242
    assert orin.check("docker group", replace(CAPABILITIES, sudo=True)).fix == "docker-group"
    assert orin.check("docker group").status is types.Status.OK


@pytest.mark.parametrize("filesystem", ["fuseblk", "ntfs3", "exfat", "vfat"])
def test_file_systems_of_windows_hold_no_images(orin: Machine, filesystem: str) -> None:
    """Layers and caches need owners, rights and links."""
    mounts = f"{ROOT_ON_CARD}30 24 8:1 / /var/lib/docker rw shared:2 - {filesystem} /dev/sda1 rw\n"
    orin.write("proc/self/mountinfo", mounts)
    found = orin.check("engine medium")
    assert (found.status, found.fix) == (types.Status.WARN, "data-root")
    assert "owners, rights and links" in found.finding


def test_swap_on_an_sd_card_is_noted(orin: Machine) -> None:
    """As much as there is of it, it is slow there; on NVMe it is well."""
    orin.write("proc/swaps", "Filename Type Size Used Priority\n/swap\\040file file 16777212 0 -2\n")
    orin.write("proc/self/mountinfo", ROOT_ON_CARD)
    found = orin.check("swap")
    assert found.status is types.Status.NOTE
    assert found.remedy.startswith("sudo swapoff '/swap file'")
    orin.write("proc/self/mountinfo", ROOT_ON_CARD.replace("mmcblk0p1", "nvme0n1p1"))
    assert orin.check("swap").status is types.Status.OK


def test_data_on_a_disk_that_the_kernel_made_read_only_is_not_a_question_of_owners(orin: Machine) -> None:
    """`chown` does not help there."""
    orin.write("proc/self/mountinfo", ROOT_ON_CARD.replace("rw,noatime", "ro,noatime"))
    found = orin.check("data owner")
    assert found.status is types.Status.FAIL
    assert "read-only" in found.finding
    assert "chown" not in found.remedy


@pytest.mark.parametrize("address", ["http://[::1", "http://proxy.test:abc"])
def test_proxy_with_an_invalid_address_is_named(tmp_path: Path, address: str) -> None:
    """No exception stands in the place of a finding."""
    found = Machine(tmp_path, "sbsa-grace", {"https_proxy": address}).check("proxy")
    assert found.finding.startswith("the proxy has an invalid address")


def test_hub_without_a_scheme_is_named(tmp_path: Path) -> None:
    """It is not said to answer."""
    found = Machine(tmp_path, "sbsa-grace", {"HF_ENDPOINT": "hf-mirror.test"}).check("hub")
    assert (found.status, found.finding) == (types.Status.WARN, "hub of models: `hf-mirror.test` is not an address")


@pytest.mark.parametrize("host", sorted(path.name for path in HOSTS.iterdir() if (path / "etc").is_dir()))
def test_remedies_are_read_by_a_shell(tmp_path: Path, host: str) -> None:
    """Whatever is pasted is one line that a shell reads, or the commands in backticks are."""
    machine = Machine(tmp_path, host)
    machine.write("proc/self/mountinfo", ROOT_ON_CARD)
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 4000000 0 5\n")
    older = replace(
        CAPABILITIES, builder=Builder.LEGACY, api_version="1.40", storage_driver="vfs", server_version="28.1.1"
    )
    context = types.DoctorContext(
        platform=lambda: detect.detect(machine.root, {}, ""),
        engine=lambda: FakeEngine(older),
        settings=machine.settings,
        root=machine.root,
        **machine.options,
    )
    for check in run.run_checks(context):
        for text in re.findall(r"`([^`]+)`", check.remedy) or [check.remedy]:
            assert is_read_by_a_shell(text), check
