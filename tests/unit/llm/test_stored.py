"""What is listed and removed below the data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.llm.pipeline import manifest
from jetson_containers.llm.stored import Stored, choose, listing, remove

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext


def stored(context: LlmContext, name: str, step: str = "quantize", **facts: Any) -> Path:
    path = context.data / "models" / "llama_cpp" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    manifest.write(
        path,
        {"": manifest.measure(path)},
        step=step,
        merge=False,
        key="k",
        seconds=0,
        facts={"model": "org/m", "runtime": "llama_cpp", **facts},
    )
    return path


def test_stored_listing_names_what_is_there_with_sizes(context: LlmContext) -> None:
    """The list names what is there, with sizes."""
    stored(context, "m-Q4.gguf", quantization="Q4_K_M")
    full = stored(context, "m-F16.gguf", "convert", intermediate=True, quantization="Q4_K_M")
    found = listing(context.data, [("org/m", context.data / "hub", 100)], verify=True)
    assert [(one.kind, one.size, one.intact) for one in found] == [
        ("download", 100, None), ("intermediate", 10, True), ("artefact", 9, True),
    ]  # fmt: skip
    full.write_text("m-F16.gguX")
    kinds = {one.kind: one.intact for one in listing(context.data, [], verify=True)}
    assert kinds == {"artefact": True, "intermediate": False}
    full.write_text("shorter")
    # It does not count any more, but takes space: what is listed can be removed.
    listed = {one.kind: one for one in listing(context.data, [])}
    assert {kind: one.intact for kind, one in listed.items()} == {"artefact": None, "intermediate": False}
    remove(listed["intermediate"], context.data)
    assert not full.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may remove files of others")
def test_stored_remove_follows_no_link_of_another_user(context: LlmContext) -> None:
    """Who owns the data writes manifests and links there, and root removes no file of its own by them."""
    victim = context.data / "etc/passwd"
    victim.parent.mkdir(parents=True)
    victim.write_text("root")
    output = context.data / "models/llama_cpp/m"
    output.parent.mkdir(parents=True)
    output.symlink_to(victim.parent)
    os.chown(output, 1234, 1234, follow_symlinks=False)
    entry = {"passwd": manifest.measure(victim)}
    facts = {"model": "org/m", "runtime": "llama_cpp"}
    manifest.write(output, entry, step="quantize", merge=False, key="k", seconds=0, facts=facts)
    (one,) = listing(context.data, [])
    with pytest.raises(NotReadyError):
        remove(one, context.data)
    assert victim.read_text() == "root"


def test_stored_listing_leaves_out_a_deleted_intermediate_file(context: LlmContext) -> None:
    """An intermediate file that was deleted is not damage."""
    stored(context, "m-F16.gguf", "convert", intermediate=True).unlink()
    assert listing(context.data, [], verify=True) == []


def test_stored_remove_deletes_the_artifact_and_nothing_else(context: LlmContext) -> None:
    """Removing leaves nothing of the artifact, and everything else."""
    one, other = stored(context, "a.gguf", quantization="Q4_K_M"), stored(context, "b.gguf", quantization="Q8_0")
    (chosen,) = choose(listing(context.data, []), "m", quantization="q4_k_m")
    remove(chosen, context.data)
    assert not one.exists()
    assert sorted(path.name for path in other.parent.iterdir()) == ["b.gguf", "b.gguf.manifest.json"]


def test_stored_remove_of_a_shared_directory_removes_what_every_step_made(context: LlmContext) -> None:
    """Removing a shared directory removes every step's share."""
    place = context.data / "models" / "mlc" / "dist" / "m-MLC"
    place.mkdir(parents=True)
    for step in ("convert", "config"):
        (place / step).write_text(step)
        manifest.write(
            place, {step: manifest.measure(place / step)}, step=step, merge=True, key="k", seconds=0,
            facts={"model": "org/m"},
        )  # fmt: skip
    (chosen, _) = choose(listing(context.data, []), "org/m")
    remove(chosen, context.data)
    assert not place.exists()
    assert not list((context.data / "models").rglob("*.json"))


def test_stored_choose_prefers_the_exact_name(context: LlmContext) -> None:
    """An exact name means no other model with the same last part."""
    downloads = [("org/tiny", context.data / "d1", 1), ("tiny", context.data / "d2", 1)]
    listed = listing(context.data, downloads)
    assert [one.model for one in choose(listed, "tiny")] == ["tiny"]
    assert [one.model for one in choose(listed[:1], "tiny")] == ["org/tiny"]


def test_stored_choose_lists_what_is_there(context: LlmContext) -> None:
    """What is missing lists what is there."""
    stored(context, "m-Q4.gguf")
    with pytest.raises(NothingMatchedError) as caught:
        choose(listing(context.data, []), "nothing")
    assert "org/m" in (caught.value.hint or "")


def test_stored_remove_follows_a_link_to_another_disk(context: LlmContext, tmp_path: Path) -> None:
    """What is on another disk is removed where it is listed."""
    context.data.mkdir()
    (tmp_path / "disk").mkdir()
    (context.data / "models").symlink_to(tmp_path / "disk")
    path = stored(context, "m-Q4.gguf", quantization="Q4_K_M")
    (chosen,) = choose(listing(context.data, []), "org/m")
    remove(chosen, context.data)
    assert not path.exists()
    assert (context.data / "models").is_symlink()


def test_stored_remove_refuses_a_path_outside_the_data_directory(context: LlmContext, tmp_path: Path) -> None:
    """Nothing outside the data directory is removed."""
    for path in (tmp_path / "other", context.data, context.data / ".." / "other"):
        with pytest.raises(UsageError, match="is outside"):
            remove(
                Stored(kind="artefact", model="m", runtime="", quantization="", step="", path=str(path), size=0),
                context.data,
            )


def test_stored_remove_refuses_a_repository_that_is_being_downloaded(context: LlmContext) -> None:
    """A repository that is being downloaded is not removed."""
    cache = context.data / "models" / "huggingface"
    for folder in ("models--org--m", "datasets--org--text"):
        (cache / folder / "snapshots").mkdir(parents=True)
    (cache / ".locks" / "models--org--m").mkdir(parents=True)
    lock = cache / ".locks" / "models--org--m" / "blob.lock"
    lock.touch()
    model, text = (
        Stored(kind="download", model=name, runtime="", quantization="", step="", path=str(cache / folder), size=0)
        for name, folder in (("org/m", "models--org--m"), ("org/text", "datasets--org--text"))
    )
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotReadyError, match="is being downloaded"):
            remove(model, context.data)
    remove(text, context.data)
    assert sorted(path.name for path in cache.glob("*--*")) == ["models--org--m"]
