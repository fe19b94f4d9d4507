"""Answers of the docker client to questions about images."""

from __future__ import annotations

import json

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.engine.interface import HistoryEntry
from jetson_containers.engine.probe import ProbeAnswer
from jetson_containers.engine.queries import Queries


def answering(out: str = "", *, err: str = "", exit_code: int = 0) -> Queries:
    """The questions to a client that gives this answer to all of them."""
    return Queries(lambda *_words: ProbeAnswer(exit_code=exit_code, out=out, err=err))


def test_history_has_the_instructions_with_their_bytes() -> None:
    """Each line is an instruction, the newest first, with what it added."""
    rows = [{"Size": "20", "CreatedBy": "RUN make"}, {"Size": "0", "CreatedBy": "ENV A=b"}]
    assert answering("\n".join(map(json.dumps, rows))).history("x") == (
        HistoryEntry(command="RUN make", size=20),
        HistoryEntry(command="ENV A=b", size=0),
    )


def test_history_of_an_image_that_is_gone_is_empty() -> None:
    """An image that is not there has no history; any other refusal is an error."""
    assert answering(err="Error response from daemon: No such image: x:latest", exit_code=1).history("x") == ()
    with pytest.raises(NotReadyError):
        answering(err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock", exit_code=1).history("x")


@pytest.mark.parametrize(
    "line", ['{"Size": "12kB", "CreatedBy": "RUN"}', '{"Size": 5, "CreatedBy": "RUN"}', "{}", "[1"]
)
def test_history_that_cannot_be_read_is_an_error(line: str) -> None:
    """A size that is not a number of bytes, and what is no JSON, are one error."""
    with pytest.raises(NotReadyError, match="cannot be read"):
        answering(line).history("x")
