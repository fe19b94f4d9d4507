"""Bytes and layers of pulls and pushes, from the events of the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.engine.transfer_events import TransferEvents, Transferred


class Heard:
    """What a transfer tells."""

    def __init__(self, *events: dict[str, Any] | bytes, clock: list[float] | None = None, with_bytes: bool = True):
        self.lines: list[str] = []
        self.states: list[Transferred] = []
        times = iter(clock or [])
        self.events = TransferEvents(
            self.lines.append, self.states.append if with_bytes else None, clock=lambda: next(times, 0.0)
        )
        for event in events:
            self.events.take(event if isinstance(event, bytes) else json.dumps(event).encode())


def moving(status: str, layer: str, done: Any, total: Any) -> dict[str, Any]:
    return {"status": status, "id": layer, "progressDetail": {"current": done, "total": total}, "progress": "[=> ]"}


def layer(status: str, name: str) -> dict[str, Any]:
    return {"status": status, "id": name, "progressDetail": {}}


PULL = (
    {"status": "Pulling from dustynv/mlc", "id": "r36.4"},
    layer("Pulling fs layer", "a"),
    layer("Pulling fs layer", "b"),
    layer("Already exists", "c"),
    layer("Waiting", "b"),
    moving("Downloading", "a", 2_000_000, 8_000_000),
)


def test_transfer_events_of_a_pull_count_bytes_and_layers() -> None:
    """Bytes are those of the layers that are fetched; while one has told no size, more is to come."""
    heard = Heard(*PULL)
    assert heard.states[-1] == Transferred(
        done=2_000_000, total=8_000_000, is_all=False, complete=1, present=1, layers=3, extracting=False
    )
    assert str(heard.states[-1]) == "2.0 MB of at least 8.0 MB, 1/3 layers"
    assert heard.lines == [
        "r36.4: Pulling from dustynv/mlc", "a: Pulling fs layer", "b: Pulling fs layer", "c: Already exists",
        "b: Waiting",
    ]  # fmt: skip


def test_transfer_events_say_when_all_is_here_and_unpacked() -> None:
    """When all bytes are here they are whole, and unpacking has its word."""
    end = (
        moving("Downloading", "b", 1_000_000, 4_000_000), layer("Download complete", "b"),
        layer("Verifying Checksum", "a"), layer("Download complete", "a"), moving("Extracting", "a", 3, 900_000_000),
    )  # fmt: skip
    heard = Heard(*PULL, *end)
    assert str(heard.states[-1]) == "12.0 MB of 12.0 MB, 1/3 layers, extracting"
    heard = Heard(*PULL, *end, layer("Pull complete", "a"), layer("Pull complete", "b"))
    assert str(heard.states[-1]) == "12.0 MB of 12.0 MB, 3/3 layers"


def test_transfer_events_of_a_push_without_totals() -> None:
    """Engines estimate totals for a push: one that is missing, or less than what is done, is at least that."""
    heard = Heard(
        {"status": "The push refers to repository [reg/x]"},
        layer("Preparing", "a"), layer("Waiting", "b"), layer("Layer already exists", "b"),
        {"status": "Pushing", "id": "a", "progressDetail": {"current": 512}},
        moving("Pushing", "a", 9_000_000, 5_000_000), layer("Pushed", "a"),
        {"status": "1: digest: sha256:" + "0" * 64 + " size: 528"},
    )  # fmt: skip
    assert [str(state) for state in heard.states][-3:] == [
        "512 B of 512 B, 1/2 layers", "9.0 MB of 9.0 MB, 1/2 layers", "9.0 MB of 9.0 MB, 2/2 layers",
    ]  # fmt: skip
    assert heard.lines[-1].endswith("size: 528")


def test_transfer_events_start_a_layer_again() -> None:
    """A layer that is fetched again has lost its bytes."""
    heard = Heard(moving("Downloading", "a", 5, 10), layer("Retrying in 3 seconds", "a"))
    assert (heard.states[-1].done, heard.states[-1].total) == (0, 10)


@pytest.mark.parametrize(
    "value", [-1, 1 << 63, 1e300, True, "12", None, [], {"a": 1}], ids=lambda value: type(value).__name__
)
def test_transfer_events_with_wrong_numbers_keep_the_last_right_one(value: Any) -> None:
    """A number that cannot be one of bytes changes nothing."""
    heard = Heard(moving("Downloading", "a", 5, 10), moving("Downloading", "a", value, value))
    assert (heard.states[-1].done, heard.states[-1].total) == (5, 10)


@pytest.mark.parametrize("detail", [[], "x", 7, None])
def test_transfer_events_with_wrong_details_are_read(detail: Any) -> None:
    """Details that are no object are none."""
    heard = Heard({"status": "Downloading", "id": "a", "progressDetail": detail})
    assert heard.states[-1].layers == 1


def test_transfer_events_end_with_the_error() -> None:
    """An error in mid-stream is kept word for word, on one line."""
    heard = Heard(
        moving("Downloading", "a", 5, 10),
        {"errorDetail": {"message": "unauthorized: authentication required"}, "error": "unauthorized: \x1b[2Jno"},
    )
    assert heard.events.error == "unauthorized:  [2Jno"
    assert Heard({"errorDetail": {"message": "denied"}}).events.error == "denied"
    assert Heard({"errorDetail": {"code": 1}, "error": 5}).events.error == "the engine reports an error without a text"


def test_transfer_events_pass_on_what_is_none() -> None:
    """A line that is no event is a line; an empty one is nothing."""
    heard = Heard(b"\r\n", b"plain words\n", b"[1]", b"{\xff")
    assert heard.lines == ["plain words", "[1]", "{\ufffd"]


def test_transfer_events_without_a_display_tell_bytes_among_the_lines() -> None:
    """Where nobody draws the bytes, they are a line every ten seconds."""
    events = [moving("Downloading", "a", number, 100) for number in (10, 20, 30, 40)]
    heard = Heard(*events, clock=[0.0, 4.0, 11.0, 12.0, 21.5], with_bytes=False)
    assert heard.lines == ["20 B of 100 B, 0/1 layers", "40 B of 100 B, 0/1 layers"]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)
)


@pytest.mark.long
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["status", "id", "progressDetail", "error", "errorDetail"]),
            st.sampled_from(["Downloading", "Pushing", "Pull complete", "Waiting", {"current": -5, "total": 1 << 70}])
            | _ANY,
        ),
        max_size=9,
    )
)
def test_transfer_events_of_any_form_keep_their_sums(events: list[dict[str, Any]]) -> None:
    """Whatever an engine sends, no sum is negative and no part exceeds its whole."""
    for state in Heard(*events).states:
        assert 0 <= state.done <= state.total
        assert 0 <= state.present <= state.complete <= state.layers
