"""The keys of stages: what changes them and what does not."""

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

from jetson_containers.core.errors import RecipeError
from jetson_containers.plan import keys
from jetson_containers.platforms.platform import Arch
from tests.unit.plan.helpers import GOLDEN, HEAD, ORIN, Tree

if TYPE_CHECKING:
    from pathlib import Path


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

    def test_key_counts_files_and_links_and_nothing_else_of_a_context(self, tree: Tree) -> None:
        """Links to directories are not followed, and what git and Python leave behind does not count."""
        self.write(tree, text=f"{HEAD}COPY . /x\n")
        root = tree.root / "a"
        before = tree.plan("low", "a").top.key
        os.mkfifo(root / "data" / "pipe")
        for unseen in (".git/config", "data/__pycache__/one.cpython-311.pyc", "data/deep/one.pyc"):
            (root / unseen).parent.mkdir(parents=True, exist_ok=True)
            (root / unseen).write_text("")
        assert tree.plan("low", "a").top.key == before
        found = {before}
        for count, change in enumerate(("data/deep/more", "data.d/more", "linked", "data/linked/x"), 1):
            path = root / change
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to("data") if change == "linked" else path.write_text("")
            found.add(tree.plan("low", "a").top.key)
            assert len(found) == count + 1, change

    @pytest.mark.parametrize(
        "source", ["", "one", "one/two", "a.b", "a+b", "one ", "a\\b", "*", "o?e", "[ab]", "**/x", "a$b"]
    )
    def test_takes_agrees_with_the_pattern_of_a_source(self, source: str) -> None:
        """A plain name is compared as it is, which gives what its pattern gives."""
        names = [
            "one",
            "one/two",
            "one/two/three",
            "onetwo",
            "aXb",
            "a.b",
            "a+b/c",
            "ab",
            "one ",
            "a\\b",
            "x",
            "d/x",
            "o/e",
            "a",
        ]
        pattern = keys._pattern(source)
        assert pattern is not None
        assert {name: bool(keys._matcher(source)(name)) for name in names} == {
            name: pattern.fullmatch(name) is not None for name in names
        }

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


def test_remembered_makes_a_value_once_for_each_object_and_name() -> None:
    """A value is made once for each object and name, and anew outside of `remembering`; equal objects are two."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    with keys.remembering():
        owners = [["same"], ["same"]]
        for _ in range(2):
            assert [keys.remembered(owner, ("a",), lambda: make("a")) for owner in owners] == ["a", "a"]
            assert keys.remembered(owners[0], ("b",), lambda: make("b")) == "b"
    assert made == ["a", "a", "b"]
    assert keys.remembered(owners[0], ("a",), lambda: make("new")) == "new"
