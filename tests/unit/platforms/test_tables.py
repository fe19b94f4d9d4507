"""The tables of releases, boards, chips and drivers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from packaging.version import Version

from jetson_containers.core.facts import load_facts
from jetson_containers.platforms import tables
from jetson_containers.platforms.detect import parse_target
from jetson_containers.platforms.platform import Arch


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
        assert len(rows) == 52
        assert {"35.6.3", "35.6.5", "36.5.2", "38.2.1", "39.2.0", "39.2.1"} <= set(rows)
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
        assert chosen == {Version("32.7.6"), Version("35.6.5"), Version("39.2.1")}
        assert parse_target("r39.1.0").l4t == Version("39.1.0")


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
        assert len(tables.boards()) == 27
        with_l4t = {soc for soc in tables.socs() if tables.soc_arch(soc) is None}
        assert {soc for row in tables.releases() for soc in row.socs} == with_l4t
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
        assert tables.default_cuda() in tables.toolkits()
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


@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("Orin Nano Super", "orin-nano-8gb"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "orin-nano-8gb"),
        ("jetson orin nano 4G", "orin-nano-4gb"),
        ("Jetson Nano 2GB Developer Kit", "nano-2gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "agx-orin-64gb"),
        ("Jetson AGX Orin 32GB Developer Kit", "agx-orin-devkit-32gb"),
        ("Jetson AGX Orin 32 GB", "agx-orin-32gb"),
        ("agxorin64gb", "agx-orin-64gb"),
        ("P3767-0001", "orin-nx-8gb"),
        ("Orin NX 8", "orin-nx-8gb"),
        ("Xavier AGX 16 GB", "agx-xavier-16gb"),
        ("64G Orin AGX Devkit", "agx-orin-64gb"),
        ("nano-orin_4gb", "orin-nano-4gb"),
        ("AGX Orin 32 dev kit", "agx-orin-devkit-32gb"),
        ("Nano 3", None),
        ("p3701", None),
        ("developer kit", None),
        ("jetson", None),
        ("", None),
        ("orin-nano-80gb", None),
    ],
)
def test_board_id_is_found_by_the_names_that_people_use(name: str, board: str | None) -> None:
    """The name of a kit, as shops and the device tree write it, means its board; half a name means none."""
    assert tables.board_id(name) == board


@pytest.mark.parametrize("board", tables.boards().values(), ids=lambda board: board.id)
def test_board_id_is_found_by_its_full_name_and_part_numbers(board: tables.Board) -> None:
    """What our own tables print for a board can be typed."""
    name = board.name.partition(" (")[0]
    assert {tables.board_id(text) for text in (board.id, name, f"NVIDIA {name}", *board.modules)} == {board.id}
