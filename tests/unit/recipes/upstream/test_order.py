"""The build order of trees in upstream's format: upstream's own where that is sound, a sound one where it is not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import (
    CycleError,
    JetsonError,
    UnavailablePackageError,
    UnknownPackageError,
    UnsatisfiableError,
)
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.resolver.solve import solve
from tests.paths import ROOT_DIR
from tests.unit.treemaker import NANO, ORIN, PC_CPU, XAVIER, package

sys.path.insert(0, str(ROOT_DIR / "benchmarks" / "upstream_tree"))
import generate
import upstream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    root = tmp_path_factory.mktemp("tree")
    generate.write(root)
    return load([root / "packages"], ORIN)


def order(catalog: Catalog, *requests: str) -> list[str]:
    return [package.name for package in solve(catalog, requests).packages]


def test_generated_tree_has_all_variants(tree: Catalog) -> None:
    """The generated tree has seven hundred variants."""
    assert len(tree.available) + len(tree.absent) == generate.VARIANTS
    assert sorted(error.path.parent.name for error in tree.broken) == ["l4t-ml", "needs-network", "writes"]


TORCH = "build-essential pip_cache:cu126 cuda:12.6 cudnn:9.3 python:3.10 numpy cmake:pip pytorch:2.8"
HUB = "rust huggingface_hub"
OLDER = TORCH.replace("2.8", "2.6")
MLC = f"{TORCH} llvm:22 rust tvm:0.22 huggingface_hub mlc:0.20.0"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("pytorch", TORCH),
        ("torch", TORCH),
        ("pytorch:2.8-all", f"{TORCH} torchvision:0.23 torchaudio:2.8 pytorch:2.8-all"),
        ("l4t-pytorch", f"{TORCH} torchvision:0.23 torchaudio:2.8 opencv:4.11 l4t-pytorch"),
        ("llama_cpp", f"build-essential pip_cache:cu126 cuda:12.6 python:3.10 cmake:pip numpy {HUB} llama_cpp:b9016"),
        ("vllm", f"{TORCH} torchvision:0.23 {HUB} transformers:4.55.3 llvm:20 triton:3.4 ninja xgrammar vllm:0.21.0"),
        ("vllm:0.8.4",
         f"{OLDER} torchvision:0.23 {HUB} transformers:4.55.3 llvm:20 triton:3.4 ninja xgrammar vllm:0.8.4"),
        ("mlc", MLC),
        ("nano_llm",
         f"{MLC} transformers:4.55.3 torchvision:0.23 tensorrt:10.3 clip_trt faiss:1.10 opencv:4.11 nano_llm:24.7"),
        ("pytorch transformers ros:humble-desktop",
         f"{TORCH} {HUB} transformers:4.55.3 opencv:4.11 ros:humble-desktop"),
        ("transformers torch", f"{TORCH} {HUB} transformers:4.55.3"),
    ],
)  # fmt: skip
def test_order_of_documented_examples(tree: Catalog, request_: str, expected: str) -> None:
    """The documented examples have their order."""
    assert order(tree, *request_.split()) == expected.split()


def test_pins_that_oscillate_upstream_end_in_one_version_with_a_notice(tree: Catalog) -> None:
    """Pins that oscillate upstream end in one version and a notice."""
    resolution = solve(tree, ["nano_llm"])
    assert [package.name for package in resolution.packages if package.family == "llvm"] == ["llvm:22"]
    assert any("`tvm:0.22` asks for `llvm:20` and gets `llvm:22`" in note for note in resolution.notices)
    assert any("`faiss:1.10` asks for `llvm:20` and gets `llvm:22`" in note for note in resolution.notices)
    assert resolution.packages[-1].name == "nano_llm:24.7"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("sglang", "there is no package `torchao:9.9`, which `sglang` asks for"),
        ("l4t-ml", "`depends` of `l4t-ml` holds a dict, not a package name"),
    ],
)
def test_requests_that_crash_upstream_say_what_is_wrong(tree: Catalog, request_: str, reason: str) -> None:
    """What crashes upstream says what is wrong."""
    with pytest.raises(JetsonError) as caught:
        solve(tree, [request_])
    assert reason in caught.value.message


def test_cycle_is_named() -> None:
    """A cycle is named."""
    with pytest.raises(CycleError, match="a -> b -> c -> a"):
        solve(of(legacy("a", "b"), legacy("b", "c"), legacy("c", "a")), ["a"])


@pytest.mark.long
def test_resolution_has_one_version_of_a_family_and_each_package_once(tree: Catalog) -> None:
    """No image has two versions of a family or a package twice."""
    failures = {}
    for name in tree.available:
        try:
            packages = solve(tree, [name]).packages
        except JetsonError as error:
            failures[name] = error.message
            continue
        families = [package.family for package in packages]
        assert len(families) == len(set(families)), name
    assert failures == {"sglang": "there is no package `torchao:9.9`, which `sglang` asks for"}


@pytest.mark.long
@pytest.mark.parametrize("where", [NANO, XAVIER, PC_CPU], ids=["nano", "xavier", "cpu"])
def test_solve_names_what_the_platform_lacks(tmp_path: Path, where: Platform) -> None:
    """What a platform lacks is named."""
    generate.write(tmp_path)
    catalog = load([tmp_path / "packages"], where)
    reasons = []
    for name in catalog.available:
        try:
            solve(catalog, [name])
        except (UnavailablePackageError, UnknownPackageError) as error:
            reasons.append(error.message)
    assert reasons
    assert [reason for reason in reasons if "asks for" not in reason] == []


def test_missing_pin_is_an_error_of_its_asker_unless_another_version_does_without() -> None:
    """A missing pin is the error of who asks for it, unless another version can do without."""
    missing = of(legacy("a:1", "nothing"), legacy("a:2", "nothing"), legacy("b", "a"))
    with pytest.raises(UnknownPackageError, match="`nothing`, which `a:2` asks for"):
        solve(missing, ["b"])
    for make in (legacy, package):
        resolution = solve(of(make("a:1"), make("a:2", "nothing"), legacy("b", "a")), ["b"])
        assert [item.name for item in resolution.packages] == ["a:1", "b"]
        assert "`a:1` is taken instead of `a:2`" in resolution.notices[0]


def test_default_chosen_by_a_recipe_is_kept_despite_what_it_lacks() -> None:
    """A default that a recipe chose is not given up for what it lacks."""
    settled = of(legacy("a:1"), chosen("a:2", "nothing"), legacy("b", "a"))
    with pytest.raises(UnknownPackageError, match="`nothing`, which `a:2` asks for"):
        solve(settled, ["b"])
    assert order(settled, "b", "a:1") == ["a:1", "b"]


def legacy(name: str, *depends: str) -> object:
    return package(name, *depends, adaptable=True)


def chosen(name: str, *depends: str) -> object:
    """The default of its family in upstream's format."""
    return package(name, *depends, adaptable=True, default=True)


def of(*packages: object) -> Catalog:
    return Catalog(platform=ORIN, available={item.name: item for item in packages})  # type: ignore[attr-defined]


def test_pins_of_the_request_and_of_the_own_format_do_not_give_way() -> None:
    """Pins of the request and of this project's format do not give way."""
    versions = (legacy("x:1"), legacy("x:2"))
    soft = of(*versions, legacy("a", "x:1"), legacy("b", "x:2", "a"))
    assert order(soft, "b") == ["x:2", "a", "b"]
    assert order(soft, "b", "x:1") == ["x:1", "a", "b"]
    with pytest.raises(UnsatisfiableError):
        solve(of(*versions, package("a", "x:1"), package("b", "x:2", "a")), ["b"])
    assert order(of(*versions, package("a", "x:1"), legacy("b", "x:2", "a")), "b") == ["x:1", "a", "b"]


# --- the newest of a family without a default: a guess, which overrules nothing that was chosen


ENGINES = ("engine:2.6", "engine:2.11", "engine:2.13")
VISIONS = (legacy("vision:0.26.0", "engine:2.11"), legacy("vision:0.28.0", "engine:2.13"))


def engines(default: str, *others: object) -> Catalog:
    return of(*((chosen if name == default else legacy)(name) for name in ENGINES), *others)


def test_newest_version_that_goes_with_the_default_is_taken() -> None:
    """The newest version that goes with the default is taken."""
    found = engines("engine:2.11", *VISIONS)
    assert order(found, "engine", "vision") == ["engine:2.11", "vision:0.26.0"]
    assert order(found, "vision", "engine") == ["engine:2.11", "vision:0.26.0"]
    assert order(found, "vision") == ["engine:2.11", "vision:0.26.0"]
    assert order(found, "vision:0.28.0", "engine") == ["engine:2.13", "vision:0.28.0"]
    assert order(found, "engine:2.13", "vision") == ["engine:2.13", "vision:0.28.0"]


@pytest.mark.parametrize("requests", [("engine", "vision"), ("vision",), ("app",), ("vision>=0.20", "engine")])
def test_guessed_version_overrules_no_default(requests: tuple[str, ...]) -> None:
    """No guess overrules a default."""
    found = engines("engine:2.6", *VISIONS, legacy("app", "vision", "engine"))
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, requests)
    asked = ", which `app` asks for," if "app" in requests else ""
    assert caught.value.message == (
        f"no version of `vision`{asked} is the default here, and none goes with `engine:2.6`, "
        "the default of `engine` here"
    )
    assert list(caught.value.details) == [
        "`vision:0.28.0` wants `engine:2.13`", "`vision:0.26.0` wants `engine:2.11`",
    ]  # fmt: skip
    assert "`vision:0.28.0`" in str(caught.value.hint)


def test_guessed_version_overrules_no_default_by_its_dependencies() -> None:
    """What a guess brings with it overrules no default either."""
    through = (legacy("top:1", "middle:1"), legacy("top:2", "middle:2"))
    middle = (legacy("middle:1"), legacy("middle:2", "engine:2.13"))
    assert order(engines("engine:2.6", *through, *middle), "top", "engine") == ["middle:1", "top:1", "engine:2.6"]


def test_version_that_is_the_only_one_of_its_family_counts_unless_the_default_was_asked_for() -> None:
    """The only version of a family counts, unless the default was asked for."""
    found = engines("engine:2.6", VISIONS[0])
    assert order(found, "vision") == ["engine:2.11", "vision:0.26.0"]
    with pytest.raises(UnsatisfiableError, match="no version of `vision` is the default here, and none goes"):
        solve(found, ["engine", "vision"])


def test_default_that_wants_another_version_gets_it() -> None:
    """A default that wants another version has it."""
    found = engines("engine:2.6", VISIONS[0], chosen("vision:0.28.0", "engine:2.13"))
    assert order(found, "engine", "vision") == ["engine:2.13", "vision:0.28.0"]


def test_own_recipes_are_not_guessed_about() -> None:
    """For recipes of this project's format nothing is guessed."""
    ours = [package(name, default=name == "engine:2.6") for name in ENGINES]
    with pytest.raises(UnsatisfiableError, match="no version of `vision` is the default here, and none goes"):
        solve(of(*ours, package("vision:1", "engine:2.11"), package("vision:2", "engine:2.13")), ["engine", "vision"])
    apart = of(*ours, package("vision:1"), package("vision:2", "engine:2.13"))
    assert order(apart, "engine", "vision") == ["engine:2.6", "vision:1"]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("index:cu114 index:cu126 index:cu132", "index:cu126"),
        ("cuda:11.4 cuda:12.6 cuda:13.2", "cuda:12.6"),
        ("index:cu114 index:cu132", ""),
        ("cuda:11.4 cuda:13.2", ""),
    ],
)
def test_guessed_version_is_of_the_same_cuda(names: str, taken: str) -> None:
    """No guess is for another CUDA."""
    found = of(*map(legacy, names.split()), legacy("app", names.partition(":")[0]))
    if taken:
        assert order(found, "app") == [taken, "app"]
        return
    newest = names.rsplit(maxsplit=1)[-1]
    with pytest.raises(UnavailablePackageError) as caught:
        solve(found, ["app"])
    assert (
        "which `app` asks for, is the default here, and none goes with the platform's CUDA 12.6" in caught.value.message
    )
    assert caught.value.details[0] == f"`{newest}` is for CUDA 13.2"
    assert order(found, "app", newest) == [newest, "app"]


def test_guess_is_one_that_goes_with_the_version_of_the_request() -> None:
    """`ENGINE_VERSION=2.6` with a family that has no default takes the version made for 2.6, not the newest."""
    visions = (*VISIONS, legacy("vision:0.21.0", "engine:2.6"))
    found = engines("engine:2.13", *visions, legacy("app", "vision"))
    assert order(found, "engine:2.6", "vision") == ["engine:2.6", "vision:0.21.0"]
    assert order(found, "vision", "engine:2.6") == ["engine:2.6", "vision:0.21.0"]
    assert order(found, "app", "engine:2.6") == ["engine:2.6", "vision:0.21.0", "app"]
    assert order(found, "engine:2.6", "vision:0.26.0") == ["engine:2.6", "vision:0.26.0"]


@pytest.mark.parametrize("requests", [("engine:2.6", "vision"), ("vision", "engine:2.6"), ("app", "engine:2.6")])
def test_guess_overrules_no_version_of_the_request(requests: tuple[str, ...]) -> None:
    """Where no version goes with what the request names, none is taken, and a version that is named is."""
    found = engines("engine:2.13", *VISIONS, legacy("app", "vision"))
    with pytest.raises(UnsatisfiableError, match=r"goes with `engine:2\.6`, which the request names") as caught:
        solve(found, requests)
    assert list(caught.value.details) == [
        "`vision:0.28.0` wants `engine:2.13`", "`vision:0.26.0` wants `engine:2.11`",
    ]  # fmt: skip
    assert "`vision:0.28.0`: it is then made with what the request names" in str(caught.value.hint)
    assert order(found, "engine:2.6", "vision:0.28.0") == ["engine:2.6", "vision:0.28.0"]


# --- a tree of upstream's format beside ours


OURS = (
    package("cuda:12.6", default=True), package("wheel:1", "cuda:12.6"), package("wheel:2", "cuda>=12"),
    package("tool", "wheel", "cuda"), package("app:1", "tool"),
)  # fmt: skip
THEIRS = (
    legacy("cuda:13.2"), legacy("wheel:3", "cuda:13.2"), chosen("wheel:4", "cuda:13.9"), legacy("app:2", "wheel:3"),
    legacy("theirs", "tool", "wheel"), legacy("mixed:1", "wheel"), legacy("mixed:2", "wheel:9"),
)  # fmt: skip


@pytest.mark.parametrize(
    "requests", [("wheel",), ("tool",), ("app",), ("cuda",), ("app", "wheel:1"), ("wheel>=1", "tool")], ids="+".join
)
def test_upstream_tree_changes_no_plan_of_the_own_tree(requests: tuple[str, ...]) -> None:
    """A tree beside this project's changes no plan of it."""
    alone, beside = of(*OURS), of(*OURS, *THEIRS)
    assert solve(beside, requests) == solve(alone, requests)


def test_upstream_tree_packages_depend_on_the_own_tree() -> None:
    """What a tree beside this project's adds depends on it."""
    beside = of(*OURS, *THEIRS)
    assert order(beside, "theirs") == ["cuda:12.6", "wheel:2", "tool", "theirs"]
    assert order(beside, "mixed") == ["cuda:12.6", "wheel:2", "mixed:1"]
    assert order(beside, "cuda:13.2") == ["cuda:13.2"]
    with pytest.raises(UnknownPackageError, match="`cuda`, which `wheel:4` asks for, has no"):
        solve(beside, ["wheel:4"])


# --- against a model of upstream's rewriting of a list of names, written from its description


def rewritten(depends: Mapping[str, Sequence[str]], requests: Sequence[str]) -> list[str]:
    """Insert what is missing before whoever needs it and move what stands too late, until nothing changes."""
    names = list(requests)
    for _ in range(250):
        before = list(names)
        names = _one_pass(depends, names)
        if names == before:
            return names
    raise RecursionError


def _one_pass(depends: Mapping[str, Sequence[str]], names: list[str]) -> list[str]:
    for name in list(names):
        for need in depends[name]:
            if need not in names:
                names.insert(names.index(name), need)
            elif names.index(need) > names.index(name):
                names.remove(need)
                names.insert(names.index(name), need)
                return names
    return names


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    count = draw(st.integers(1, 8))
    depends = {f"p{i}": [f"p{j}" for j in draw(st.permutations(range(i))) if draw(st.booleans())] for i in range(count)}
    requests = draw(st.lists(st.sampled_from(sorted(depends)), min_size=1, max_size=3, unique=True))
    return depends, requests


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(graphs())
def test_order_is_that_of_upstream(graph: tuple[dict[str, list[str]], list[str]]) -> None:
    """The set is the same as upstream's, and in the same order."""
    depends, requests = graph
    catalog = of(*(legacy(name, *needs) for name, needs in depends.items()))
    assert order(catalog, *requests) == rewritten(depends, requests)


# --- the same with versions: a pin replaces the bare name, a moved entry forgets its pin, the last match counts


def rewritten_with_pins(
    depends: Mapping[str, Sequence[str]], find: Mapping[str, str], requests: Sequence[str]
) -> list[str]:
    return upstream.order(upstream.mapped(depends, find), requests)


def test_pins_that_upstream_adds_forever_end_with_the_one_nearest_to_the_request() -> None:
    """Pins that upstream adds forever end here with the one nearest to the request."""
    depends = {
        "llvm:20": [], "llvm:22": [], "torch": ["llvm"], "tvm": ["llvm:22", "torch"], "nano": ["tvm", "llvm:20"],
    }  # fmt: skip
    find = {**{name: name for name in depends}, "llvm": "llvm:20"}
    with pytest.raises(RecursionError):
        rewritten_with_pins(depends, find, ["nano"])
    found = of(*(package(name, *needs, adaptable=True, default=name != "llvm:22") for name, needs in depends.items()))
    resolution = solve(found, ["nano"])
    assert [item.name for item in resolution.packages] == ["llvm:20", "torch", "tvm", "nano"]
    (notice,) = resolution.notices
    assert notice.startswith("`tvm` asks for `llvm:22` and gets `llvm:20`: `nano` asks for `llvm:20`")


class Tree:
    """Families with one to three versions, one of them the default, that need versions of families before them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.depends: dict[str, list[str]] = {}
        self.find: dict[str, str] = {}
        counts = draw(st.lists(st.integers(1, 3), min_size=2, max_size=6))
        for family, count in enumerate(counts):
            for version in range(1, count + 1):
                before = [i for i in draw(st.permutations(range(family))) if draw(st.booleans())]
                self.depends[f"p{family}:{version}"] = [self._spelled(draw, i, counts[i]) for i in before]
            default = draw(st.integers(1, count))
            self.find |= {f"p{family}:{i}": f"p{family}:{i}" for i in range(1, count + 1)}
            self.find[f"p{family}"] = f"p{family}:{default}"
        chosen = draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=2, unique=True))
        self.requests = [self._spelled(draw, i, counts[i]) for i in chosen]

    @staticmethod
    def _spelled(draw: st.DrawFn, family: int, count: int) -> str:
        return f"p{family}:{draw(st.integers(1, count))}" if draw(st.integers(0, 3)) == 0 else f"p{family}"

    def __repr__(self) -> str:
        return f"{self.requests} of {self.depends} where {self.find}"

    def catalog(self) -> Catalog:
        return of(
            *(
                package(name, *needs, adaptable=True, default=self.find[name.partition(":")[0]] == name)
                for name, needs in self.depends.items()
            )
        )

    def is_sound(self, names: Sequence[str]) -> bool:
        """One version of each family, every pin kept, everything after what it needs, and nothing left over."""
        chosen = {self.find[name].partition(":")[0]: self.find[name] for name in names}
        if len(chosen) < len(names):
            return False
        order = list(chosen.values())
        needed: set[str] = set()
        todo = [("", request) for request in self.requests]
        while todo:
            by, spelled = todo.pop()
            package = chosen.get(spelled.partition(":")[0])
            if package is None or (":" in spelled and package != spelled):
                return False
            if by and order.index(package) > order.index(by):
                return False
            if package not in needed:
                needed.add(package)
                todo += [(package, need) for need in self.depends[package]]
        return needed == set(order)

    def replaces(self, names: Sequence[str]) -> bool:
        """Whether a version is taken that needs something else than the default in whose place it came."""
        chosen = [self.find[name] for name in names]
        return any(self.depends[name] != self.depends[self.find[name.partition(":")[0]]] for name in chosen)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.composite(Tree)())
def test_pins_give_the_answer_of_upstream_where_that_is_sound(tree: Tree) -> None:
    """With pins the answer is upstream's where that is sound, and sound where it is not."""
    try:
        ours = order(tree.catalog(), *tree.requests)
    except UnsatisfiableError:
        pytest.fail("pins of such trees give way")
    families = [name.partition(":")[0] for name in ours]
    assert len(set(families)) == len(families)
    try:
        theirs = rewritten_with_pins(tree.depends, tree.find, tree.requests)
    except RecursionError:
        return
    if tree.is_sound(theirs):
        assert tree.is_sound(ours)
        # What a version wanted that is not in the image any more may have moved others and left its pins, there only.
        assert ours == [tree.find[name] for name in theirs] or tree.replaces(theirs)
