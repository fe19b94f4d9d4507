"""Options that users hand through to the runtime's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.llm import bench, serve
from jetson_containers.core.errors import UsageError
from jetson_containers.llm import prepare, server_options
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import ServeOptions, Service

if TYPE_CHECKING:
    from jetson_containers.llm.context import LlmContext

LLAMA = Service(
    argv=("llama-server", "-m", "/data/x.gguf", "--port", "1", "-ngl", "99", "--no-mmap", "--temp", "-1"), model="x"
)
HELP = {
    "llama-server --help": "-m, --model FNAME\n--port PORT\n-ngl, --gpu-layers, --n-gpu-layers N\n--jinja\n--temp N\n"
}


def joined(*given: str, probed: dict[str, str] | None = None) -> server_options.JoinedService:
    return server_options.join(LLAMA, given, probed or {})


def test_server_options_stand_behind_ours() -> None:
    """What a user adds stands behind what we set, untouched."""
    assert joined("--jinja", "--lora", "a b").service.argv == (*LLAMA.argv, "--jinja", "--lora", "a b")
    assert joined().service is LLAMA


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        (("--gpu-layers", "20"), ("-ngl", "99")),
        (("-ngl=20",), ("-ngl", "99")),
        (("--mmap",), ("--no-mmap",)),
        (("--temp", "0.5"), ("--temp", "-1")),
    ],
)
def test_server_options_of_the_user_replace_ours(given: tuple[str, ...], gone: tuple[str, ...]) -> None:
    """An option of ours gives way to the user's in whatever spelling, with its value, and that is said."""
    found = joined(*given)
    assert found.notices == (f"your option takes the place of `{' '.join(gone)}`",)
    text = " ".join(found.service.argv)
    assert text == " ".join(LLAMA.argv).replace(" " + " ".join(gone), "") + " " + " ".join(given)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("--port", "`--port` in front of"),
        ("--por=1", "`--port` in front of"),
        ("--server-name", "`--host`"),
        ("-m", "MODEL"),
        ("--served-model-name", "MODEL"),
        ("--max-model-len", "`--context`"),
        ("-c", "`--context`"),
        ("--parallel", "`--max-batch`"),
        ("--api-key", "`--api-key-env NAME`"),
        ("--hf-token=secret", "`--api-key-env NAME`"),
    ],
)
def test_server_options_that_are_ours_are_refused(given: str, remedy: str) -> None:
    """Where the server listens, what it loads and its secrets are not handed through; the option of ours is named."""
    with pytest.raises(UsageError) as caught:
        joined("--jinja", given, "7")
    assert remedy in str(caught.value.hint)
    assert "secret" not in caught.value.message.replace("a secret", "")


def test_server_options_are_checked_against_the_help_of_the_image() -> None:
    """An option that the server of the image does not have is refused, with the one that was meant."""
    assert joined("--jinja", "--n-gpu", "3", probed=HELP).service.argv[-3:] == ("--jinja", "--n-gpu", "3")
    with pytest.raises(UsageError, match="`--jinjo`") as caught:
        joined("--jinjo", probed=HELP)
    assert "`--jinja`" in str(caught.value.hint)
    assert joined("--jinjo", probed={"llama-server --help": "not found", "vllm --help": "--port"}).notices == ()


def test_server_options_begin_with_an_option() -> None:
    """A word that is no option is most likely a prompt: it is said where options stand."""
    with pytest.raises(UsageError, match="`hello`") as caught:
        joined("hello", "--jinja")
    assert "behind `--`" in str(caught.value.hint)


def test_prepare_plan_shows_the_server_with_the_users_options(context: LlmContext) -> None:
    """A dry run shows them in the server's command, and a wrong one is refused there as well."""
    decision = prepare.plan(LlmRequest(model="tiny", runtime_options=("--jinja",)), context)
    assert decision.service(ServeOptions(port=1)).argv[-1] == "--jinja"
    with pytest.raises(UsageError, match="--port"):
        prepare.plan(LlmRequest(model="tiny", runtime_options=("--port", "1")), context)


@pytest.mark.parametrize("command", [serve, bench])
def test_llm_takes_options_of_the_runtime_behind_two_dashes(command: Any) -> None:
    """`serve` and `bench` collect what stands behind `--`, and only that."""
    parsed = command.make_context("x", ["tiny", "--threads", "2", "--", "-ngl", "3", "--threads-batch", "1"])
    assert parsed.params["threads"] == 2
    assert parsed.params["runtime_options"] == ("-ngl", "3", "--threads-batch", "1")
