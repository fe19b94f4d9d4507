"""From a resolution to stages with content keys."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.builder import graph
from jetson_containers.core.errors import CycleError, LayerBudgetError, RecipeError, UnavailablePackageError, UsageError
from jetson_containers.images import labels
from jetson_containers.plan import keys
from jetson_containers.plan.final_name import final_name
from jetson_containers.plan.plan import (
    MAX_LAYERS,
    BuildPlan,
    PlanOptions,
    StageKind,
    StageState,
    check_build_args,
    check_layers,
    describe,
    make,
    multiple_json,
    stage_image,
    totals,
)
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.recipes.package import Artifacts, Package
from jetson_containers.resolver.solve import Resolution
from tests.paths import UNIT_DIR
from tests.unit import treemaker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GOLDEN = UNIT_DIR / "golden" / "plan"
ORIN = Platform(
    arch=Arch.TEGRA,
    l4t=Version("36.4.0"),
    jetpack="6.1",
    cuda=Version("12.6"),
    driver_cuda=Version("12.6"),
    python=Version("3.10"),
    distro="ubuntu",
    distro_version="22.04",
    sm=(87,),
    board="orin-nx-16gb",
    memory=16 << 30,
)
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
INSTALLS = "ARG ARTIFACT_IMAGE\nARG BASE_IMAGE\nFROM ${ARTIFACT_IMAGE} AS artifact\nFROM ${BASE_IMAGE}\n"
INSTALLS += "COPY --from=artifact /artifacts/ /\n"


class Tree:
    """A package tree on disk, and resolutions over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: dict[str, Package] = {}

    def add(self, name: str, text: str | None = HEAD + "RUN true\n", **fields: Any) -> Package:
        family, _, version = name.partition(":")
        files: Mapping[str, str] = {"Dockerfile": text, **fields.pop("files", {})} if text else {}
        folder = self.root / family
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        package = Package(
            name=name,
            family=family,
            version=version or None,
            variant=None,
            path=folder,
            dockerfile="Dockerfile" if text else None,
            **fields,
        )
        self.packages[name] = package
        return package

    def compiled(self, name: str, build: str = HEAD + "RUN make\n", **fields: Any) -> Package:
        files = {"Dockerfile.build": build, **fields.pop("files", {})}
        return self.add(name, INSTALLS, files=files, artifacts=Artifacts("Dockerfile.build"), **fields)

    def solved(self, *names: str, closures: Mapping[str, tuple[str, ...]] | None = None, **fields: Any) -> Resolution:
        chosen = tuple(self.packages[name] for name in names)
        built = {name: tuple(self.packages[n] for n in below) for name, below in (closures or {}).items()}
        return Resolution(fields.pop("requested", names[-1:]), chosen, {}, build_closures=built, **fields)

    def plan(self, *names: str, closures: Mapping[str, tuple[str, ...]] | None = None, **options: Any) -> BuildPlan:
        extra = {key: options.pop(key) for key in ("base_digest",) if key in options}
        platform = options.pop("platform", ORIN)
        given_options = PlanOptions(**{"base": "ubuntu:22.04", **options})
        return make(self.solved(*names, closures=closures), platform, given_options, **extra)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "packages")


def shape(plan: BuildPlan) -> list[tuple[str, str, str, list[str]]]:
    """Kind, package, what it stands on and all it needs, by names."""
    label = {stage.key: f"{stage.kind.value} {stage.package}" for stage in plan.stages}
    return [
        (stage.kind.value, stage.package, label.get(stage.parent or "", "base"), [label[key] for key in stage.depends])
        for stage in plan.stages
    ]


class TestChains:
    def test_chain_puts_each_package_on_the_one_before(self, tree: Tree) -> None:
        """Each package is built on the one before."""
        tree.add("a"), tree.add("b"), tree.add("c")
        plan = tree.plan("a", "b", "c")
        assert shape(plan) == [
            ("layer", "a", "base", []),
            ("layer", "b", "layer a", ["layer a"]),
            ("layer", "c", "layer b", ["layer b"]),
        ]
        assert [stage.base for stage in plan.stages] == ["ubuntu:22.04", plan.stages[0].image, plan.stages[1].image]
        assert plan.top.package == "c"
        assert plan.packages == ("a", "b", "c")

    def test_chain_gives_a_stage_its_base(self, tree: Tree) -> None:
        """A stage is told its base by an argument."""
        tree.add("a"), tree.add("b")
        plan = tree.plan("a", "b")
        assert [stage.build_args["BASE_IMAGE"] for stage in plan.stages] == ["ubuntu:22.04", plan.stages[0].image]

    def test_meta_package_is_its_parent_under_another_name(self, tree: Tree) -> None:
        """A meta package is its parent under another name."""
        tree.add("a"), tree.add("all", None)
        plan = tree.plan("a", "all")
        assert shape(plan)[1] == ("meta", "all", "layer a", ["layer a"])
        assert plan.layers == plan.stages[0].layers

    def test_meta_package_in_between_changes_nothing_above_it(self, tree: Tree) -> None:
        """A meta package in between changes nothing above it."""
        tree.add("a"), tree.add("all", None), tree.add("b")
        with_meta, without = tree.plan("a", "all", "b"), tree.plan("a", "b")
        assert with_meta.top == without.top

    def test_meta_package_alone_is_the_base(self, tree: Tree) -> None:
        """A meta package alone is the base under another name."""
        tree.add("all", None)
        assert shape(tree.plan("all")) == [("meta", "all", "base", [])]

    def test_plan_without_packages_is_a_usage_error(self, tree: Tree) -> None:
        """A plan without packages is a usage error."""
        with pytest.raises(UsageError, match="nothing to build"):
            make(Resolution((), (), {}), ORIN, PlanOptions(base="x"))

    def test_plan_without_a_base_takes_that_of_the_platform(self, tree: Tree) -> None:
        """Without a base the one of the platform is taken."""
        tree.add("a")
        assert tree.plan("a", base="").base == "ubuntu:22.04"

    def test_stage_template_is_rendered_for_the_platform(self, tree: Tree) -> None:
        """A template is rendered for the platform."""
        package = tree.add("a", files={"Dockerfile.j2": HEAD + "ENV SM={{ sm | join(';') }} V={{ version }}\n"})
        tree.packages["a"] = replace(package, dockerfile="Dockerfile.j2", version="7")
        assert tree.plan("a").top.dockerfile == HEAD + "ENV SM=87 V=7\n"

    def test_stage_without_its_dockerfile_is_an_error(self, tree: Tree) -> None:
        """A Dockerfile that is missing is an error."""
        tree.packages["a"] = replace(tree.add("a"), dockerfile="Dockerfile.gone")
        with pytest.raises(RecipeError, match=r"Dockerfile\.gone"):
            tree.plan("a")


class TestShared:
    """Files of `share:` count by content for exactly the stages that take them."""

    @pytest.fixture
    def sharing(self, tree: Tree) -> Tree:
        tree.root.joinpath("shared").mkdir(parents=True)
        tree.root.joinpath("shared/fetch.sh").write_text("one\n")
        takes = HEAD + "COPY .jetson/shared/fetch.sh /tmp/\n"
        tree.add("user", takes, share=("fetch.sh",), tree=tree.root)
        tree.add("idle", share=("fetch.sh",), tree=tree.root)
        tree.add("other")
        return tree

    def keys(self, tree: Tree) -> dict[str, str]:
        return {name: tree.plan(name).top.key for name in ("user", "idle", "other")}

    def test_shared_file_that_is_edited_changes_the_key_of_its_users(self, sharing: Tree) -> None:
        """An edit changes the key of the stages that take the file."""
        before = self.keys(sharing)
        sharing.root.joinpath("shared/fetch.sh").write_text("two\n")
        after = self.keys(sharing)
        assert {name for name in after if before[name] != after[name]} == {"user"}

    def test_shared_file_counts_with_its_executable_bit(self, sharing: Tree) -> None:
        """The executable bit counts."""
        before = self.keys(sharing)
        sharing.root.joinpath("shared/fetch.sh").chmod(0o755)
        assert self.keys(sharing)["user"] != before["user"]

    def test_shared_file_counts_without_its_place_in_the_tree(self, sharing: Tree, tmp_path: Path) -> None:
        """The place in the tree does not count."""
        before = self.keys(sharing)
        moved = tmp_path / "moved"
        shutil.copytree(sharing.root, moved)
        packages = {name: replace(p, path=moved / name, tree=moved) for name, p in sharing.packages.items()}
        other = Tree(moved)
        other.packages.update(packages)
        assert self.keys(other) == before

    def test_shared_file_that_is_not_listed_cannot_be_copied(self, tree: Tree) -> None:
        """A COPY of what is not shared is refused."""
        tree.add("a", HEAD + "COPY .jetson/shared/fetch.sh /tmp/\n")
        with pytest.raises(RecipeError, match=r"`\.jetson/shared/fetch\.sh`, which is not in the recipe's `share`"):
            tree.plan("a")

    def test_shared_file_that_is_missing_is_named(self, tree: Tree) -> None:
        """A file that is missing is named."""
        tree.add("a", share=("fetch.sh",), tree=tree.root)
        with pytest.raises(RecipeError, match=r"fetch\.sh"):
            tree.plan("a")


class TestArtifacts:
    def test_artifact_stage_stands_on_its_closure_and_comes_before_its_layer(self, tree: Tree) -> None:
        """The compile part is built on its closure and comes before its layer."""
        tree.add("base"), tree.add("extra"), tree.compiled("torch")
        plan = tree.plan("base", "extra", "torch", closures={"torch": ("base",)})
        assert shape(plan) == [
            ("layer", "base", "base", []),
            ("layer", "extra", "layer base", ["layer base"]),
            ("artifact", "torch", "layer base", ["layer base"]),
            ("layer", "torch", "layer extra", ["layer extra", "artifact torch"]),
        ]

    def test_artifact_key_does_not_depend_on_the_position(self, tree: Tree) -> None:
        """The key of a compile part does not depend on its position."""
        tree.add("base"), tree.add("extra"), tree.compiled("torch")
        closures = {"torch": ("base",)}
        first = tree.plan("base", "torch", closures=closures)
        second = tree.plan("extra", "base", "torch", closures=closures)
        by_kind = [{s.kind: s.key for s in plan.stages if s.package == "torch"} for plan in (first, second)]
        assert by_kind[0][StageKind.ARTIFACT] == by_kind[1][StageKind.ARTIFACT]
        assert by_kind[0][StageKind.LAYER] != by_kind[1][StageKind.LAYER]

    def test_artifact_image_is_passed_to_the_layer(self, tree: Tree) -> None:
        """The layer is told the image of the artifact."""
        tree.compiled("torch")
        artifact, layer = tree.plan("torch").stages
        assert layer.build_args == {"BASE_IMAGE": "ubuntu:22.04", "ARTIFACT_IMAGE": artifact.image}
        assert artifact.dockerfile.endswith("FROM scratch\nCOPY --from=jetson-artifacts /artifacts /artifacts\n")
        assert (artifact.layers, artifact.depth) == (1, 1)

    def test_artifacts_in_a_closure_are_made_first(self, tree: Tree) -> None:
        """Artifacts in a closure are made first."""
        tree.compiled("torch"), tree.compiled("vision")
        plan = tree.plan("torch", "vision", closures={"vision": ("torch",)})
        assert shape(plan) == [
            ("artifact", "torch", "base", []),
            ("layer", "torch", "base", ["artifact torch"]),
            ("artifact", "vision", "layer torch", ["layer torch"]),
            ("layer", "vision", "layer torch", ["layer torch", "artifact vision"]),
        ]

    def test_artifact_dependencies_are_not_in_the_image(self, tree: Tree) -> None:
        """What only compiling needs is not in the image."""
        tree.add("compiler"), tree.compiled("torch")
        plan = tree.plan("torch", closures={"torch": ("compiler",)})
        assert [line[:3] for line in shape(plan)] == [
            ("layer", "compiler", "base"),
            ("artifact", "torch", "layer compiler"),
            ("layer", "torch", "base"),
        ]
        assert plan.packages == ("torch",)
        assert plan.layers == 1

    def test_artifact_that_needs_itself_prints_the_chain(self, tree: Tree) -> None:
        """Compiling that needs itself prints the chain."""
        tree.compiled("a"), tree.compiled("b")
        with pytest.raises(CycleError, match="a -> b -> a"):
            tree.plan("a", closures={"a": ("b",), "b": ("a",)})

    def test_artifacts_without_a_dockerfile_that_installs_them_are_an_error(self, tree: Tree) -> None:
        """Artifacts that nothing installs are an error."""
        tree.packages["a"] = replace(tree.add("a", None), artifacts=Artifacts("Dockerfile.build"))
        with pytest.raises(RecipeError, match="no Dockerfile that installs"):
            tree.plan("a")


class TestBuildArgs:
    TEXT = HEAD + "ARG A\nARG B=2\nRUN true\n"

    def test_build_args_of_the_user_win_and_only_declared_ones_are_given(self, tree: Tree) -> None:
        """The user's arguments win, and only declared ones are given."""
        tree.add("a", self.TEXT, build_args={"A": "recipe", "B": "recipe", "C": "unused"})
        plan = tree.plan("a", build_args={"A": "user", "D": "elsewhere"})
        assert plan.top.build_args == {"A": "user", "B": "recipe", "BASE_IMAGE": "ubuntu:22.04"}
        assert plan.notices == ("`a`: no Dockerfile of it declares `C`, so it has no effect",)

    def test_build_args_are_shared_by_both_parts_of_a_recipe(self, tree: Tree) -> None:
        """The two parts of a recipe share their arguments."""
        tree.compiled("a", HEAD + "ARG SM\nRUN make\n", build_args={"SM": "87"})
        plan = tree.plan("a")
        assert [stage.build_args.get("SM") for stage in plan.stages] == ["87", None]
        assert plan.notices == ()

    def test_build_args_that_nothing_declares_are_named_in_a_notice(self, tree: Tree) -> None:
        """An argument that nothing declares has no effect, which is said, as docker says it."""
        tree.add("a", self.TEXT)
        (notice,) = check_build_args([tree.plan("a")], {"A": "1", "Z": "2"})
        assert notice == (
            "--build-args: no Dockerfile of this build declares `Z`, which has no effect; declared are: A, B"
        )

    def test_build_args_declared_anywhere_are_accepted(self, tree: Tree) -> None:
        """An argument that any stage declares is accepted; so is a proxy."""
        tree.add("a"), tree.add("b", self.TEXT)
        assert check_build_args([tree.plan("a"), tree.plan("b")], {"A": "1", "https_proxy": "x"}) == ()

    def test_build_args_refuse_the_base_image(self, tree: Tree) -> None:
        """The base image is not an argument of the user."""
        with pytest.raises(UsageError) as caught:
            check_build_args([], {"BASE_IMAGE": "x"})
        assert caught.value.hint == "use --base IMAGE"

    def test_build_args_of_proxies_do_not_change_the_key(self, tree: Tree) -> None:
        """A proxy reaches the build but not the key."""
        tree.add("a")
        plain, proxied = tree.plan("a"), tree.plan("a", build_args={"http_proxy": "http://p:1"})
        assert proxied.top.build_args["http_proxy"] == "http://p:1"
        assert proxied.top.key == plain.top.key


class TestKeys:
    """What changes a key, and what does not."""

    TEXT = HEAD + "ARG A=1\nCOPY install.sh data/ /tmp/\nRUN /tmp/install.sh\n"
    FILES = {  # noqa: RUF012 - never changed
        "install.sh": "echo hi\n",
        "data/one": "1",
        "data/two/three": "3",
        "test.sh": "true\n",
        "config.yaml": "docs: x\n",
        "README.md": "# a\n",
        "unused.txt": "never copied",
    }

    def write(self, tree: Tree, **fields: Any) -> str:
        tree.add("low")
        tree.add("a", fields.pop("text", self.TEXT), files=self.FILES | fields.pop("files", {}), test=("test.sh",))
        return tree.plan("low", "a", **fields).top.key

    def test_keys_are_the_golden_ones(self, tree: Tree) -> None:
        """A change of these values means that every image of every user is built again: raise `keys.SCHEMA` then."""
        self.write(tree)
        tree.compiled("torch", HEAD + "ARG SM\nRUN make\n", build_args={"SM": "87"})
        tree.add("all", None)
        plan = tree.plan("low", "a", "torch", "all", closures={"torch": ("low",)}, base_digest="sha256:" + "0" * 64)
        found = {f"{stage.kind.value} {stage.package}": stage.key for stage in plan.stages}
        text = json.dumps(found, indent=2) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            (GOLDEN / "keys.json").write_text(text, encoding="utf-8")
        assert text == (GOLDEN / "keys.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        "change",
        [
            {"text": TEXT.replace("RUN ", "RUN true; ")},
            {"text": TEXT.replace("A=1", "A=2")},
            {"text": "# syntax=docker/dockerfile:1\n" + TEXT},
            {"files": {"install.sh": "echo ho\n"}},
            {"files": {"data/two/three": "4"}},
            {"files": {"data/new": ""}},
            {"build_args": {"A": "2"}},
            {"build_flags": ("--squash",)},
            {"base": "ubuntu:24.04"},
            {"base_digest": "sha256:" + "1" * 64},
            {"platform": replace(ORIN, arch=Arch.X86_64)},
        ],
        ids="-".join,
    )
    def test_key_changes_with_what_reaches_the_image(self, tree: Tree, tmp_path: Path, change: dict[str, Any]) -> None:
        """What reaches the image changes the key."""
        assert self.write(Tree(tmp_path / "other"), **change) != self.write(tree)

    @pytest.mark.parametrize(
        "change",
        [
            {"text": "#---\n# name: a\n# docs: other\n#---\n# why\n" + TEXT.replace("RUN", "\n\n# and\nRUN")},
            {"text": TEXT.replace("\n", "\r\n")},
            {"files": {"test.sh": "false\n"}},
            {"files": {"config.yaml": "docs: y\n"}},
            {"files": {"README.md": "# b\n"}},
            {"files": {"unused.txt": "still not", "another": ""}},
            {"files": {"data/__pycache__/x.cpython-310.pyc": "bytes"}},
            {"platform": replace(ORIN, memory=1 << 30, board="orin-nano-4gb", l4t=Version("36.4.3"))},
            {"name": "other/name"},
            {"no_cache": True},
        ],
        ids="-".join,
    )
    def test_key_stays_with_what_does_not_reach_the_image(
        self, tree: Tree, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        """What does not reach the image leaves the key as it is."""
        assert self.write(Tree(tmp_path / "other"), **change) == self.write(tree)

    def test_key_counts_the_executable_bit_and_no_other_bits(self, tree: Tree) -> None:
        """The executable bit counts, and other bits do not."""
        before = self.write(tree)
        file = tree.root / "a" / "install.sh"
        file.chmod(0o600)
        assert tree.plan("low", "a").top.key == before
        file.chmod(0o700)
        assert tree.plan("low", "a").top.key != before

    def test_key_changes_with_the_stages_below(self, tree: Tree) -> None:
        """A change below changes everything above."""
        before = self.write(tree)
        tree.add("low", HEAD + "RUN false\n")
        assert tree.plan("low", "a").top.key != before

    def test_key_of_a_layer_changes_with_its_compile_part(self, tree: Tree) -> None:
        """A change of the compile part changes the layer."""
        tree.compiled("a")
        before = tree.plan("a").top.key
        tree.compiled("a", HEAD + "RUN make other\n")
        assert tree.plan("a").top.key != before

    @pytest.mark.parametrize(
        ("copy", "counts"),
        [
            ("COPY . /x", {"install.sh", "data/one", "data/two/three", "unused.txt"}),
            ("COPY ${WHAT} /x", {"install.sh", "data/one", "data/two/three", "unused.txt"}),
            ("COPY *.sh /x", {"install.sh"}),  # test.sh only describes the package
            ("COPY test.sh /x", {"test.sh"}),  # unless it is named
            ("COPY README.md ./data/two /x", {"README.md", "data/two/three"}),
            ('COPY ["data/o?e", "/x"]', {"data/one"}),
            ("COPY data/t* /x", {"data/two/three"}),
            ("COPY **/three /x", {"data/two/three"}),
            ("COPY [c-e]ata/one /x", {"data/one"}),
            ("ADD https://example.org/data /x", set()),
            ("ADD /data /x", {"data/one", "data/two/three"}),
            ("COPY --from=other data /x", set()),
            ("COPY --chown=1:1 data/one /x", {"data/one"}),
            ("COPY <<END /x\ndata\nEND", set()),
            ("RUN --mount=type=bind,source=data,target=/d ls", {"data/one", "data/two/three"}),
            ("RUN --mount=type=bind,from=x,source=data,target=/d ls", set()),
            ("RUN --mount=type=cache,target=/d ls data", set()),
            ("RUN cat data/one", set()),
        ],
    )
    def test_key_counts_only_files_that_the_dockerfile_takes(self, tree: Tree, copy: str, counts: set[str]) -> None:
        """Only the files that the Dockerfile takes count."""
        before = self.write(tree, text=f"{HEAD}{copy}\n")
        for name in self.FILES:
            file = tree.root / "a" / name
            text = file.read_text(encoding="utf-8")
            file.write_text(text + " changed", encoding="utf-8")
            assert (tree.plan("low", "a").top.key != before) == (name in counts), name
            file.write_text(text, encoding="utf-8")

    def test_key_respects_dockerignore(self, tree: Tree) -> None:
        """The file .dockerignore is respected."""
        ignore = "# comment\n\n*.log\nbig/**\n!big/keep\n/data/two\n"
        files = {".dockerignore": ignore, "a.log": "", "big/drop": "", "big/keep": "", "sub/a.log": ""}
        before = self.write(tree, text=f"{HEAD}COPY . /x\n", files=files)
        for name, counts in {"a.log": False, "big/drop": False, "big/keep": True, "sub/a.log": True}.items():
            (tree.root / "a" / name).write_text("changed", encoding="utf-8")
            assert (tree.plan("low", "a").top.key != before) == counts, name
            (tree.root / "a" / name).write_text("", encoding="utf-8")

    def test_key_counts_a_link_with_its_target(self, tree: Tree) -> None:
        """A link counts with its target."""
        self.write(tree)
        link = tree.root / "a" / "data" / "link"
        link.symlink_to("one")
        first = tree.plan("low", "a").top.key
        link.unlink()
        link.symlink_to("../data/one")
        assert tree.plan("low", "a").top.key != first

    def test_copy_of_a_missing_file_is_an_error_of_the_plan(self, tree: Tree) -> None:
        """A COPY of a missing file is found before anything is built."""
        with pytest.raises(RecipeError, match=r"a/Dockerfile:3: takes `gone\.sh`, which is not in"):
            self.write(tree, text=HEAD + "COPY gone.sh /x\n")

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        files=st.dictionaries(
            st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6}){0,2}\.x", fullmatch=True), st.binary(max_size=20)
        ),
        seed=st.integers(),
    )
    def test_key_does_not_count_order_times_and_place(
        self, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int
    ) -> None:
        """Order, times and place of the files do not count."""
        found = []
        for salt in (0, 1):
            tree = Tree(tmp_path_factory.mktemp("tree") / ("deep/" * salt))
            tree.add("a", HEAD + "COPY . /x\n")
            names = sorted(files)
            random.Random(seed * salt).shuffle(names)
            for name in names:
                path = tree.root / "a" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files[name])
                os.utime(path, (salt * 1000, salt * 1000))
            found.append(tree.plan("a").top.key)
        assert found[0] == found[1]

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(position=st.integers(0, 63), bit=st.integers(0, 7))
    def test_key_counts_each_bit_of_a_copied_file(self, tree: Tree, position: int, bit: int) -> None:
        """Any bit of a copied file counts."""
        tree.add("a", HEAD + "COPY blob /x\n")
        blob = bytearray(range(64))
        file = tree.root / "a" / "blob"
        file.write_bytes(blob)
        before = tree.plan("a").top.key
        blob[position] ^= 1 << bit
        file.write_bytes(blob)
        assert tree.plan("a").top.key != before


class TestNames:
    @pytest.mark.parametrize(
        ("package", "key", "image"),
        [
            ("numpy", "sha256:0123456789abcdef0123", "jetson-containers/stage:numpy-0123456789abcdef"),
            ("pytorch:2.8", "sha256:" + "a" * 64, "jetson-containers/stage:pytorch-2.8-" + "a" * 16),
            ("X:1+cu126", "sha256:" + "b" * 64, "jetson-containers/stage:x-1-cu126-" + "b" * 16),
        ],
    )
    def test_stage_image_has_the_package_and_the_key(self, package: str, key: str, image: str) -> None:
        """The image of a stage has the package and the key in its name."""
        assert stage_image(package, key) == image

    @pytest.mark.parametrize(
        ("name", "image"),
        [
            ("", "llm:1.2-r36.4-cu126-22.04"),
            ("me/", "me/llm:1.2-r36.4-cu126-22.04"),
            ("reg.io:5000/me/", "reg.io:5000/me/llm:1.2-r36.4-cu126-22.04"),
            ("mine", "mine:r36.4-cu126-22.04"),
            ("reg.io:5000/mine", "reg.io:5000/mine:r36.4-cu126-22.04"),
            ("mine:v1", "mine:v1-r36.4-cu126-22.04"),
            ("reg.io:5000/ns/mine:v1+x", "reg.io:5000/ns/mine:v1-x-r36.4-cu126-22.04"),
            ("mine:v1-r36.4-cu126-22.04", "mine:v1-r36.4-cu126-22.04"),
            ("mine:r36.4-cu126-22.04", "mine:r36.4-cu126-22.04"),
        ],
    )
    def test_final_name_follows_the_option_name(self, tree: Tree, name: str, image: str) -> None:
        """The name of the final image follows `--name`."""
        assert final_name(tree.add("llm:1.2"), ORIN, name) == image

    @pytest.mark.parametrize(
        ("fields", "image"),
        [
            ({"prefix": "jp6"}, "llm:jp6-1.2-r36.4-cu126-22.04"),
            ({"postfix": "l4t-r36"}, "llm:1.2-l4t-r36"),
            ({"postfix": ""}, "llm:1.2"),
        ],
    )
    def test_final_name_has_prefix_and_postfix_of_the_package(
        self, tree: Tree, fields: dict[str, str], image: str
    ) -> None:
        """A package can put a prefix and a postfix into the name."""
        assert final_name(tree.add("llm:1.2", **fields), ORIN) == image

    @pytest.mark.parametrize("name", ["Mine", "a b", ":v1", "mine:a:b", "x@sha256:" + "0" * 64, "/", "-x"])
    def test_final_name_refuses_what_docker_refuses(self, tree: Tree, name: str) -> None:
        """A name that docker refuses is a usage error."""
        with pytest.raises(UsageError, match="--name"):
            final_name(tree.add("llm"), ORIN, name)

    @pytest.mark.parametrize(
        ("requested", "named"),
        [(("b", "a"), "a"), (("a", "b:2"), "b"), (("bee",), "b"), (("b>=1",), "b"), (("gone",), "c")],
    )
    def test_final_name_is_of_the_last_package_requested(
        self, tree: Tree, requested: tuple[str, ...], named: str
    ) -> None:
        """The image is named after the last package requested."""
        tree.add("a"), tree.add("b:2", aliases=("bee",)), tree.add("c")
        resolution = tree.solved("a", "b:2", "c", requested=requested)
        plan = make(resolution, ORIN, PlanOptions(base="ubuntu:22.04"))
        assert plan.final.partition(":")[0] == named


class TestLayers:
    def test_layers_of_a_plan_add_up(self, tree: Tree) -> None:
        """The layers of the stages add up."""
        tree.add("a", HEAD + "RUN x\nRUN y\n"), tree.add("b", HEAD + "COPY b /b\n", files={"b": ""})
        plan = tree.plan("a", "b")
        assert [stage.layers for stage in plan.stages] == [2, 3]
        assert plan.layers == 3

    @pytest.mark.parametrize(("layers", "fits"), [(125, True), (126, False)])
    def test_layers_beyond_the_budget_are_an_error(self, tree: Tree, layers: int, fits: bool) -> None:
        """More layers than the budget are an error."""
        tree.add("a", HEAD + "RUN x\n" * layers)
        if fits:
            assert tree.plan("a").layers == layers
            return
        with pytest.raises(LayerBudgetError, match=f"{layers} layers"):
            tree.plan("a")

    def test_layers_error_names_the_largest_contributors(self, tree: Tree) -> None:
        """The error names the packages with the most layers."""
        tree.add("a", HEAD + "RUN x\n" * 40), tree.add("b", HEAD + "RUN x\n" * 80), tree.add("c", HEAD + "RUN x\n" * 10)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan("a", "b", "c")
        assert caught.value.message == f"`c` would stand on 130 layers, and the storage driver stacks {MAX_LAYERS}"
        assert [line.split() for line in caught.value.details] == [
            ["80", "layers", "b"],
            ["40", "layers", "a"],
            ["10", "layers", "c"],
        ]

    def test_layers_error_says_how_to_split_the_image(self, tree: Tree) -> None:
        """The lower packages become a base of one layer; both halves fit, and together they are all packages."""
        sizes = {"a": 40, "b": 20, "c": 50, "d": 30}
        for name, layers in sizes.items():
            tree.add(name, HEAD + "RUN x\n" * layers)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan(*sizes)
        hint = str(caught.value.hint)
        assert "`jetson-containers build --name=lower a b` (60 layers)" in hint
        assert "`jetson-containers build --base=lower-flat --skip-packages=a,b d` (81 layers)" in hint

    def test_layers_error_offers_no_split_where_one_package_is_too_large(self, tree: Tree) -> None:
        """What no split can help gets none."""
        tree.add("a", HEAD + "RUN x\n"), tree.add("b", HEAD + "RUN x\n" * 126)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan("a", "b")
        assert caught.value.hint == "join RUN and COPY lines of these recipes"

    def test_layers_of_a_compile_part_must_fit_too(self, tree: Tree) -> None:
        """A compile part must fit as well."""
        tree.add("tools", HEAD + "RUN x\n" * 100), tree.compiled("a", HEAD + "RUN x\n" * 26)
        with pytest.raises(LayerBudgetError, match="`a` would stand on 126"):
            tree.plan("a", closures={"a": ("tools",)})

    def test_layers_that_the_builder_adds_count(self, tree: Tree) -> None:
        """What the builder adds to each stage counts."""
        tree.add("a", HEAD + "RUN x\n" * 60), tree.add("b", HEAD + "RUN x\n" * 62)
        plan = tree.plan("a", "b")
        check_layers(plan, per_stage=1)
        with pytest.raises(LayerBudgetError, match="126 layers"):
            check_layers(plan, per_stage=2)


class TestTotals:
    def test_totals_count_a_shared_prefix_once(self, tree: Tree) -> None:
        """A shared prefix counts once."""
        # Shared: a, the compile part of t. Each plan's own: b and t on it; c, t on that, and the meta package.
        tree.add("a"), tree.add("b"), tree.add("c"), tree.compiled("t"), tree.add("all", None)
        closures = {"t": ("a",)}
        plans = [tree.plan("a", "b", "t", closures=closures), tree.plan("a", "c", "t", "all", closures=closures)]
        counted = totals(plans)
        assert counted == {"images": 2, "stages": 7, "artifacts": 1, "compiles": 4, "lower_bound": 4}
        assert len(graph.merge(plans).nodes) == 7

    def test_merge_puts_parents_first(self, tree: Tree) -> None:
        """Parents come first in merged plans."""
        tree.add("a"), tree.compiled("b"), tree.compiled("c")
        merged = graph.merge([tree.plan("a", "c", closures={"c": ("b",)}), tree.plan("a", "b", "c")])
        seen: set[str] = set()
        for key, node in merged.nodes.items():
            assert seen.issuperset(node.stage.depends)
            seen.add(key)

    def test_totals_tell_the_lower_bound(self, tree: Tree) -> None:
        """The totals tell the lower bound of stages."""
        tree.add("a"), tree.add("b"), tree.add("c"), tree.compiled("t")
        closures = {"t": ("a",)}
        plans = [tree.plan(*names, "t", closures=closures) for names in (("a", "b", "c"), ("a", "c", "b"))]
        counted = totals(plans)
        # `b` and `c` stand on different parents in the two images and are built twice, `t` is compiled once.
        assert (counted["compiles"], counted["lower_bound"]) == (6, 4)

    def test_totals_of_no_plans_are_zero(self) -> None:
        """Without plans all totals are zero."""
        assert totals([]) == dict.fromkeys(("images", "stages", "artifacts", "compiles", "lower_bound"), 0)


class TestOutput:
    @pytest.fixture
    def plan(self, tree: Tree) -> BuildPlan:
        tree.add("python"), tree.compiled("llama_cpp:b9016"), tree.add("llm-tools", None)
        made = tree.plan("python", "llama_cpp:b9016", "llm-tools", closures={"llama_cpp:b9016": ("python",)})
        stages = [
            replace(stage, state=StageState.CACHED) if stage.kind is StageKind.ARTIFACT else stage
            for stage in made.stages
        ]
        return replace(made, stages=tuple(stages), tests=("python",))

    def test_plan_json_is_as_documented(self, plan: BuildPlan) -> None:
        """The JSON of a plan is as documented."""
        found = json.loads(json.dumps(plan.to_json()))
        assert list(found)[:3] == ["schema", "platform", "request"]
        assert {key: found[key] for key in ("schema", "request", "final", "layers")} == {
            "schema": 1,
            "request": ["llm-tools"],
            "final": "llm-tools:r36.4-cu126-22.04",
            "layers": 2,
        }
        first, artifact, layer, meta = found["stages"]
        assert first == {
            "package": "python",
            "kind": "layer",
            "key": plan.stages[0].key,
            "parent": None,
            "image": plan.stages[0].image,
            "depends": [],
            "state": "build",
            "layers": 1,
            "needed": True,
        }
        assert (artifact["kind"], artifact["state"], artifact["parent"]) == ("artifact", "cached", first["key"])
        assert layer["depends"] == [first["key"], artifact["key"]]
        assert (meta["kind"], meta["parent"]) == ("meta", layer["key"])

    def test_plan_json_holds_no_argument_of_the_user(self, tree: Tree) -> None:
        """The JSON holds no value of an argument of the user."""
        tree.add("a", HEAD + "ARG TOKEN\nRUN true\n")
        plan = tree.plan("a", build_args={"TOKEN": "hunter2"})
        assert "hunter2" not in json.dumps(plan.to_json()) + "".join(describe(plan))

    def test_plans_json_of_several_plans(self, tree: Tree) -> None:
        """Several plans are one JSON document."""
        tree.add("a"), tree.add("b")
        plans = [tree.plan("a"), tree.plan("a", "b")]
        found = multiple_json(ORIN, plans, [{"request": "c", "reason": "no"}])
        assert list(found) == ["schema", "platform", "plans", "errors", "totals"]
        assert found["errors"] == [{"request": "c", "reason": "no"}]
        assert found["totals"] == {"images": 2, "stages": 2, "artifacts": 0, "compiles": 2, "lower_bound": 2}
        assert [len(plan["stages"]) for plan in found["plans"]] == [1, 2]

    def test_describe_gives_the_golden_text(self, plan: BuildPlan) -> None:
        """The readable form of a plan is the golden one."""
        text = "\n".join(describe(plan)) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            (GOLDEN / "describe.txt").write_text(text, encoding="utf-8")
        assert text == (GOLDEN / "describe.txt").read_text(encoding="utf-8")

    def test_planning_writes_nothing(self, tree: Tree) -> None:
        """Planning writes nothing."""
        tree.compiled("a")
        before = sorted(tree.root.rglob("*"))
        tree.plan("a")
        assert sorted(tree.root.rglob("*")) == before


def test_context_that_is_remembered_gives_the_same_files_and_is_read_once(tmp_path: Path) -> None:
    """A context that is remembered gives the same files and is read once."""
    (tmp_path / "a.txt").write_text("one")
    text = "FROM x\nCOPY a.txt /a\n"
    fresh = keys.context_files(tmp_path, text)
    with keys.remembering():
        assert keys.context_files(tmp_path, text) == fresh
        (tmp_path / "a.txt").write_text("two")
        assert keys.context_files(tmp_path, text) == fresh
    assert keys.context_files(tmp_path, text) != fresh


# --- an image says the CUDA that it holds


@pytest.mark.parametrize(
    ("where", "held", "tag"),
    [
        (ORIN, "12.6", "r36.4-cu126-22.04"),
        (ORIN, "12.6.1", "r36.4-cu126-22.04"),
        (ORIN, "12.8", "r36.4-cu128-22.04"),
        (ORIN, "12.2", "r36.4-cu122-22.04"),
        (treemaker.PC, "13.2", "x86_64-cu132-24.04"),
        (treemaker.PC_CPU, "12.9", "x86_64-cu129-24.04"),
    ],
)
def test_cuda_in_name_and_labels_is_the_one_in_the_image(tmp_path: Path, where: Platform, held: str, tag: str) -> None:
    """The name and the labels say the CUDA that is in the image."""
    made = make(of_cuda(tmp_path, held), where, PlanOptions(base="base:1"))
    assert made.final == f"app:{tag}"
    label = labels.platform_value(made.platform)
    assert label["cuda"] == ".".join(held.split(".")[:2])
    foreign = where.cuda is None or str(where.cuda) != label["cuda"]
    assert any("its name and labels say CUDA" in notice for notice in made.notices) == foreign


@pytest.mark.parametrize(
    ("where", "held", "runs"),
    [
        (ORIN, "13.2", "L4T 36.4.0, which runs CUDA 12.2, 12.4, 12.5, 12.6, 12.8, 12.9"),
        (replace(treemaker.NANO, driver_cuda=Version("10.2")), "11.4", "L4T 32.7.4, which runs CUDA 10.2"),
        (replace(treemaker.PC, driver_cuda=Version("12.8")), "13.0", "this target, whose driver runs CUDA 12.8"),
    ],
)
def test_cuda_that_the_driver_does_not_run_is_refused(tmp_path: Path, where: Platform, held: str, runs: str) -> None:
    """A CUDA that the driver does not run is refused."""
    with pytest.raises(UnavailablePackageError) as caught:
        make(of_cuda(tmp_path, held), where, PlanOptions(base="base:1"))
    assert caught.value.message == f"`cuda:{held}` cannot run on {runs}"


def of_cuda(root: Path, version: str) -> Resolution:
    (root / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    packages = [
        replace(treemaker.package(name), path=root, dockerfile="Dockerfile") for name in (f"cuda:{version}", "app")
    ]
    return Resolution(("app",), tuple(packages), {})
