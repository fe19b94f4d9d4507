"""Platforms: every captured machine, every release, every part of a target, and every way to be wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from jetson_containers.core.errors import ConfigError, JetsonError, TargetError
from jetson_containers.core.facts import load_facts
from jetson_containers.images.name import platform_tag
from jetson_containers.platforms import tables
from jetson_containers.platforms.detect import detect, parse_target
from jetson_containers.platforms.host import read
from jetson_containers.platforms.overrides import rebase
from jetson_containers.platforms.platform import Arch, codename, comparable_ubuntu, default_base_image
from tests.paths import TESTS_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS = TESTS_DIR / "hosts"
GOOD = sorted(path.parent.name for path in HOSTS.glob("*/expected.json"))
BAD = sorted(path.parent.name for path in HOSTS.glob("bad/*/expected.json"))
ORIN = HOSTS / "orin-nx-16gb-r36.4.0"
PC = HOSTS / "x86_64-nvidia"
GRACE = HOSTS / "sbsa-grace"


def expected(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HOSTS / name / "expected.json").read_text(encoding="utf-8"))
    return data


def failure(target: str = "", env: Mapping[str, str] | None = None, root: Path = ORIN) -> JetsonError:
    with pytest.raises(JetsonError) as caught:
        detect(root, env, target)
    return caught.value


def copy_of(host: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(host, tmp_path / "host"))


class TestCapturedHosts:
    def test_captured_hosts_are_all_there(self) -> None:
        """At least twenty good hosts and ten bad ones are there: without them the tests below would be skipped."""
        assert len(GOOD) >= 20
        assert len(BAD) >= 10

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

    def test_detect_names_the_known_releases_for_an_unknown_major(self) -> None:
        """For an unknown major release the known ones are named."""
        assert failure(root=HOSTS / "bad/unknown-major-r40").details == ("known: 32.x, 34.x, 35.x, 36.x, 38.x, 39.x",)

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
            ("39.2.1", "39.2.0"), ("36.1.0", None),
        ],
    )  # fmt: skip
    def test_detect_takes_an_unknown_point_release_as_the_nearest_lower_one(
        self, tmp_path: Path, running: str, counts_as: str | None
    ) -> None:
        """An unknown point release counts as the nearest lower one, with a notice."""
        host = copy_of(ORIN, tmp_path)
        major, _, revision = running.partition(".")
        text = f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n"
        (host / "etc/nv_tegra_release").write_text(text, encoding="utf-8")
        if counts_as is None:  # below 36.1 there is only an early-access release
            assert f"L4T {running} is not known" in failure(root=host).message
            return
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


class TestReleases:
    @pytest.mark.parametrize("row", tables.releases(), ids=lambda row: str(row.l4t))
    def test_release_of_each_row_is_a_platform(self, row: tables.Release) -> None:
        """Every release is a platform."""
        platform = parse_target(f"r{row.l4t}")
        assert (platform.l4t, platform.jetpack) == (row.l4t, row.jetpack)
        assert platform.arch is (Arch.SBSA if row.l4t.major >= 38 else Arch.TEGRA)
        assert (platform.cuda, platform.driver_cuda) == (row.cuda, row.cuda)
        assert platform.notices == ()
        python = {"18.04": "3.6", "20.04": "3.8", "22.04": "3.10", "24.04": "3.12"}
        assert str(platform.python) == python[platform.distro_version]

    def test_releases_include_those_upstream_lacks_or_has_wrong(self) -> None:
        """The table has what upstream's lacks or has wrong."""
        rows = {str(row.l4t): row for row in tables.releases()}
        assert len(rows) == 51
        assert {"35.6.3", "35.6.5", "36.5.2", "38.2.1", "39.2.0"} <= set(rows)
        assert (rows["36.5.0"].jetpack, rows["36.4.2"].jetpack) == ("6.2.2", "6.1 (rev 1)")
        assert (str(rows["36.3.0"].cuda), rows["36.3.0"].tensorrt) == ("12.2", "8.6.2.3")
        assert (rows["39.2.0"].jetpack, rows["39.1.0"].jetpack) == ("7.2", None)
        assert {rows[l4t].sm for l4t in rows if l4t.startswith("38.")} == {(110,)}
        assert {rows[l4t].sm for l4t in rows if l4t.startswith("39.")} == {(87, 110)}
        assert {str(rows[l4t].cuda) for l4t in rows if l4t.startswith("35.")} == {"11.4"}
        assert rows["35.6.4"].tensorrt == "8.5.2.2"

    def test_releases_are_complete_and_spelled_right(self) -> None:
        """Every row is complete and spelled right."""
        keys = {"jetpack", "cuda", "driver_cuda", "cudnn", "tensorrt", "vpi", "base", "driver", "status", "date"}
        table = load_facts("l4t")
        for l4t, row in table["releases"].items():
            assert set(row) <= keys | {"arch", "ubuntu", "socs", "image"}, l4t
            assert re.fullmatch(r"\d+\.\d+\.\d+", l4t)
            assert row.get("status", "released") in {"released", "early-access", "pre-release", "unconfirmed"}
            assert l4t.split(".")[0] in table["families"]
        assert all(row.jetpack for row in tables.releases() if row.status == "released")

    def test_release_is_added_by_one_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Adding a release is one row."""
        table = load_facts("l4t")
        grown = {**table, "releases": {"36.9.0": {"jetpack": "6.9", "cuda": "12.9.1"}, **table["releases"]}}
        real = load_facts
        monkeypatch.setattr(tables, "load_facts", lambda name: grown if name == "l4t" else real(name))
        tables.releases.cache_clear()
        try:
            platform = parse_target("jp6.9")
        finally:
            tables.releases.cache_clear()
            tables.release_for.cache_clear()
        assert (str(platform.l4t), str(platform.cuda), platform.distro_version, platform.sm) == (
            "36.9.0", "12.9", "22.04", (87,),
        )  # fmt: skip

    def test_release_never_general_is_chosen_only_by_name(self) -> None:
        """A release that was never generally available is chosen only by name."""
        assert tables.newest(lambda row: row.l4t.major == 38) == tables.release_for(Version("38.4.0"))
        chosen = {parse_target(board).l4t for board in tables.boards() if tables.boards()[board].l4t}
        assert chosen == {Version("32.7.6"), Version("35.6.5"), Version("39.2.0")}
        assert parse_target("r39.1.0").l4t == Version("39.1.0")


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "tag", "sm"),
        [
            ("r36.4.3", "r36.4-cu126-22.04", (87,)),
            ("R36.4.3", "r36.4-cu126-22.04", (87,)),
            ("r36.4", "r36.4-cu126-22.04", (87,)),
            ("r35.4", "r35.4-cu114-20.04", (72, 87)),
            ("r36", "r36.5-cu126-22.04", (87,)),
            ("jp6.2", "r36.4-cu126-22.04", (87,)),
            ("jp6.0", "r36.3-cu122-22.04", (87,)),
            ("jp6.0dp", "r36.2-cu122-22.04", (87,)),
            ("jp4", "r32.7-cu102-18.04", (53, 62, 72)),
            ("jp5.0", "r35.1-cu114-20.04", (72, 87)),
            ("jetpack7.2", "r39.2-cu132-24.04", (87, 110)),
            ("orin-nx-16gb", "r39.2-cu132-24.04", (87, 110)),
            ("jetson-orin-nx-16gb", "r39.2-cu132-24.04", (87, 110)),
            ("xavier-nx-8gb", "r35.6-cu114-20.04", (72, 87)),
            ("nano", "r32.7-cu102-18.04", (53, 62, 72)),
            ("xavier-nx-8gb,jp4", "r32.7-cu102-18.04", (53, 62, 72)),
            ("agx-thor,jp7.0", "r38.2-cu130-24.04", (110,)),
            ("igx-orin,r36.4.3", "r36.4-cu126-22.04", (87,)),
            ("tegra,r36.4.3", "r36.4-cu126-22.04", (87,)),
            ("aarch64,r36.4.3", "r36.4-cu126-22.04", (87,)),
            ("sbsa,r38.4", "r38.4-cu130-24.04", (110,)),
            ("x86_64", "x86_64-cu132-24.04", (80, 90, 100, 103, 110, 120, 121)),
            ("amd64,cu128", "x86_64-cu128-24.04", (80, 90, 100, 120)),
            ("x86_64-cu129", "x86_64-cu129-24.04", (80, 90, 100, 120)),
            ("sbsa", "sbsa-cu132-24.04", (87, 90, 100, 103, 110, 120, 121)),
            ("arm64,cu128", "sbsa-cu128-24.04", (87, 90, 100, 120)),
            ("cpu", "x86_64-cpu-24.04", ()),
            ("aarch64,cpu", "sbsa-cpu-24.04", ()),
            ("r36.4.3,cpu", "r36.4-cpu-22.04", ()),
            ("r36.4.3,cu128,ubuntu24.04", "r36.4-cu128-24.04", (87,)),
            ("r36.4.3,py3.12", "r36.4-cp312-cu126-22.04", (87,)),
            ("r36.4.3,py3.10", "r36.4-cu126-22.04", (87,)),
            ("r36.4.3,debian12", "r36.4-cu126-debian12", (87,)),
            ("r39.2,sm87", "r39.2-cu132-24.04", (87,)),
            ("x86_64,sm120,sm90", "x86_64-cu132-24.04", (90, 120)),
            ("r35.4.1,cu122,ubuntu22.04", "r35.4-cu122-22.04", (72, 87)),
        ],
    )
    def test_parse_target_reads_each_part(self, target: str, tag: str, sm: tuple[int, ...]) -> None:
        """The parts of a target give a platform."""
        platform = parse_target(target)
        assert platform_tag(platform) == tag
        assert platform.sm == sm

    @pytest.mark.parametrize(
        "target",
        ["r36.4.3,cu128,ubuntu24.04,py3.12", "orin-nx-16gb,r36.4.3,cpu", "sbsa,cu130", "xavier-nx-8gb,jp5.1.2"],
    )
    def test_parse_target_accepts_any_order_of_parts(self, target: str) -> None:
        """The order of parts does not matter."""
        parts = target.split(",")
        assert parse_target(",".join(reversed(parts))) == parse_target(target)
        assert parse_target("-".join(parts)) == parse_target(target)
        assert parse_target(" ".join(parts)) == parse_target(target)

    @pytest.mark.parametrize(
        ("target", "same_as"),
        [
            ("Jetson Orin Nano 8GB", "orin-nano-8gb"),
            ("NVIDIA Jetson AGX Orin 64 GB", "agx-orin-64gb"),
            ("AGX_Orin_64GB", "agx-orin-64gb"),
            ("Jetson Orin NX 16GB r36.4.3", "orin-nx-16gb,r36.4.3"),
            ("Jetson Orin NX 16GB, JetPack 6.2", "orin-nx-16gb,jp6.2"),
            ("JetPack 6.2", "jp6.2"),
            ("jp62", "jp6.2"),
            ("36.4", "r36.4"),
            ("36.4.3 cu128", "r36.4.3,cu128"),
        ],
    )
    def test_parse_target_accepts_what_people_call_it(self, target: str, same_as: str) -> None:
        """Case, blanks, underscores and the maker's name make no difference."""
        assert parse_target(target) == parse_target(same_as)

    @pytest.mark.parametrize(
        ("tag", "same_as"),
        [
            ("r36.4.tegra-aarch64-cu126-22.04", "r36.4.0"),
            ("r38.4.arm64-sbsa-cu130-24.04", "r38.4.0"),
            ("amd64.x86_64-cu132-24.04", "x86_64"),
            ("r36.4.3-cu128-cp312-24.04", "r36.4.3,cu128,ubuntu24.04"),
            ("x86_64-cpu-24.04", "cpu"),
        ],
    )
    def test_parse_target_accepts_the_platform_of_an_image_tag(self, tag: str, same_as: str) -> None:
        """The platform of an image tag is a target."""
        assert parse_target(tag) == parse_target(same_as)

    @pytest.mark.parametrize("board", sorted(tables.board_ids()))
    def test_parse_target_accepts_each_board(self, board: str) -> None:
        """Every board is a target."""
        row = tables.boards()[tables.board_ids()[board]]
        platform = parse_target(board if row.l4t else f"{board},r36.4.3")
        assert (platform.board, platform.soc) == (row.id, row.soc)
        assert platform.memory is not None
        assert 0.8 * (row.memory << 30) < platform.memory <= row.memory << 30
        assert tables.soc_sm(row.soc) in platform.sm

    @pytest.mark.parametrize(
        ("target", "both", "because"),
        [
            ("r36.4.3,x86_64", ("`x86_64`", "`r36.4.3`"), "tegra user space"),
            ("x86_64,orin-nx-16gb", ("`x86_64`", "`orin-nx-16gb`"), "user space"),
            ("r36.4.3,sbsa", ("`sbsa`", "`r36.4.3`"), "tegra user space"),
            ("r38.4,tegra", ("`tegra`", "`r38.4`"), "sbsa user space"),
            ("r36.4.3,cu130", ("`cu130`", "`r36.4.3`"), "12.9"),
            ("r36.3.0,cu123", ("`cu123`", "`r36.3.0`"), "12.2, 12.4"),
            ("nano,cu118", ("`cu118`", "`nano`"), "10.2"),
            ("jp5,cu124", ("`cu124`", "`jp5`"), "12.2"),
            ("thor,cu128", ("`cu128`", "`thor`"), "13.0"),
            ("r38.4,cu132", ("`cu132`", "`r38.4`"), "13.0"),
            ("xavier-nx-8gb,r36.4.3", ("`xavier-nx-8gb`", "`r36.4.3`"), "does not run L4T 36.4.3"),
            ("orin-nx-16gb,r38.4", ("`orin-nx-16gb`", "`r38.4`"), "does not run"),
            ("xavier-nx-8gb,jp6", ("`xavier-nx-8gb`", "`jp6`"), "no release"),
            ("nano,jp6.2", ("`nano`", "`jp6.2`"), "no release"),
            ("r36.4.3,jp6.1", ("`r36.4.3`", "`jp6.1`"), "JetPack 6.2"),
            ("r36.4.3,r35.4.1", ("`r36.4.3`", "`r35.4.1`"), "two different"),
            ("cu126,cu128,r36.4.3", ("`cu126`", "`cu128`"), "two different"),
            ("cpu,cu128", ("`cpu`", "`cu128`"), "two different"),
            ("x86_64,sbsa", ("`x86_64`", "`sbsa`"), "two different"),
            ("x86_64,aarch64", ("`x86_64`", "`aarch64`"), "two different"),
            ("nano,tx2", ("`nano`", "`tx2`"), "two different"),
            ("x86_64,ubuntu22.04,debian12", ("`ubuntu22.04`", "`debian12`"), "two different"),
        ],
    )
    def test_parse_target_names_both_parts_of_a_contradiction(
        self, target: str, both: tuple[str, str], because: str
    ) -> None:
        """Contradictions name both parts and say why."""
        error = failure(target)
        assert isinstance(error, TargetError)
        for name in (*both, because):
            assert name in error.message

    def test_parse_target_names_the_release_that_has_the_cuda(self) -> None:
        """For a CUDA of another release of the board, that release is named."""
        assert "r36.4" in (failure("orin-nx-16gb,cu128").hint or "")
        assert " r3" not in (failure("xavier-nx-8gb,cu128").hint or "")  # no release of that board runs it

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            ("r40", "L4T 40 is not known"),
            ("r28.1", "L4T 28.1 is not known"),
            ("r38.0", "L4T 38.0 is not known"),
            ("jp6.9", "no such JetPack"),
            ("x86_64,cu999", "no such CUDA"),
            ("x86_64,cu127", "no such CUDA"),
            ("ubuntu25.99", "not a known distribution"),
            ("debian99", "not a known distribution"),
            ("orin-nano-8g", "did you mean `orin-nano-8gb`?"),
            ("blah", "unknown target component `blah`"),
            ("r36.4.3,blah", "`blah`"),
            ("cpu,sm87", "has no CUDA"),
            ("r36.4.3,sm110", "no chip of L4T 36.4.3"),
            ("x86_64,cu124,sm120", "needs CUDA 12.8"),
            ("r36.4.3,sm99", "no GPU has compute capability 9.9"),
            ("igx-orin", "L4T releases of its own"),
        ],
    )
    def test_parse_target_rejects_unknown_parts(self, target: str, words: str) -> None:
        """Unknown parts are an error."""
        with pytest.raises(TargetError) as caught:
            parse_target(target)
        assert words in caught.value.message
        assert caught.value.hint or caught.value.details

    def test_detect_takes_tegra_alone_as_this_jetson(self) -> None:
        """`tegra` alone means the Jetson it runs on."""
        assert detect(ORIN, {}, "tegra") == detect(ORIN)
        assert "names no L4T release" in failure("tegra", root=PC).message
        assert "names no L4T release" in failure("tegra", root=HOSTS / "agx-thor-r38.4.0").message

    def test_detect_gives_the_same_named_machine_on_each_host(self) -> None:
        """A named machine is the same everywhere."""
        for target in ("r36.4.3", "x86_64", "sbsa", "orin-nano-8gb"):
            assert {detect(host, {}, target) for host in (ORIN, PC, GRACE)} == {parse_target(target)}

    def test_detect_changes_this_machine_by_other_parts(self) -> None:
        """Other parts change the machine it runs on."""
        host = detect(ORIN)
        changed = detect(ORIN, {}, "cu128,ubuntu24.04")
        assert (str(changed.cuda), changed.distro_version, str(changed.python)) == ("12.8", "24.04", "3.12")
        assert (changed.l4t, changed.board, changed.memory) == (host.l4t, host.board, host.memory)
        assert changed.origins["cuda"] == "--target cu128"

    @pytest.mark.parametrize(
        ("root", "tag"), [(ORIN, "r36.4-cpu-22.04"), (PC, "x86_64-cpu-24.04"), (GRACE, "sbsa-cpu-24.04")]
    )
    def test_detect_takes_cpu_as_this_machine_without_its_gpu(self, root: Path, tag: str) -> None:
        """`cpu` is this machine without its GPU."""
        platform = detect(root, {}, "cpu")
        assert platform_tag(platform) == tag
        assert (platform.cuda, platform.driver_cuda, platform.sm) == (None, None, ())
        assert not platform.has_gpu

    def test_detect_notes_a_cuda_above_the_driver_of_a_pc(self) -> None:
        """A CUDA above the driver of a PC is built, with a notice."""
        platform = detect(PC, {}, "cu130")
        assert str(platform.cuda) == "13.0"
        assert any("12.8" in notice for notice in platform.notices)

    def test_parse_target_notes_a_guessed_release(self) -> None:
        """A guessed release gets a notice."""
        assert "35.4.1" in parse_target("r35.4").notices[0]
        assert "36.5.2" in parse_target("r36").notices[0]
        assert "36.4.7" in parse_target("r36.4.9").notices[0]


class TestEnvironment:
    @pytest.mark.parametrize(
        ("env", "tag"),
        [
            ({"L4T_VERSION": "35.4.1"}, "r35.4-cu114-20.04"),
            ({"L4T_VERSION": "R36.3.0"}, "r36.3-cu122-22.04"),
            ({"L4T_VERSION": "36.4.3", "CUDA_VERSION": "12.8"}, "r36.4-cu128-22.04"),
            ({"CUDA_VERSION": "12.8.1"}, "r36.4-cu128-22.04"),
            ({"CUDA_VERSION": "128"}, "r36.4-cu128-22.04"),
            ({"LSB_RELEASE": "24.04"}, "r36.4-cu126-24.04"),
            ({"LSB_RELEASE": "24.04", "PYTHON_VERSION": "3.11"}, "r36.4-cp311-cu126-24.04"),
            ({"PYTHON_VERSION": "3.12.4"}, "r36.4-cp312-cu126-22.04"),
            ({"JETPACK_VERSION": "5.1.2"}, "r35.4-cu114-20.04"),
            ({"JETPACK_VERSION": "6.1"}, "r36.4-cu126-22.04"),
            ({"SYSTEM_ARCH": "x86_64"}, "x86_64-cu132-24.04"),
            ({"SYSTEM_ARCH": "x86_64", "CUDA_VERSION": "12.8"}, "x86_64-cu128-24.04"),
            ({"CUDA_ARCH": "sbsa"}, "sbsa-cu132-24.04"),
            ({"CUDA_ARCH": "tegra-aarch64", "L4T_VERSION": "36.3.0", "SYSTEM_ARCH": "aarch64"}, "r36.3-cu122-22.04"),
            ({"L4T_VERSION": "", "CUDA_VERSION": ""}, "r36.4-cu126-22.04"),
        ],
    )
    def test_environment_variables_of_upstream_mean_what_they_meant(self, env: dict[str, str], tag: str) -> None:
        """Upstream's variables mean what they meant."""
        assert platform_tag(detect(ORIN, env)) == tag

    @pytest.mark.parametrize(
        "env",
        [
            {"L4T_VERSION": "36.4.0"}, {"SYSTEM_ARCH": "aarch64"}, {"SYSTEM_ARCH": "tegra-aarch64"},
            {"CUDA_ARCH": "tegra-aarch64", "L4T_VERSION": "r36.4"}, {"JETPACK_VERSION": "6.1"},
        ],
    )  # fmt: skip
    def test_environment_variables_that_repeat_the_host_change_nothing(self, env: dict[str, str]) -> None:
        """Variables that repeat the host change nothing."""
        assert detect(ORIN, env) == detect(ORIN)

    def test_environment_variables_name_a_machine_where_the_host_cannot_be_read(self) -> None:
        """Variables name a machine where this one cannot be read."""
        platform = detect(HOSTS / "bad/garbage-release", {"L4T_VERSION": "36.4.3"})
        assert platform == parse_target("r36.4.3")
        assert any("nv_tegra_release" in notice for notice in platform.notices)
        assert platform.origins["l4t"] == "$L4T_VERSION 36.4.3"

    @pytest.mark.parametrize(
        "env",
        [
            {"L4T_VERSION": "banana"}, {"CUDA_VERSION": "0.0"}, {"CUDA_VERSION": "twelve"}, {"PYTHON_VERSION": "2.7"},
            {"PYTHON_VERSION": "3.13t"}, {"PYTHON_VERSION": "3.13-nogil"}, {"LSB_RELEASE": "jammy"},
            {"CUDA_ARCH": "sparc"}, {"SYSTEM_ARCH": "i386"}, {"JETPACK_VERSION": "-"},
        ],
    )  # fmt: skip
    def test_environment_variable_with_an_impossible_value_is_named(self, env: dict[str, str]) -> None:
        """A value that cannot be right names its variable."""
        error = failure(env=env)
        assert isinstance(error, ConfigError)
        assert f"${next(iter(env))}" in error.message
        assert error.hint

    @pytest.mark.parametrize(
        ("env", "both"),
        [
            ({"L4T_VERSION": "36.4.3", "SYSTEM_ARCH": "x86_64"}, ("$L4T_VERSION", "$SYSTEM_ARCH")),
            ({"L4T_VERSION": "36.4.3", "CUDA_VERSION": "13.0"}, ("$L4T_VERSION", "$CUDA_VERSION")),
            ({"L4T_VERSION": "36.4.3", "JETPACK_VERSION": "5.1"}, ("$L4T_VERSION", "$JETPACK_VERSION")),
            ({"CUDA_ARCH": "sbsa", "SYSTEM_ARCH": "x86_64"}, ("$CUDA_ARCH", "$SYSTEM_ARCH")),
        ],
    )
    def test_environment_variables_that_contradict_are_both_named(
        self, env: dict[str, str], both: tuple[str, str]
    ) -> None:
        """Variables that contradict each other are both named."""
        error = failure(env=env)
        assert isinstance(error, ConfigError)
        assert all(name in error.message for name in both)

    def test_target_overrides_environment_variables_that_name_a_machine(self) -> None:
        """A target overrides the variables that name a machine."""
        env = {"L4T_VERSION": "35.4.1", "SYSTEM_ARCH": "aarch64", "JETPACK_VERSION": "5.1.2"}
        assert detect(ORIN, env, "x86_64") == parse_target("x86_64")

    def test_target_and_a_contradicting_variable_are_both_named(self) -> None:
        """A target and a variable that contradict each other are both named."""
        error = failure("r35.4.1", {"CUDA_VERSION": "12.8"})
        assert "$CUDA_VERSION" in error.message
        assert "--target" in error.message


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


class TestTables:
    def test_tables_hold_text_so_that_no_version_becomes_a_number(self) -> None:
        """Scalars are text, so that no version becomes a number."""

        def scalars(node: Any) -> list[Any]:
            if isinstance(node, dict):
                return [item for pair in node.items() for value in pair for item in scalars(value)]
            return [item for value in node for item in scalars(value)] if isinstance(node, list) else [node]

        for name in ("l4t", "boards", "cuda", "compat", "distros"):
            assert {type(value) for value in scalars(load_facts(name))} == {str}

    def test_tables_know_each_chip_of_releases_and_boards(self) -> None:
        """Every chip of every release and board is known."""
        assert len(tables.boards()) == 25
        assert {soc for row in tables.releases() for soc in row.socs} == set(tables.socs())
        assert {board.soc for board in tables.boards().values()} == set(tables.socs())
        for soc in tables.socs():
            assert tables.gpu_name(tables.soc_sm(soc))

    def test_tables_have_unique_part_numbers_and_spellings(self) -> None:
        """Part numbers and spellings are unique."""
        modules = [module for board in tables.boards().values() for module in board.modules]
        names = [name for board in tables.boards().values() for name in (board.id, *board.also)]
        assert len(modules) == len(set(modules))
        assert len(names) == len(set(names))

    def test_tables_of_drivers_and_toolkits_ascend(self) -> None:
        """The tables of drivers and toolkits ascend."""
        drivers = load_facts("cuda")["drivers"]
        assert [int(branch) for branch in drivers] == sorted(int(branch) for branch in drivers)
        assert [Version(cuda) for cuda in drivers.values()] == sorted(Version(cuda) for cuda in drivers.values())
        assert list(tables.toolkits()) == sorted(tables.toolkits())
        assert tables.default_cuda() == max(tables.toolkits())
        assert tables.oldest_driver(Version("12.8")) == 570
        assert tables.oldest_driver(Version("99.0")) is None

    def test_platforms_import_reads_no_table_and_no_yaml(self) -> None:
        """Importing reads no table and no YAML."""
        code = (
            "import sys; "
            "from jetson_containers.core import facts; from jetson_containers.platforms import detect; "
            "from jetson_containers.images import compat, name;"
            "assert 'yaml' not in sys.modules and facts.load_facts.cache_info().currsize == 0;"
            "bad = {'docker', 'jinja2', 'huggingface_hub', 'rich', 'resolvelib', 'click'} & set(sys.modules);"
            "assert not bad, bad"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
