"""The grammar of targets: parts, contradictions, boards, and changes of the machine the tests run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import TargetError
from jetson_containers.images.name import platform_tag
from jetson_containers.platforms import tables
from jetson_containers.platforms.detect import detect, parse_target
from tests.unit.platforms.helpers import HOSTS, ORIN, PC, failure

if TYPE_CHECKING:
    from pathlib import Path


GRACE = HOSTS / "sbsa-grace"


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "tag", "sm"),
        [
            ("r36.4.3", "r36.4-cu126-22.04", (87,)),
            ("R36.4.3", "r36.4-cu126-22.04", (87,)),
            ("r36.4", "r36.4-cu126-22.04", (87,)),
            ("L4T 36.4.3", "r36.4-cu126-22.04", (87,)),
            ("l4t35.4.1", "r35.4-cu114-20.04", (72, 87)),
            ("L4T R36.3", "r36.3-cu122-22.04", (87,)),
            ("JetPack 6.2, CUDA 12.8", "r36.4-cu128-22.04", (87,)),
            ("r36.4.3 cuda-12.8 Ubuntu 24.04", "r36.4-cu128-24.04", (87,)),
            ("r36.4.3,Python 3.12", "r36.4-cp312-cu126-22.04", (87,)),
            ("x86_64,Debian 12,cpu", "x86_64-cpu-debian12", ()),
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
        ("target", "same_as"),
        [
            ("Jetson Orin Nano 8GB", "orin-nano-8gb"),
            ("NVIDIA Jetson AGX Orin 64 GB", "agx-orin-64gb"),
            ("AGX_Orin_64GB", "agx-orin-64gb"),
            ("Jetson Orin NX 16GB r36.4.3", "orin-nx-16gb,r36.4.3"),
            ("Jetson Orin NX 16GB, JetPack 6.2", "orin-nx-16gb,jp6.2"),
            ("JetPack 6.2", "jp6.2"),
            ("jp62", "jp6.2"),
            ("JetPack-513", "jp5.1.3"),
            ("r3541", "r35.4.1"),
            ("R363,cu122", "r36.3,cu122"),
            ("36.4", "r36.4"),
            ("36.4.3 cu128", "r36.4.3,cu128"),
            ("jetpack_6.1", "jp6.1"),
            ("L4T 36.4.4", "r36.4.4"),
            ("l4t36.4.4", "r36.4.4"),
            ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "r35.4.1"),
            ("linux/arm64", "aarch64"),
            ("linux/arm64/v8,cuda-12.8", "aarch64,cu128"),
            ("r36.4.3,noble", "r36.4.3,ubuntu24.04"),
            ("r36.4.3 Ubuntu 24.04.1 LTS", "r36.4.3,ubuntu24.04"),
            ("sbsa,trixie", "sbsa,debian13"),
            ("sbsa,ubuntu2204,python-3.12,sm-90", "sbsa,ubuntu22.04,py3.12,sm90"),
        ],
    )
    def test_parse_target_accepts_what_people_call_it(self, target: str, same_as: str) -> None:
        """Case, blanks, underscores and the maker's name make no difference."""
        assert parse_target(target) == parse_target(same_as)

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
        release = "" if row.l4t or tables.soc_arch(row.soc) else f",{'r38.4' if row.soc == 't264' else 'r36.4.3'}"
        platform = parse_target(f"{board}{release}")
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
            ("r38.4,cu133", ("`cu133`", "`r38.4`"), "13.0, 13.1, 13.2"),
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
            ("r6.2", "is JetPack 6.2 meant?"),
            ("L4T 5", "is JetPack 5 meant?"),
            ("jp6.9", "no such JetPack"),
            ("x86_64,cu999", "no such CUDA"),
            ("x86_64,cu127", "no such CUDA"),
            ("ubuntu25.99", "not a known distribution"),
            ("debian99", "not a known distribution"),
            ("orin-nono-8gb", "did you mean `orin-nano-8gb`?"),
            ("blah", "unknown target component `blah`"),
            ("5.1.2", "is JetPack meant, `jp5.1.2`?"),
            ("r36.4.3,blah", "`blah`"),
            ("cpu,sm87", "has no CUDA"),
            ("r36.4.3,sm110", "no chip of L4T 36.4.3"),
            ("x86_64,cu124,sm120", "needs CUDA 12.8"),
            ("r36.4.3,sm99", "no GPU has compute capability 9.9"),
            ("igx-orin", "L4T releases of its own"),
            ("gb10,r39.2", "runs without L4T"),
            ("gb10,x86_64", "runs the sbsa user space"),
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

    @pytest.mark.parametrize(
        ("text", "noted"),
        [("r38.4,cu131", True), ("agx-thor,r38.2.1,cu132", True), ("r39.2,cu131", False), ("r36.4.3,cu128", False)],
    )
    def test_parse_target_notes_a_cuda_that_only_minor_versions_allow(self, text: str, noted: bool) -> None:
        """JetPack 7 runs newer minor versions of CUDA 13, and it is said what they cannot do there."""
        platform = parse_target(text)
        assert any("no PTX" in notice for notice in platform.notices) == noted
        assert str(platform.cuda).replace(".", "") in text

    @pytest.mark.parametrize(
        ("text", "jetpack", "l4t"),
        [
            ("jp7.2.1", "7.2.1", "39.2.1"), ("jp7.2.6", "7.2.1", "39.2.1"), ("jp6.2.7", "6.2.3", "36.5.2"),
            ("jp5.1.9", "5.1.7", "35.6.5"), ("jp4.6.8", "4.6.6", "32.7.6"),
        ],
    )  # fmt: skip
    def test_parse_target_takes_an_unknown_jetpack_as_the_nearest_lower_one(
        self, text: str, jetpack: str, l4t: str
    ) -> None:
        """A JetPack that no table has is the nearest lower of its major.minor, with a notice."""
        platform = parse_target(text)
        assert (platform.jetpack, str(platform.l4t)) == (jetpack, l4t)
        assert any("nearest lower" in notice for notice in platform.notices) == (text != f"jp{jetpack}")

    def test_parse_target_notes_a_guessed_release(self) -> None:
        """A guessed release gets a notice."""
        assert "35.4.1" in parse_target("r35.4").notices[0]
        assert "36.5.2" in parse_target("r36").notices[0]
        assert "36.4.7" in parse_target("r36.4.9").notices[0]

    def test_parse_target_notes_the_release_of_a_board_that_runs_others(self) -> None:
        """A board alone means its newest release, which is said where images of another would not run on it."""
        (notice,) = parse_target("orin-nx-16gb").notices
        assert notice.startswith("`orin-nx-16gb` is taken with JetPack 7")
        again = notice.rpartition("--target ")[2].rstrip("`")
        assert again.startswith("orin-nx-16gb,r36.")
        assert not parse_target(again).notices
        assert not parse_target("nano-4gb").notices  # has one family of releases
