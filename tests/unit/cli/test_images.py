"""`images` and `prune`: what is ours is listed and tidied, and what a user built on it is left alone."""

from __future__ import annotations

import io
import json

import pytest

from jetson_containers.cli import images
from jetson_containers.cli.app import App
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError
from jetson_containers.images import labels
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine

CPU = detect.parse_target("cpu")
STAGE = "jetson-containers/stage:numpy-0123"


def labeled(role: str, name: str) -> dict[str, str]:
    return labels.make(role=role, name=name, key=f"sha256:{name}", packages=("numpy",), platform=CPU)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add_image(STAGE, labeled(labels.STAGE, STAGE))
    engine.add_image("numpy:2.2.6-x86_64-cpu", labeled(labels.FINAL, "numpy:2.2.6-x86_64-cpu"))
    engine.add_image("robot:mine", labeled(labels.STAGE, STAGE))  # FROM the stage: its labels are inherited
    engine.add_image("jetson-containers/base:debian12-amd64", {labels.ROLE: labels.BASE})
    engine.add_image("postgres:16")
    return engine


ARTIFACT = "jetson-containers/stage:llama-cpp-4567"


def test_prune_keeps_what_was_compiled_without_all(engine: FakeEngine) -> None:
    """Pruning keeps what was compiled, unless `--all` is given."""
    engine.add_image(ARTIFACT, labeled(labels.ARTIFACT, ARTIFACT))
    engine.add_image(f"{ARTIFACT}.old", {**labeled(labels.ARTIFACT, ARTIFACT), "before": "it was replaced"})
    engine.add_image(f"{STAGE}.old", {**labeled(labels.STAGE, STAGE), "before": "it was replaced"})
    asked = call(images.prune, engine, "--all", "--dry-run")
    assert sorted(asked["removed"]) == sorted([STAGE, f"{STAGE}.old", ARTIFACT, f"{ARTIFACT}.old"])  # type: ignore[index]
    done = call(images.prune, engine)
    assert sorted(done["removed"]) == sorted([STAGE, f"{STAGE}.old", f"{ARTIFACT}.old"])  # type: ignore[index]
    assert engine.image(ARTIFACT) is not None
    assert call(images.prune, engine, "--all") == {"removed": [ARTIFACT], "dry_run": False}
    kept = [call[1] for call in engine.calls if call[0] == "untag" and "keep_parents" in call]
    assert sorted(kept) == sorted([STAGE, f"{STAGE}.old", f"{ARTIFACT}.old"])  # the legacy builder's cache stays


@pytest.mark.parametrize("known", [True, False])
def test_df_says_what_all_layers_take_where_that_is_known(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """Df says what all layers take where that is known."""
    monkeypatch.setattr(engine, "layers_size", lambda: 3_000_000_000 if known else None)
    app = App({})
    app.__dict__.update(engine=engine)
    images.df.main([], obj=app, standalone_mode=False)
    said = capsys.readouterr().err
    assert "engine: /var/lib/docker" in said
    assert (" of layers, each counted once" in said) is known


def test_prune_help_says_what_stays() -> None:
    """The help of `prune` says what stays."""
    text = images.prune.get_help(images.prune.make_context("prune", [], obj=App({})))
    assert "compiled artifacts stay" in text
    assert "--all" in text


def call(command: object, engine: FakeEngine, *argv: str) -> object:
    app = App({"as_json": True})
    app.__dict__["engine"] = engine
    out = io.StringIO()
    app.__dict__["console"] = Console(as_json=True, out=out, err=io.StringIO())
    command.main([*argv], standalone_mode=False, obj=app)  # type: ignore[attr-defined]
    return json.loads(out.getvalue())


def test_images_lists_finals_and_with_all_the_stages_too(engine: FakeEngine) -> None:
    """`images` lists final images, with `--all` those of stages too."""
    assert [row["image"] for row in call(images.images, engine)] == ["numpy:2.2.6-x86_64-cpu"]  # type: ignore[attr-defined]
    everything = {(row["image"], row["role"]) for row in call(images.images, engine, "--all")}  # type: ignore[attr-defined]
    assert everything == {
        (STAGE, "stage"),
        ("numpy:2.2.6-x86_64-cpu", "final"),
        ("jetson-containers/base:debian12-amd64", "base"),
    }


def test_prune_removes_stages_and_never_what_a_user_built_on_one(engine: FakeEngine) -> None:
    """Pruning removes stages and never what a user built on one."""
    assert call(images.prune, engine, "--dry-run") == {"removed": [STAGE], "dry_run": True}
    assert engine.image(STAGE) is not None
    assert call(images.prune, engine) == {"removed": [STAGE], "dry_run": False}
    assert engine.image(STAGE) is None
    assert engine.image("robot:mine") is not None
    assert engine.image("numpy:2.2.6-x86_64-cpu") is not None


def test_prune_goes_on_where_a_container_uses_an_image(engine: FakeEngine) -> None:
    """An image in use stays with a warning; what comes after it is removed all the same."""
    other = "jetson-containers/stage:python-89ab"
    engine.add_image(other, labeled(labels.STAGE, other))
    engine.in_use = {STAGE}
    assert call(images.prune, engine) == {"removed": [other], "dry_run": False}
    assert engine.image(STAGE) is not None


def test_flatten_keeps_the_labels_that_are_still_true(engine: FakeEngine) -> None:
    """The platform and what others wrote stay; name, key, role, packages and tests are of the other image."""
    name = "numpy:2.2.6-x86_64-cpu"
    engine.add_image(name, {**labeled(labels.FINAL, name), "maintainer": "me"})
    assert call(images.flatten, engine, name, "flat:1") == {"image": "flat:1"}
    made = engine.image("flat:1")
    assert made is not None
    kept = made.labels
    assert kept["maintainer"] == "me"
    assert kept[labels.PLATFORM] == labeled(labels.FINAL, name)[labels.PLATFORM]
    assert [key for key in kept if key.startswith(labels.PREFIX)] == [labels.PLATFORM]
    assert labels.REF_NAME not in kept
    assert labels.OCI + "version" not in kept
    assert not labels.is_ours(made.references, kept)


def test_flatten_looks_for_the_image_before_it_says_anything(engine: FakeEngine) -> None:
    """An image that is not here is refused before anything is said to be written."""
    app, err = App(), io.StringIO()
    app.__dict__["engine"] = engine
    app.__dict__["console"] = Console(out=io.StringIO(), err=err, env={})
    with pytest.raises(NotReadyError, match="no image `missing:1`"):
        images.flatten.main(["missing:1", "flat:1"], standalone_mode=False, obj=app)
    assert err.getvalue() == ""
