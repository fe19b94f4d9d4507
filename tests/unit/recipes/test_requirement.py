"""Entries of `depends:` and the versions that they accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.recipes.package import Dependency


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cmake", Dependency(family="cmake")),
        ("pytorch:2.8", Dependency(family="pytorch", version="2.8")),
        ("ros:humble-desktop", Dependency(family="ros", version="humble-desktop")),
        ("pytorch>=2.4", Dependency(family="pytorch", version=None, specifier=">=2.4")),
        ("pytorch >= 2.4 , < 3", Dependency(family="pytorch", version=None, specifier=">=2.4,<3")),
        ("a==1.*", Dependency(family="a", version=None, specifier="==1.*")),
        ("a~=1.2", Dependency(family="a", version=None, specifier="~=1.2")),
        ("l4t-pytorch", Dependency(family="l4t-pytorch")),
        (" a ", Dependency(family="a")),
    ],
)
def test_dependency_is_a_name_a_version_or_a_range(text: str, expected: Dependency) -> None:
    """Dependencies are names, versions or ranges."""
    assert Dependency.parse(text) == expected
    assert Dependency.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "a b", "a:", ":1", "a>=", "a>=b", "a:1>=2", "-a", "a/b", "a*", "=1", "a=1"])
def test_dependency_of_another_form_is_refused(text: str) -> None:
    """Any other form is refused."""
    with pytest.raises(RequirementSyntaxError):
        Dependency.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a@1.2", "did you mean `a:1.2`?"),
        ("a=v1.2", "did you mean `a:1.2`?"),
        ("a@nightly", "did you mean `a:nightly`?"),
        ("a 1.2", "did you mean `a:1.2`?"),
        ("a, b9016", "did you mean `a:b9016`?"),
        ("a/2", "did you mean `a:2`?"),
        ("a b", "several names are separate words, without quotes or commas: `a b`"),
        ("a,b:1, c>=2", "several names are separate words, without quotes or commas: `a b:1 'c>=2'`"),
        ("someone/a", "did you mean `a`?"),
        ("some/folder/a/", "did you mean `a`?"),
        ("registry.example/someone/a:1.2", "did you mean `a:1.2`?"),
        ("a/", "did you mean `a`?"),
        ("a:", "write `name`, `name:version` or `name>=version`"),
        ("", "a variable may be empty"),
    ],
)
def test_dependency_of_another_form_gets_a_hint_of_what_is_meant(text: str, hint: str) -> None:
    """A version in another spelling, several names in one and a name behind a folder are told apart."""
    with pytest.raises(RequirementSyntaxError) as caught:
        Dependency.parse(text)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "version", "accepted"),
    [
        ("a>=2.4", "2.10", True),
        ("a>=2.4", "2.3", False),
        ("a>=2.4", "2.5.0a0+git", True),
        ("a>=2.4", "b9016", False),
        ("a>=2.4", None, False),
        ("a", None, True),
        ("a", "b9016", True),
    ],
)
def test_dependency_range_accepts_what_pep_440_says(text: str, version: str | None, accepted: bool) -> None:
    """A range accepts what PEP 440 says."""
    assert Dependency.parse(text).accepts(version) is accepted


NAMES = st.from_regex(r"[a-z][a-z0-9_.+-]{0,8}", fullmatch=True)


@given(NAMES, st.none() | NAMES)
def test_dependency_of_any_name_and_version_is_written_as_read(family: str, version: str | None) -> None:
    """Every name and version is written as it was read."""
    dependency = Dependency(family=family, version=version)
    assert Dependency.parse(str(dependency)) == dependency
