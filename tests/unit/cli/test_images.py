"""`images` and `prune`: what is ours is listed and tidied, and what a user built on it is left alone."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.state import BuildState
from jetson_containers.cli import images, outdated, sbom, verify
from jetson_containers.cli.app import App
from jetson_containers.core.console import Console
from jetson_containers.core.errors import ConfigError, NothingMatchedError, NotReadyError, UsageError
from jetson_containers.engine.interface import EngineUsage
from jetson_containers.images import labels
from jetson_containers.plan import lock
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import click

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
    assert call(images.prune, engine, "--all")["removed"] == [ARTIFACT]  # type: ignore[index]
    kept = [call[1] for call in engine.calls if call[0] == "untag" and "keep_parents" in call]
    assert sorted(kept) == sorted([STAGE, f"{STAGE}.old", f"{ARTIFACT}.old"])  # the legacy builder's cache stays


def test_prune_keeps_what_a_lock_names(engine: FakeEngine, tmp_path: Path) -> None:
    """Pruning with `--keep LOCK` leaves the stages and artifacts of that lock; a file that is not a lock is refused."""
    other = "jetson-containers/stage:python-89ab"
    engine.add_image(other, labeled(labels.STAGE, other))
    engine.add_image(ARTIFACT, labeled(labels.ARTIFACT, ARTIFACT))
    path = tmp_path / "robot.lock"
    locked(path, STAGE, ARTIFACT)
    assert call(images.prune, engine, "--all", "--keep", str(path))["removed"] == [other]  # type: ignore[index]
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is not a lock"):
        call(images.prune, engine, "--keep", str(path))
    assert engine.image(STAGE) is not None


def locked(path: Path, *names: str) -> str:
    """A lock whose stages have the keys of `labeled`."""
    request = {name: kind() for name, kind in lock.REQUEST.items()}
    stages = [{"package": "numpy", "key": f"sha256:{name}"} for name in names]
    written = {"schema": lock.SCHEMA, "request": request, "base": {"reference": "b", "digest": ""}, "stages": stages}
    path.write_text(json.dumps({**written, "tool": "0", "final": "f", "platform": {}}))
    return str(path)


def test_prune_keeps_what_any_of_several_locks_names(engine: FakeEngine, tmp_path: Path) -> None:
    """What one lock does not name another may; their order changes nothing, and each counts for `--all` too."""
    other = "jetson-containers/stage:python-89ab"
    engine.add_image(other, labeled(labels.STAGE, other))
    engine.add_image(ARTIFACT, labeled(labels.ARTIFACT, ARTIFACT))
    first, second = locked(tmp_path / "a.lock", STAGE), locked(tmp_path / "b.lock", other, ARTIFACT)
    for locks in ((first, second), (second, first)):
        kept = [word for path in locks for word in ("--keep", path)]
        assert call(images.prune, engine, "--all", *kept)["removed"] == []  # type: ignore[index]
    assert call(images.prune, engine, "--all", "--keep", first)["removed"] == [ARTIFACT, other]  # type: ignore[index]


def test_prune_beside_another_prune_takes_what_is_left(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that another process removed meanwhile is no error, and what comes after it goes."""
    other = "jetson-containers/stage:python-89ab"
    engine.add_image(other, labeled(labels.STAGE, other))
    seen = engine.images()
    monkeypatch.setattr(engine, "images", lambda: seen)
    engine.untag(STAGE)
    assert call(images.prune, engine)["removed"] == [other]  # type: ignore[index]


def test_prune_of_an_engine_that_refuses_is_an_error(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still there after a refusal is not passed over in silence."""

    def refuse(_name: str, **_options: bool) -> None:
        raise NotReadyError("the engine is ending")

    monkeypatch.setattr(engine, "untag", refuse)
    with pytest.raises(NotReadyError, match="the engine is ending"):
        call(images.prune, engine)


def test_prune_leaves_the_image_of_a_server_and_what_it_stands_on(engine: FakeEngine) -> None:
    """A server whose image has no name but its stage's keeps it, with `--all` too; models are not looked at."""
    engine.add_image(ARTIFACT, labeled(labels.ARTIFACT, ARTIFACT))
    engine.in_use = {STAGE, ARTIFACT}
    assert call(images.prune, engine, "--all", "--build-cache")["removed"] == []  # type: ignore[index]
    assert {STAGE, ARTIFACT, "numpy:2.2.6-x86_64-cpu"} <= engine.store.keys()


@pytest.mark.parametrize("known", [True, False])
def test_df_says_what_all_layers_take_where_that_is_known(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """Df says what all layers take where that is known."""
    usage = EngineUsage(layers=3_000_000_000, build_cache=7, idle_cache=0) if known else None
    monkeypatch.setattr(engine, "usage", lambda: usage)
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
    assert call(images.prune, engine, "--dry-run")["removed"] == [STAGE]  # type: ignore[index]
    assert engine.image(STAGE) is not None
    assert call(images.prune, engine)["removed"] == [STAGE]  # type: ignore[index]
    assert engine.image(STAGE) is None
    assert engine.image("robot:mine") is not None
    assert engine.image("numpy:2.2.6-x86_64-cpu") is not None


def test_prune_goes_on_where_a_container_uses_an_image(engine: FakeEngine) -> None:
    """An image in use stays with a warning; what comes after it is removed all the same."""
    other = "jetson-containers/stage:python-89ab"
    engine.add_image(other, labeled(labels.STAGE, other))
    engine.in_use = {STAGE}
    assert call(images.prune, engine)["removed"] == [other]  # type: ignore[index]
    assert engine.image(STAGE) is not None


def test_prune_says_the_bytes_that_images_share_with_no_other(engine: FakeEngine) -> None:
    """A dry run counts what no other image keeps, a run what the engine's layers take less."""
    stage, final = engine.image(STAGE), engine.image("numpy:2.2.6-x86_64-cpu")
    assert stage is not None
    assert final is not None
    engine.store[STAGE] = replace(stage, size=1000)
    engine.layer_chains = {stage.id: ("base", "numpy"), final.id: ("base", "numpy", "top")}
    assert call(images.prune, engine, "--dry-run")["bytes"] == 0  # type: ignore[index]
    engine.layer_chains = {stage.id: ("base", "numpy"), final.id: ("other",)}
    assert call(images.prune, engine, "--dry-run")["bytes"] == 1000  # type: ignore[index]
    assert call(images.prune, engine)["bytes"] == 1000  # type: ignore[index]


def test_prune_counts_no_image_that_keeps_a_name(engine: FakeEngine) -> None:
    """An image with a name of the user's own stays when its stage name goes."""
    image = engine.image(STAGE)
    assert image is not None
    kept = replace(image, size=1000, references=(STAGE, "mine:1"))
    engine.store[STAGE] = engine.store["mine:1"] = kept
    asked = call(images.prune, engine, "--dry-run")
    assert (asked["removed"], asked["bytes"]) == ([STAGE], 0)  # type: ignore[index]


def test_prune_leaves_what_a_build_is_at_work_on(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stage whose lock is held stays until the build has ended."""
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path))
    with BuildState(tmp_path / "build").lock(f"sha256:{STAGE}"):
        assert call(images.prune, engine)["removed"] == []  # type: ignore[index]
    assert call(images.prune, engine)["removed"] == [STAGE]  # type: ignore[index]


def test_prune_leaves_what_a_running_build_stands_on(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stage below the one that is built now is not held by a lock; the claim of the run keeps it."""
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path))
    with BuildState(tmp_path / "build").claim([f"sha256:{STAGE}"]):
        assert call(images.prune, engine)["removed"] == []  # type: ignore[index]
    assert call(images.prune, engine)["removed"] == [STAGE]  # type: ignore[index]


def test_prune_removes_the_build_cache_only_when_asked(engine: FakeEngine) -> None:
    """BuildKit's cache is what makes the next build fast: it goes with an option of its own."""
    engine.build_cache = 500
    assert "build_cache" not in call(images.prune, engine)  # type: ignore[operator]
    assert call(images.prune, engine, "--build-cache", "--dry-run")["build_cache"] == 500  # type: ignore[index]
    assert engine.build_cache == 500
    assert call(images.prune, engine, "--build-cache")["build_cache"] == 500  # type: ignore[index]
    assert engine.build_cache == 0


def test_prune_removes_logs_of_earlier_builds_when_asked(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The latest run stays, one that has not ended too, and so does what is no run of ours."""
    monkeypatch.setenv("JETSON_CONTAINERS_LOGS", str(tmp_path))
    for name in ("20260101_000000", "20260102_000000", "20260103_000000", "notes_1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.log").write_text("12345")
    for name in ("20260101_000000", "20260103_000000", "notes_1"):
        (tmp_path / name / "build.json").write_text("{}")
    (tmp_path / "latest").symlink_to("20260103_000000")
    asked = call(images.prune, engine, "--logs", "--dry-run")
    assert (asked["logs"], asked["log_bytes"]) == ([str(tmp_path / "20260101_000000")], 7)  # type: ignore[index]
    call(images.prune, engine, "--logs")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20260102_000000",
        "20260103_000000",
        "latest",
        "notes_1",
    ]


def test_df_lists_build_cache_logs_and_data(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Everything of ours that takes space is in the list, with its bytes."""
    engine.build_cache = 500
    for name in ("logs", "cache", "data"):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "x").write_text("1234567")
        monkeypatch.setenv(f"JETSON_CONTAINERS_{name.upper()}", str(tmp_path / name))
    rows = {row["what"]: row["bytes"] for row in call(images.df, engine)}  # type: ignore[attr-defined]
    assert rows["build cache of the engine"] == 500
    for name in ("logs", "cache", "data/models"):
        assert rows[str(tmp_path / name)] == 7


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
    with pytest.raises(NothingMatchedError, match="no image `missing:1` is here"):
        images.flatten.main(["missing:1", "flat:1"], standalone_mode=False, obj=app)
    assert err.getvalue() == ""


def test_push_of_a_name_without_registry_is_refused(engine: FakeEngine) -> None:
    """Docker would take docker.io/library, where nobody may push; nothing is sent, and a name that works is shown."""
    with pytest.raises(UsageError, match="names no registry") as error:
        call(images.push, engine, "postgres:16")
    assert "docker tag postgres:16 registry.example/me/postgres:16" in (error.value.hint or "")
    assert not [each for each in engine.calls if each[0] == "push"]


def test_push_and_pull_have_a_result_as_json(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image comes back, of a push also the digest that the registry has, where the engine says it."""
    name, digest = "registry.example/me/robot:1", f"sha256:{'5' * 64}"
    engine.add_image(name)
    assert call(images.push, engine, name) == {"image": name, "digest": None, "signature": None}
    push = engine.push

    def push_and_say(reference: str, on_line: Callable[[str], None], **more: Any) -> None:
        push(reference, on_line, **more)
        on_line(f"1: digest: {digest} size: 528")

    monkeypatch.setattr(engine, "push", push_and_say)
    assert call(images.push, engine, name) == {"image": name, "digest": digest, "signature": None}
    assert call(images.pull, engine, name) == {"image": name}


@pytest.mark.parametrize("command", [images.push, images.flatten, sbom.sbom, sbom.provenance, outdated.outdated])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gone:1", "`jetson-containers images --all` lists those that are"),
        ("ghcr.io/me/gone:1", "`docker pull ghcr.io/me/gone:1`"),
    ],
)
def test_missing_image_is_one_error_in_every_command(
    engine: FakeEngine, command: click.Command, name: str, hint: str
) -> None:
    """An image that is not here has one exit code (nothing matched) and one remedy, whatever was asked of it."""
    words = {"flatten": [name, "flat:1"], "outdated": ["--image", name]}.get(str(command.name), [name])
    with pytest.raises(NothingMatchedError, match=f"no image `{name}` is here") as caught:
        call(command, engine, *words)
    assert (caught.value.exit_code, caught.value.hint) == (3, hint)


def test_missing_image_to_verify_is_the_same_error(engine: FakeEngine) -> None:
    """`verify` says it too; a name with a registry is pulled first."""
    with pytest.raises(NothingMatchedError, match="no image `gone:1` is here"):
        call(verify.verify, engine, "gone:1")
