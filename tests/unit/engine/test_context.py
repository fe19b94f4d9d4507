"""What a build reads is laid out beside the recipe, never in it."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import ConfigError, NotReadyError, UsageError
from jetson_containers.dockerfile import inject
from jetson_containers.engine.context import PREFIX, STALE, prepared, serve, stage, sweep
from jetson_containers.engine.interface import Builder, BuildRequest
from tests.fakes import CAPABILITIES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    context = tmp_path / "recipe"
    (context / "sub").mkdir(parents=True)
    (context / "install.sh").write_text("#!/bin/sh\n")
    (context / "install.sh").chmod(0o755)
    (context / "link").symlink_to("install.sh")
    (context / ".dockerignore").write_text("*.md")
    return context


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("CERT")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    (directory / "a.whl").write_bytes(b"x")
    return directory


RUN = "FROM scratch\nRUN true\n"


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_prepared_plain_build_reads_the_directory_of_the_recipe(recipe: Path) -> None:
    """A plain build reads the recipe's own directory."""
    before = snapshot(recipe)
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1"), Builder.LEGACY) as ready:
        assert (ready.context, ready.build_args, ready.request.secrets) == (recipe, {"no_proxy": ""}, ())
        assert ready.dockerfile.read_text() == RUN
        assert recipe not in ready.dockerfile.parents
        temporary = ready.dockerfile.parent
    assert not temporary.exists()
    assert snapshot(recipe) == before


def test_prepared_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    """What a killed process left is removed later."""
    gone, mine, other = (tmp_path / f"{PREFIX}{pid}-x" for pid in (2**22 + 1, os.getpid(), "nobody"))
    for directory in (gone, mine, other):
        (directory / "context").mkdir(parents=True)
    sweep(tmp_path)
    assert gone.exists()
    sweep(tmp_path, now=gone.stat().st_mtime + STALE + 1)
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])


def test_prepared_removes_what_was_left_while_the_clock_was_wrong(tmp_path: Path) -> None:
    """A folder of ten years ahead is not left for as long."""
    gone = tmp_path / f"{PREFIX}{2**22 + 1}-x"
    gone.mkdir()
    sweep(tmp_path, now=gone.stat().st_mtime - 3650 * 86400)
    assert not gone.exists()


def test_prepared_ca_bundle_is_in_the_script_where_the_builder_has_secrets(recipe: Path, bundle: Path) -> None:
    """A CA bundle is part of the secret script, and no argument names it."""
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", ca_bundle=bundle), Builder.BUILDKIT) as ready:
        ((name, file),) = ready.request.secrets
        assert name == inject.MIRRORS_SECRET_ID
        assert "CERT" in file.read_text()
        assert ready.context == recipe
        assert ready.build_args == {}


PYTHON = "FROM scratch\nRUN <<EOF\n#!/usr/bin/python3\nprint(1)\nEOF\n"


def test_prepared_ca_bundle_is_a_secret_of_its_own_for_a_script_in_another_language(recipe: Path, bundle: Path) -> None:
    """A command that cannot read the script gets the bundle as a file, and variables as arguments."""
    request = BuildRequest(context=recipe, dockerfile=PYTHON, tag="a:1", ca_bundle=bundle)
    with prepared(request, Builder.BUILDKIT) as ready:
        (own, *others) = ready.request.secrets
        assert own == (inject.CA_SECRET_ID, bundle)
        texts = {name: file.read_text() for name, file in others}
        assert texts == {
            "jetson_ca_wgetrc": f"ca_certificate = {inject.CA_TARGET}\n",
            "jetson_ca_apt_conf": f'Acquire::https::CAInfo "{inject.CA_TARGET}";\n',
        }
        assert ready.build_args["PIP_CERT"] == inject.CA_TARGET


@pytest.mark.parametrize("target", ["", "stage-1"])
@pytest.mark.parametrize(
    "text",
    [RUN, 'FROM scratch\nARG MAX_JOBS\nRUN make\nRUN ["make", "all"]\nFROM scratch AS b\nRUN <<EOF\nmake\nEOF\n'],
)
def test_prepared_text_is_the_same_whatever_is_configured(recipe: Path, bundle: Path, text: str, target: str) -> None:
    """Mirrors, an index and a CA bundle, or none of them, change neither the text nor an argument."""
    plain = BuildRequest(context=recipe, dockerfile=text, tag="a:1", jobs=2)
    others = [
        replace(plain, ca_bundle=bundle),
        replace(plain, mirrors=MIRRORS, jobs=5),
        replace(plain, index_url="https://i.invalid/simple", ca_bundle=bundle, mirrors=MIRRORS),
    ]
    seen = set()
    for request in (plain, *others):
        with prepared(request, Builder.BUILDX, target=target) as ready:
            ids = tuple(name for name, _ in ready.request.secrets)
            seen.add((ready.dockerfile.read_text(), str(ready.build_args), ids))
    assert len(seen) == 1


def test_prepared_command_without_a_shell_is_left_alone_unless_something_is_configured(
    recipe: Path, bundle: Path
) -> None:
    """A stage whose commands are all in JSON form may have no shell to read a script."""
    text = 'FROM scratch\nRUN ["/prog"]\n'
    request = BuildRequest(context=recipe, dockerfile=text, tag="a:1")
    with prepared(request, Builder.BUILDX) as ready:
        assert (ready.dockerfile.read_text(), ready.request.secrets) == (text, ())
    with prepared(replace(request, ca_bundle=bundle), Builder.BUILDX) as ready:
        assert inject.reads_script(ready.dockerfile.read_text())


def test_prepared_text_reads_no_script_where_secrets_are_slow_and_nothing_is_configured(
    recipe: Path, bundle: Path
) -> None:
    """An engine that reads a whole image for each secret is given one only where there is something in it."""
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1")
    with prepared(request, Builder.BUILDX, slow_secrets=True) as ready:
        assert (ready.dockerfile.read_text(), ready.request.secrets) == (RUN, ())
    with prepared(replace(request, ca_bundle=bundle), Builder.BUILDX, slow_secrets=True) as ready:
        assert inject.reads_script(ready.dockerfile.read_text())


@pytest.mark.parametrize(
    ("version", "slow"),
    [
        ("20.10.24+dfsg1", False),
        ("25.0.3", False),
        ("26.0.0", True),
        ("26.1.5+dfsg1", True),
        ("27.2.1", True),
        ("27.3.0", False),
        ("28.2.2", False),
        ("unknown", False),
    ],
)
def test_secrets_are_slow_in_these_versions(version: str, slow: bool) -> None:
    """The legacy builder has none, whatever the version."""
    assert replace(CAPABILITIES, builder=Builder.BUILDX, server_version=version).slow_secrets is slow
    assert not replace(CAPABILITIES, builder=Builder.LEGACY, server_version=version).slow_secrets


def test_prepared_ca_bundle_is_copied_into_a_staged_context_where_not(recipe: Path, bundle: Path) -> None:
    """A CA bundle is copied into a staged context where the builder has no secrets."""
    before = snapshot(recipe)
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", ca_bundle=bundle), Builder.LEGACY) as ready:
        copied = ready.context / inject.CA_COPY_SOURCE
        assert copied.read_text() == "CERT"
        assert copied.with_name("wgetrc").read_text() == f"ca_certificate = {inject.CA_COPY_TARGET}\n"
        assert copied.stat().st_mode & 0o777 == 0o644
        assert (ready.context / "link").is_symlink()
        assert os.access(ready.context / "install.sh", os.X_OK)
        assert (ready.context / ".dockerignore").read_text() == "*.md\n!.jetson\n!.jetson/**\n"
        assert ready.request.secrets == ()
    assert snapshot(recipe) == before


@pytest.mark.parametrize("builder", list(Builder))
def test_prepared_added_texts_are_in_a_staged_context(recipe: Path, builder: Builder) -> None:
    """A text that stands in no tree is in a staged context."""
    before = snapshot(recipe)
    added = {"install.sh": "other", "deep/er/new": "text"}
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", added=added), builder) as ready:
        assert {name: (ready.context / name).read_text() for name in added} == added
        assert ready.context != recipe
    assert snapshot(recipe) == before


def test_prepared_added_text_does_not_follow_a_link_out_of_the_context(recipe: Path, tmp_path: Path) -> None:
    """A text does not follow a link out of the context."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (recipe / "away").symlink_to(outside)
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", added={"away/new": "text"})
    with pytest.raises(ConfigError, match="outside of the build context"), prepared(request, Builder.BUILDKIT):
        pass
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("builder", list(Builder))
def test_prepared_shared_files_are_in_a_staged_context(recipe: Path, tmp_path: Path, builder: Builder) -> None:
    """Every builder finds them below `.jetson/shared`, executable where they are, whatever `.dockerignore` says."""
    before = snapshot(recipe)
    (tmp_path / "fetch.sh").write_text("fetch")
    (tmp_path / "fetch.sh").chmod(0o755)
    (recipe / ".jetson").mkdir()
    (recipe / ".jetson" / "own").write_text("takes no part")
    shared = {".jetson/shared/git/fetch.sh": tmp_path / "fetch.sh"}
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", shared=shared), builder) as ready:
        staged = ready.context / ".jetson/shared/git/fetch.sh"
        assert staged.read_text() == "fetch"
        assert os.access(staged, os.X_OK)
        assert not (ready.context / ".jetson/own").exists()
        assert (ready.context / ".dockerignore").read_text().endswith("!.jetson\n!.jetson/**\n")
    assert snapshot(recipe) == {**before, ".jetson/own": b"takes no part"}


def test_prepared_wheels_are_staged_where_they_can_be_mounted(recipe: Path, wheels: Path) -> None:
    """Wheels are staged where they can be mounted."""
    (wheels / "b.whl").symlink_to(wheels / "a.whl")
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", wheelhouse=wheels), Builder.BUILDX) as ready:
        staged = ready.context / inject.WHEELS_SOURCE
        assert snapshot(staged) == {"a.whl": b"x", "b.whl": b"x"}
        assert not (staged / "b.whl").is_symlink()
        assert ready.build_args == {"PIP_FIND_LINKS": inject.WHEELS_TARGET}


def test_prepared_wheels_are_served_on_loopback_where_they_cannot(recipe: Path, wheels: Path) -> None:
    """Wheels are served on loopback where they cannot be mounted."""
    request = BuildRequest(
        context=recipe, dockerfile=RUN, tag="a:1", wheelhouse=wheels, build_args={"http_proxy": "http://proxy:3128"}
    )
    with prepared(request, Builder.LEGACY) as ready:
        url = ready.build_args["PIP_FIND_LINKS"]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as answer:
            assert b'href="a.whl"' in answer.read()
        assert ready.build_args["no_proxy"] == "127.0.0.1"
        assert ready.context == recipe
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_wheelhouse_address_stays_the_same(wheels: Path) -> None:
    """The address of a wheelhouse stays the same."""
    with serve(wheels) as first, serve(wheels) as other:
        assert other != first
    with serve(wheels) as again:
        assert again == first


@pytest.mark.parametrize(("network", "local"), [(None, True), ("bridge", True), ("host", False)])
def test_prepared_wheels_that_cannot_be_reached_are_refused(
    recipe: Path, wheels: Path, network: str | None, local: bool
) -> None:
    """Wheels that cannot be reached are refused."""
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", wheelhouse=wheels, network=network)
    with pytest.raises(NotReadyError, match="wheelhouse"), prepared(request, Builder.LEGACY, local=local):
        pass


@pytest.mark.parametrize("what", ["context", "ca_bundle", "wheelhouse"])
def test_prepared_names_a_missing_path(recipe: Path, what: str) -> None:
    """A path that is missing is named."""
    values = {"context": recipe, "dockerfile": RUN, "tag": "a:1", what: recipe / "none"}
    with pytest.raises(ConfigError, match="none"), prepared(BuildRequest(**values), Builder.LEGACY):  # type: ignore[arg-type]
        pass


def test_prepared_index_is_an_argument_without_a_value_in_the_image(recipe: Path) -> None:
    """Without mounts a package index is an argument without a value in the image."""
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", index_url="https://index.example/simple")
    with prepared(request, Builder.LEGACY) as ready:
        assert ready.build_args == {"PIP_INDEX_URL": "https://index.example/simple", "no_proxy": ""}
        assert "index.example" not in ready.dockerfile.read_text()


@pytest.mark.parametrize("target", ["", "stage-1"])
def test_prepared_index_is_in_no_cache_key_where_files_can_be_mounted(recipe: Path, target: str) -> None:
    """With mounts two indexes give the same text and arguments; the commands read the address from a secret."""
    seen = set()
    for number in (1, 2):
        url = f"https://index{number}.example/simple"
        request = BuildRequest(
            context=recipe, dockerfile=RUN, tag="a:1", index_url=url, variables={"UV_DEFAULT_INDEX": url, "A": "b"}
        )
        with prepared(request, Builder.BUILDKIT, target=target) as ready:
            seen.add((ready.dockerfile.read_text(), str(ready.build_args), str(ready.request.variables)))
            scripts = [path.read_text() for name, path in ready.request.secrets if name == inject.MIRRORS_SECRET_ID]
            assert f"PIP_INDEX_URL={url}" in scripts[0]
            assert f"UV_DEFAULT_INDEX={url}" in scripts[0]
    assert len(seen) == 1
    assert "example" not in str(seen)


@pytest.mark.parametrize("builder", list(Builder))
def test_prepared_refuses_an_index_with_credentials(recipe: Path, builder: Builder) -> None:
    """An index URL with credentials is refused by every builder."""
    request = BuildRequest(
        context=recipe, dockerfile=RUN, tag="a:1", index_url="https://user:word@index.example/simple"
    )
    with pytest.raises(UsageError, match="credentials"), prepared(request, builder):
        pass


@pytest.mark.parametrize("builder", list(Builder))
def test_prepared_dockerfile_reads_its_jobs_where_it_asks_for_them(recipe: Path, builder: Builder) -> None:
    """A recipe reads its number of jobs where it asks for it."""
    text = "FROM scratch\nARG MAX_JOBS\nRUN make\n"
    texts = set()
    for jobs in (0, 1, 2):
        with prepared(BuildRequest(context=recipe, dockerfile=text, tag="a:1", jobs=jobs), builder) as ready:
            assert "MAX_JOBS" not in {*ready.build_args, *ready.request.build_args}
            texts.add(ready.dockerfile.read_text())
    if builder is Builder.LEGACY:
        assert texts == {text, inject.with_jobs(text)}
    else:
        assert texts == {inject.with_mirrors(text), inject.with_mirrors(inject.with_jobs(text))}


def test_stage_shares_the_files_where_it_can(recipe: Path, tmp_path: Path) -> None:
    """Staging shares the files by hard links where it can."""
    stage(recipe, tmp_path / "copy")
    assert (tmp_path / "copy/install.sh").stat().st_ino == (recipe / "install.sh").stat().st_ino


MIRRORS = {"git": {"https://code.invalid/": "https://m.invalid/"}, "python": "https://m.invalid/simple"}


def test_prepared_mirrors_are_a_secret_that_no_text_names(recipe: Path) -> None:
    """The Dockerfile and the arguments hold no address of a mirror, only the file that commands read."""
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", mirrors={**MIRRORS, "npm": "https://m.invalid/"})
    with prepared(request, Builder.BUILDX) as ready:
        assert "m.invalid" not in ready.dockerfile.read_text() + str(ready.build_args)
        ((name, file),) = ready.request.secrets
        assert name == inject.MIRRORS_SECRET_ID
        assert file.read_text().count("m.invalid") == 4


def test_prepared_mirrors_without_mounts_are_arguments_for_git_and_pip(recipe: Path) -> None:
    """The legacy builder has build arguments alone: git and pip take theirs, other kinds are refused."""
    with prepared(BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", mirrors=MIRRORS), Builder.LEGACY) as ready:
        assert ready.build_args["PIP_INDEX_URL"] == "https://m.invalid/simple"
        assert "ARG GIT_CONFIG_PARAMETERS=" in ready.dockerfile.read_text()
    request = BuildRequest(context=recipe, dockerfile=RUN, tag="a:1", mirrors={"crates": "https://m.invalid/"})
    with pytest.raises(NotReadyError, match="crates"), prepared(request, Builder.LEGACY):
        pass
