"""Tests stand where the code they test stands, their names begin with its subject, and a sentence says what they test.

So a reader finds the tests of a module in the listing, and those of a behavior by searching for its noun.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TESTS = ROOT_DIR / "tests"
UNIT = TESTS / "unit"
FILES = sorted(TESTS.rglob("test_*.py"))

# Directories of tests whose code stands outside of the package.
ELSEWHERE = {"tools": ROOT_DIR / "tools", "packages": ROOT_DIR / "packages", "scripts": ROOT_DIR / "scripts"}

# Files of unit tests that mirror no module, each with the reason.
EXCEPTIONS = {
    "cli/test_bad_input.py": "wrong input to every command",
    "cli/test_cases.py": "trees and command lines of other people, from the line to the plan",
    "cli/test_docker_calls.py": "how often the commands of people's command lines ask docker",
    "cli/test_docs.py": "the documentation beside the program",
    "cli/test_features.py": "the table of features beside the program",
    "cli/test_guide.py": "the pages a newcomer reads",
    "cli/test_tables.py": "the width of every command's tables",
    "doctor/test_findings.py": "all modules of checks, on captured hosts",
    "fuzz/test_readers.py": "every reader of outside data",
    "engine/test_fake.py": "the engine in memory that other tests use, of tests/fakes.py",
    "llm/test_podman.py": "`--podman` of the commands below `llm`",
    "llm/test_tutorials.py": "the tutorials of docs/",
    "scripts/test_scripts.py": "the scripts at the top of the checkout",
    "scripts/test_requirements_lock.py": "requirements.lock",
    "packages/test_defaults.py": "all recipes",
    "tools/test_help.py": "--help of all tools, benchmarks and scripts",
    "packages/test_gpu_builds.py": "all recipes: GPU code and what a plan warns of",
    "packages/test_libraries.py": "the check of compiled libraries that recipes share",
    "packages/test_recipes.py": "all recipes",
    "packages/test_recipes_cuda.py": "the recipes of packages/cuda",
    "packages/test_recipes_llm.py": "the recipes of packages/llm",
    "packages/test_recipes_rules.py": "all recipes",
    "packages/test_requirements.py": "versions that recipes tie, and the check of them that recipes share",
    "recipes/upstream/test_order.py": "the resolver on trees of upstream",
    "recipes/upstream/test_rules.py": "the format of upstream, rule by rule",
    "recipes/upstream/test_work.py": "how much work loading and solving do",
}

# Subjects that begin with such a word: functions, modules and rules of this name.
SUBJECTS = ("in_use", "two_defaults", "why", "with_jobs", "with_key", "with_value")

# A name that begins with one of these says something of a subject that comes later.
NO_SUBJECTS = {
    "a", "an", "the", "this", "that", "these", "there", "it", "its", "and", "or", "but", "no", "not", "nothing",
    "nobody", "none", "every", "each", "all", "any", "some", "several", "both", "either", "neither", "other",
    "another", "only", "what", "which", "who", "whom", "whose", "where", "when", "why", "how", "if", "with",
    "without", "of", "in", "on", "at", "by", "for", "from", "to", "into", "after", "before", "behind", "below",
    "above", "under", "over", "between", "among", "beside", "while", "until", "unless", "as", "than", "our", "ours",
    "we", "us", "two", "three", "four", "five", "ten", "twenty", "so", "such", "somebody", "something",
    "everything", "anything",
}  # fmt: skip


def mirrored(path: Path) -> bool:
    """Whether `unit/room/test_module.py` or `unit/room/test_module_aspect.py` has its module or subpackage."""
    relative = path.relative_to(UNIT)
    room = relative.parts[0]
    if room in ELSEWHERE and len(relative.parts) > 1:
        place = ELSEWHERE[room].joinpath(*relative.parts[1:-1])
    else:
        place = ROOT_DIR.joinpath("jetson_containers", *relative.parts[:-1])
    words = path.stem.removeprefix("test_").split("_")
    names = ["_".join(words[: count + 1]) for count in range(len(words))]
    return any((place / f"{name}.py").is_file() or (place / name).is_dir() for name in names)


def functions_of(path: Path) -> Iterator[ast.FunctionDef]:
    """The test functions of a file, those of its classes too."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for member in members:
            if isinstance(member, ast.FunctionDef) and member.name.startswith("test_"):
                yield member


def faults(path: Path) -> list[str]:
    """What is wrong with the names and docstrings of a file's tests."""
    found = []
    for test in functions_of(path):
        docstring = ast.get_docstring(test)
        if not docstring or not docstring.rstrip().endswith((".", "?", "!")):
            found.append(f"{test.name}: its first statement is not a sentence that says what it tests")
        name = test.name.removeprefix("test_")
        if name.split("_")[0] in NO_SUBJECTS and not name.startswith(SUBJECTS):
            found.append(f"{test.name}: the name does not begin with what is tested")
    return found


def test_unit_test_files_mirror_the_modules() -> None:
    """Each file of unit tests has the path of a module or subpackage, or a reason why not."""
    alone = {str(path.relative_to(UNIT)) for path in UNIT.rglob("test_*.py") if not mirrored(path)}
    assert sorted(alone - set(EXCEPTIONS)) == []
    assert sorted(set(EXCEPTIONS) - alone) == [], "an exception that is not needed any more"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_names_of_tests_begin_with_the_subject_and_docstrings_are_sentences(path: Path) -> None:
    """Each test has a name that begins with its subject and a docstring that is a sentence."""
    assert faults(path) == []


def test_names_without_subject_and_missing_docstrings_are_found(tmp_path: Path) -> None:
    """A name that begins with another word, and a test without a sentence, are found."""
    file = tmp_path / "test_x.py"
    file.write_text(
        'def test_a_thing():\n    """Thing."""\n\n\nclass TestX:\n    def test_thing(self):\n        pass\n'
    )
    assert [fault.partition(":")[0] for fault in faults(file)] == ["test_a_thing", "test_thing"]
    assert not mirrored(UNIT / "core" / "test_nonesuch.py")
    assert mirrored(UNIT / "core" / "test_files_on_nfs.py")
