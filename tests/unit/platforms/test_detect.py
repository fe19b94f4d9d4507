"""Platforms: every captured machine, every release, every part of a target, and every way to be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from jetson_containers.core.errors import TargetError
from jetson_containers.images.name import platform_tag
from jetson_containers.platforms import tables
from jetson_containers.platforms.detect import detect, parse_target
from jetson_containers.platforms.host import read
from jetson_containers.platforms.overrides import rebase
from jetson_containers.platforms.platform import codename, comparable_ubuntu, default_base_image
from tests.unit.platforms.helpers import HOSTS, ORIN, PC, failure

GOOD = sorted(path.parent.name for path in HOSTS.glob("*/expected.json"))
BAD = sorted(path.parent.name for path in HOSTS.glob("bad/*/expected.json"))


def expected(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HOSTS / name / "expected.json").read_text(encoding="utf-8"))
    return data


def copy_of(host: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(host, tmp_path / "host"))


class TestCapturedHosts:
    def test_captured_hosts_are_all_there(self) -> None:
        """At least twenty good hosts and nine bad ones are there: without them the tests below would be skipped."""
        assert len(GOOD) >= 20
        assert len(BAD) >= 9

    @pytest.mark.parametrize("name", GOOD)
    def test_detect_reads_each_captured_host(self, name: str) -> None:
        """A machine is what its files say."""
        want, platform = expected(name), detect(HOSTS / name)
        assert platform.to_json() == want["platform"]
        assert default_base_image(platform) == want["base_image"]
        assert platform_tag(platform) == want["tag"]
        assert platform.origins["l4t"] == want["l4t_from"]
        assert dict(platform.host) == want["host"]
        assert len(platform.notices) == len(want["notices"])
        for words, notice in zip(want["notices"], platform.notices, strict=True):
            assert words in notice

    @pytest.mark.parametrize("name", GOOD)
    def test_detect_gives_the_origin_of_each_value(self, name: str) -> None:
        """Every value says where it came from."""
        platform = detect(HOSTS / name)
        missing = set(platform.to_json()) - set(platform.origins) - {"machine", "docker_platform"}
        assert not missing
        assert all(platform.origins.values())

    @pytest.mark.parametrize("name", BAD)
    def test_detect_gives_one_clear_error_for_each_bad_host(self, name: str) -> None:
        """A bad machine gives one clear error."""
        want = expected(f"bad/{name}")
        error = failure(root=HOSTS / "bad" / name)
        assert type(error).__name__ == want["error"]
        assert error.exit_code == 2
        assert error.hint is not None
        assert want["hint"] in error.hint
        for words in want["message"]:
            assert words in error.message
        assert "\n" not in error.message

    @pytest.mark.parametrize("name", ["orin-unknown-major-r40", "orin-older-than-table-r28"])
    def test_platform_of_an_unknown_major_refuses_what_would_be_a_guess(self, name: str) -> None:
        """A machine with an unknown major release is read, but nothing may be built or chosen for it."""
        platform = detect(HOSTS / name)
        with pytest.raises(TargetError, match="is not known") as caught:
            platform.require_known()
        assert caught.value.details == ("known: 32.x, 34.x, 35.x, 36.x, 38.x, 39.x",)
        assert caught.value.hint is not None
        assert f"--target r{tables.releases()[0].l4t}" in caught.value.hint
        assert detect(ORIN).require_known() == detect(ORIN)

    @pytest.mark.parametrize(
        ("text", "like", "hint"),
        [("36.1.0", "36.2.0", "r36.5"), ("38.0.0", "38.2.0", "r38.4"), ("34.0.0", "34.1.0", "r34.1.1")],
    )
    def test_platform_older_than_its_major_is_shown_and_refuses_to_be_built_for(
        self, text: str, like: str, hint: str
    ) -> None:
        """A release before the first of its major lists packages and runs images; nothing is built for a guess."""
        platform = parse_target(f"r{text}")
        assert str(platform.l4t) == text
        assert platform.cuda == parse_target(f"r{like}").cuda
        assert any(f"shown as for L4T {like}" in notice for notice in platform.notices)
        with pytest.raises(TargetError, match=f"L4T {text} is not known, and no older") as caught:
            platform.require_known()
        assert like in caught.value.details[0]
        assert hint in (caught.value.hint or "")

    def test_detect_with_a_full_target_does_not_read_the_host(self) -> None:
        """A target that names a machine does not need this one."""
        for name in BAD:
            assert detect(HOSTS / "bad" / name, {}, "r36.4.3") == parse_target("r36.4.3")

    def test_detect_reads_this_machine(self) -> None:
        """This machine can be read."""
        assert detect().machine in {"x86_64", "aarch64"}


class TestDetails:
    def test_detect_ignores_the_cuda_toolkit_of_the_host(self, tmp_path: Path) -> None:
        """The CUDA toolkit of the host decides nothing."""
        host = copy_of(ORIN, tmp_path)
        with_toolkit = detect(host)
        shutil.rmtree(host / "usr/local/cuda")
        without = detect(host)
        assert with_toolkit.host["cuda_toolkit"] == "12.8.61"
        assert "cuda_toolkit" not in without.host
        assert with_toolkit == without
        assert with_toolkit.cuda == Version("12.6")

    @pytest.mark.parametrize(
        ("text", "reported"),
        [("not json", None), ("[]", None), ("{}", None), ('{"cuda": {"version": "12.6.1"}}', "12.6.1")],
    )
    def test_detect_accepts_an_odd_version_json(self, tmp_path: Path, text: str, reported: str | None) -> None:
        """An odd version.json of CUDA does not fail."""
        host = copy_of(ORIN, tmp_path)
        (host / "usr/local/cuda/version.json").write_text(text, encoding="utf-8")
        assert detect(host).host.get("cuda_toolkit") == reported

    @pytest.mark.parametrize(
        ("running", "counts_as"),
        [
            ("36.4.1", "36.4.0"), ("36.4.9", "36.4.7"), ("36.6.0", "36.5.2"), ("35.4.9", "35.4.1"),
            ("35.4.0", "35.3.1"), ("32.7.9", "32.7.6"), ("32.5.9", "32.5.2"), ("38.9.0", "38.4.0"),
            ("39.2.4", "39.2.1"),
        ],
    )  # fmt: skip
    def test_detect_takes_an_unknown_point_release_as_the_nearest_lower_one(
        self, tmp_path: Path, running: str, counts_as: str
    ) -> None:
        """An unknown point release counts as the nearest lower one, with a notice."""
        host = copy_of(ORIN, tmp_path)
        major, _, revision = running.partition(".")
        text = f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n"
        (host / "etc/nv_tegra_release").write_text(text, encoding="utf-8")
        platform, row = detect(host), tables.release_for(Version(counts_as))
        assert row is not None
        assert platform.l4t == Version(running)
        assert (platform.jetpack, platform.cuda, platform.sm) == (row.jetpack, row.cuda, row.sm)
        assert any(running in notice and counts_as in notice for notice in platform.notices)

    @pytest.mark.parametrize("status", ["deinstall ok config-files", "purge ok not-installed"])
    def test_detect_ignores_a_removed_package(self, tmp_path: Path, status: str) -> None:
        """A package that was removed names no release."""
        host = copy_of(HOSTS / "agx-orin-64gb-r36.5.0", tmp_path)
        path = host / "var/lib/dpkg/status"
        path.write_text(path.read_text(encoding="utf-8").replace("install ok installed", status), encoding="utf-8")
        assert "nvidia-l4t-core is not installed" in failure(root=host).message

    def test_detect_finds_the_package_as_the_first_entry(self, tmp_path: Path) -> None:
        """The package is found also as the first entry."""
        (tmp_path / "var/lib/dpkg").mkdir(parents=True)
        entry = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-20250107174145\n"
        (tmp_path / "var/lib/dpkg/status").write_text(entry, encoding="utf-8")
        assert detect(tmp_path).l4t == Version("36.4.3")

    @pytest.mark.parametrize("line", ["# R35 (release), REVISION: 4.1b, GCID: 7", "# r35 (RELEASE), Revision: 4.1"])
    def test_detect_reads_a_release_file_with_a_patch_letter_or_in_another_case(
        self, tmp_path: Path, line: str
    ) -> None:
        """A patch letter is no release of its own, and the case of the words says nothing."""
        host = copy_of(HOSTS / "xavier-nx-8gb-r35.4.1", tmp_path)
        (host / "etc/nv_tegra_release").write_text(f"{line}\n", encoding="utf-8")
        assert detect(host) == detect(HOSTS / "xavier-nx-8gb-r35.4.1")

    @pytest.mark.parametrize(("major", "revision"), [("9" * 5000, "4.1"), ("35", "4." + "1" * 5000)])
    def test_detect_of_a_release_of_thousands_of_digits_is_an_error(
        self, tmp_path: Path, major: str, revision: str
    ) -> None:
        """Python reads no number of more than 4,300 digits, and no release has one of more than three."""
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/nv_tegra_release").write_text(f"# R{major} (release), REVISION: {revision}, GCID: 7\n")
        assert "is not an L4T release file" in failure(root=tmp_path).message
        (tmp_path / "etc/nv_tegra_release").unlink()
        (tmp_path / "var/lib/dpkg").mkdir(parents=True)
        entry = f"Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: {major}.{revision}-2025\n"
        (tmp_path / "var/lib/dpkg/status").write_text(entry)
        assert "which is not an L4T release" in failure(root=tmp_path).message

    def test_detect_of_a_tx1_by_the_names_of_its_kit(self, tmp_path: Path) -> None:
        """The device tree of a TX1 names kit and chip, and no module."""
        host = copy_of(HOSTS / "nano-4gb-r32.7.1", tmp_path)
        (host / "etc/nv_boot_control.conf").unlink()
        (host / "proc/device-tree/compatible").write_text("nvidia,p2371-2180\0nvidia,tegra210\0", encoding="utf-8")
        (host / "proc/device-tree/model").write_text("NVIDIA Jetson TX1 Developer Kit\0", encoding="utf-8")
        assert detect(host).board == "tx1"

    def test_detect_of_wsl_says_that_the_driver_is_that_of_windows(self, tmp_path: Path) -> None:
        """WSL has the driver's libraries and no file with its version; a PC with both has a driver of its own."""
        host = copy_of(PC, tmp_path)
        (host / "usr/lib/wsl/lib").mkdir(parents=True)
        (host / "usr/lib/wsl/lib/libcuda.so.1").touch()
        assert detect(host) == detect(PC)
        (host / "proc/driver/nvidia/version").unlink()
        platform = detect(host)
        assert platform.cuda is None
        (notice,) = platform.notices
        assert "this is WSL" in notice
        assert "`--target x86_64,cu128`" in notice

    @pytest.mark.parametrize("text", ["", " \n"])
    def test_detect_takes_the_package_where_the_release_file_is_empty(self, tmp_path: Path, text: str) -> None:
        """An empty release file says nothing, so the package does."""
        (tmp_path / "var/lib/dpkg").mkdir(parents=True)
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/nv_tegra_release").write_text(text, encoding="utf-8")
        entry = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 35.6.1-20250304150000\n"
        (tmp_path / "var/lib/dpkg/status").write_text(entry, encoding="utf-8")
        assert detect(tmp_path).l4t == Version("35.6.1")
        (tmp_path / "var/lib/dpkg/status").unlink()
        assert "is empty" in failure(root=tmp_path).message

    @pytest.mark.parametrize(
        ("gib", "board"),
        [(15.0, "agx-xavier-16gb"), (30.5, "agx-xavier-32gb"), (62.8, "agx-xavier-64gb"), (90, None)],
    )
    def test_detect_tells_modules_of_one_name_apart_by_memory(
        self, tmp_path: Path, gib: float, board: str | None
    ) -> None:
        """Memory tells modules of one name apart."""
        host = copy_of(HOSTS / "agx-xavier-32gb-r35.3.1", tmp_path)
        (host / "proc/meminfo").write_text(f"MemTotal:       {int(gib * 2**20)} kB\n", encoding="utf-8")
        assert detect(host).board == board

    @pytest.mark.parametrize("board", sorted(tables.boards()))
    def test_detect_recognizes_each_module_by_its_part_numbers(self, tmp_path: Path, board: str) -> None:
        """Every module is recognized by its part numbers."""
        host, row = copy_of(ORIN, tmp_path), tables.boards()[board]
        (host / "etc/nv_boot_control.conf").unlink()
        for module in row.modules:
            names = ["nvidia,p9999-0000+" + module, tables.socs()[row.soc]["compatible"]]
            (host / "proc/device-tree/compatible").write_text("\0".join(names) + "\0", encoding="utf-8")
            assert read(host).board == board
            assert read(host).soc == row.soc

    def test_detect_notes_an_unknown_module(self, tmp_path: Path) -> None:
        """An unknown module gets a notice."""
        host = copy_of(ORIN, tmp_path)
        (host / "etc/nv_boot_control.conf").unlink()
        (host / "proc/device-tree/compatible").write_text("vendor,x\0nvidia,tegra234\0", encoding="utf-8")
        (host / "proc/device-tree/model").write_text("Vendor X\0", encoding="utf-8")
        platform = detect(host)
        assert (platform.board, platform.soc) == (None, "t234")
        assert any("Vendor X" in notice for notice in platform.notices)

    def test_detect_notes_missing_memory(self, tmp_path: Path) -> None:
        """Missing memory gets a notice."""
        host = copy_of(ORIN, tmp_path)
        (host / "proc/meminfo").unlink()
        platform = detect(host)
        assert platform.memory is None
        assert any("/proc/meminfo" in notice for notice in platform.notices)

    @pytest.mark.parametrize(("name", "images_use"), [("orin-nx-16gb-r36.4.0", "22.04"), ("nano-4gb-r32.7.1", "20.04")])
    def test_detect_follows_an_upgraded_ubuntu_only_for_libraries_of_the_host(
        self, tmp_path: Path, name: str, images_use: str
    ) -> None:
        """An upgraded Ubuntu matters only where libraries come from the host."""
        host = copy_of(HOSTS / name, tmp_path)
        (host / "etc/os-release").write_text('ID=ubuntu\nVERSION_ID="20.04"\n', encoding="utf-8")
        platform = detect(host)
        assert platform.distro_version == images_use
        assert any("20.04" in notice for notice in platform.notices)

    @pytest.mark.parametrize(
        ("driver", "runs", "images_use"),
        [
            ("595.45.01", "13.2", "13.2"), ("999.1", "13.2", "13.2"), ("580.65.06", "13.0", "13.0"),
            ("565.57.01", "12.7", "12.6"), ("550.54.15", "12.4", "12.4"), ("470.256.02", "11.4", "11.4"),
            ("440.33.01", None, None),
        ],
    )  # fmt: skip
    def test_detect_takes_the_newest_cuda_the_driver_of_a_pc_runs(
        self, tmp_path: Path, driver: str, runs: str | None, images_use: str | None
    ) -> None:
        """A PC uses the newest CUDA that its driver runs."""
        host = copy_of(PC, tmp_path)
        text = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Fri Jan  1 00:00:00 UTC 2027\n"
        (host / "proc/driver/nvidia/version").write_text(text, encoding="utf-8")
        platform = detect(host)
        assert platform.to_json()["driver_cuda"] == runs
        assert platform.to_json()["cuda"] == images_use
        assert bool(platform.notices) is (images_use is None)


class TestBases:
    def test_rebase_on_debian_changes_distribution_and_python(self) -> None:
        """A Debian base changes distribution and Python."""
        platform = rebase(parse_target("cpu"), "debian", "12", "base image made here")
        assert (platform.distro, platform.distro_version, str(platform.python)) == ("debian", "12", "3.11")
        assert platform.origins["distro"] == "base image made here"
        assert platform_tag(platform) == "x86_64-cpu-debian12"
        assert default_base_image(platform) == "debian:12"

    def test_rebase_keeps_a_python_that_was_asked_for(self) -> None:
        """A Python that was asked for stays."""
        platform = rebase(parse_target("cpu,py3.10"), "debian", "12", "test")
        assert platform_tag(platform) == "x86_64-cp310-cpu-debian12"

    def test_rebase_refuses_an_unknown_distribution(self) -> None:
        """An unknown distribution is an error."""
        with pytest.raises(TargetError, match="`arch `"):
            rebase(parse_target("cpu"), "arch", "", "test")

    @pytest.mark.parametrize(
        ("distro", "version", "ubuntu", "name"),
        [
            ("debian", "12", "22.04", "bookworm"),
            ("debian", "13", "24.04", "trixie"),
            ("ubuntu", "20.04", "20.04", "focal"),
        ],
    )
    def test_comparable_ubuntu_of_debian(self, distro: str, version: str, ubuntu: str, name: str) -> None:
        """Debian compares to a release of Ubuntu."""
        platform = rebase(parse_target("cpu"), distro, version, "test")
        assert comparable_ubuntu(platform) == ubuntu
        assert codename(platform) == name

    @pytest.mark.parametrize(
        ("target", "image"),
        [
            ("r36.4.3", "ubuntu:22.04"),
            ("r38.4", "ubuntu:24.04"),
            ("r35.1.0", "nvcr.io/nvidia/l4t-jetpack:r35.1.0"),
            ("r35.6.5", "nvcr.io/nvidia/l4t-jetpack:r35.4.1"),
            ("r35.7.0", "nvcr.io/nvidia/l4t-jetpack:r35.4.1"),
            ("r34.1.0", "nvcr.io/nvidia/l4t-jetpack:r34.1"),
            ("r32.5.2", "nvcr.io/nvidia/l4t-base:r32.5.0"),
            ("r32.7.6", "nvcr.io/nvidia/l4t-base:r32.7.1"),
            ("r35.4.1,cpu", "ubuntu:20.04"),
            ("r35.4.1,cu122,ubuntu22.04", "ubuntu:22.04"),
            ("x86_64", "ubuntu:24.04"),
            ("sbsa,cpu", "ubuntu:24.04"),
        ],
    )
    def test_default_base_image_of_targets(self, target: str, image: str) -> None:
        """Each target has its base image."""
        assert default_base_image(parse_target(target)) == image


class TestWhatABuildDependsOn:
    def test_build_facts_are_shared_by_boards_of_one_release(self) -> None:
        """Boards of one release share images."""
        hosts = ("orin-nano-super-r36.4.3", "agx-orin-64gb-r35.4.1", "xavier-nx-8gb-r35.4.1")
        orin, agx, nx = (detect(HOSTS / name) for name in hosts)
        assert orin.build_facts() == parse_target("r36.4.3").build_facts()
        assert agx.build_facts() == nx.build_facts()

    def test_platform_json_holds_only_plain_values(self) -> None:
        """The JSON of a platform holds only plain values."""
        data = detect(ORIN).to_json()
        assert json.loads(json.dumps(data)) == data
