"""Every command with JSON has a schema, and what it really prints keeps to it, to the last key."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from jetson_containers.cli.json_results import OTHER_RESULTS, RESULTS
from jetson_containers.cli.main import cli, main
from jetson_containers.cli.schema import documents
from jetson_containers.cli.schema_types import DIALECT, FieldsOf, MapOf, Maybe, OneOf, With, schema
from jetson_containers.llm.bench import BenchReport, BenchRow, Spread
from jetson_containers.llm.power import PowerReport
from jetson_containers.updates.pins import UpstreamPin
from jetson_containers.updates.report import PinStatus
from tests.lint.test_options import commands
from tests.paths import ROOT_DIR
from tests.unit.cli.test_tables import GGUF, place
from tests.unit.llm.test_servers import QWEN, container, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hubserver import HubServer

__all__ = ["place", "running"]  # the fixtures
DOCUMENTS = documents()
FIT = "llm fit Llama-2-7b-chat-hf --board orin-nx-16gb"
CPU = "--target cpu"
# Commands as they are typed, for each the words of the schema; `{folder}` is an empty one.
TYPED = {
    "autotag": ("autotag --offline --target r36.4.3 llama_cpp", "autotag --offline --target r36.4.3 numpy"),
    "build": (
        "build --dry-run --target r36.4.3 llama_cpp", f"build --dry-run --multiple {CPU} numpy llama_cpp",
        f"build --list-packages {CPU}", "build --dry-run --target r36.4.3 --target cpu numpy",
    ),
    "completion": ("completion zsh",),
    "config get": ("config get registries", "config get jobs"),
    "config list": ("config list",),
    "config path": ("config path",),
    "config set": ("config set jobs 3",),
    "context": (f"context numpy {{folder}}/context {CPU}",),
    "data": ("data",),
    "df": ("df",),
    "doctor": ("doctor --offline",),
    "flatten": ("flatten jetson-containers/stage:numpy-0123456789abcdef flat:1",),
    "images": ("images --all",),
    "info": ("info", "info --target r36.4.3", "info --config"),
    "lint": ("lint --rules", "lint --no-shellcheck numpy"),
    "list": ("list", "list --all --target r36.4.3"),
    "llm chat": ("llm chat tiny hello --dry-run",),
    "llm compile": ("llm compile meta-llama/Llama-2-7b-chat-hf --runtime mlc --dry-run --offline",),
    "llm fit": (FIT, f"{FIT} --all", "llm fit Qwen2.5-1.5B-Instruct --board orin-nano-8gb --target r36.4.3"),
    "llm list": ("llm list",),
    "llm measured": ("llm measured",),
    "llm quantize": ("llm quantize tiny --dry-run",),
    "llm serve": ("llm serve tiny --dry-run",),
    "llm show": (f"llm show {GGUF}",),
    "llm suggest": ("llm suggest --board orin-nx-16gb", "llm suggest Llama-2-7b-chat-hf"),
    "llm upload": (f"llm upload {GGUF} me/model --dry-run",),
    "man": ("man --output {folder}/man",),
    "new": ("new my-thing --kind apt --of jq --directory {folder}",),
    "prune": ("prune --dry-run", "prune --logs --all"),
    "report": ("report --list",),
    "root": ("root",),
    "schema": ("schema", "schema llm fit"),
    "search": ("search gguf",),
    "setup": ("setup --dry-run",),
    "show": ("show llama_cpp", "show numpy", "show build-essential"),
    "stats": ("stats --count 1 --interval 0.1",),
    "tree": ("tree llama_cpp",),
    "why": ("why onnxruntime", "why python"),
    "error": ("show nope", "build --no-such-option"),
}  # fmt: skip
# Results of what needs a board, a registry or a real engine; their forms are those of the dataclasses they print.
NOT_TYPED = {
    "bundle", "download", "farm status", "keys new", "outdated",
     "llm bench", "llm metrics", "llm ps", "llm stop", "login", "logout",
    "mirror fill", "pull", "push", "registry refresh", "test", "update", "verify",
}  # fmt: skip


def strict(form: Any) -> Any:
    """A schema in which objects have no keys but those that are written down."""
    if isinstance(form, list):
        return [strict(each) for each in form]
    if not isinstance(form, dict):
        return form
    made = {key: strict(value) for key, value in form.items()}
    return made if "properties" not in form or "required" not in form else {"additionalProperties": False, **made}


def check(name: str, printed: str) -> None:
    jsonschema.Draft202012Validator(strict(DOCUMENTS[name])).validate(json.loads(printed))


def test_schemas_are_those_of_all_commands() -> None:
    """A command has a schema, or its result is said to be another; no name is left over."""
    names = {name for name, _ in commands(cli)}
    assert RESULTS.keys() | OTHER_RESULTS.keys() == names
    assert not RESULTS.keys() & OTHER_RESULTS.keys()
    assert TYPED.keys() | NOT_TYPED == RESULTS.keys() | {"error"}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_schemas_are_valid_themselves(name: str) -> None:
    """Each is a schema of the version that it names."""
    made = DOCUMENTS[name]
    assert made["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(made)


@pytest.mark.long
@pytest.mark.parametrize(("name", "typed"), [(name, typed) for name, several in TYPED.items() for typed in several])
def test_schemas_hold_for_what_commands_print(
    name: str, typed: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output of each command that this machine can run has all keys of its schema, and no other."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "config"))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(ROOT_DIR)
    (place / "new").mkdir()
    main([*typed.format(folder=place / "new").split(), "--json"])
    check(name, capsys.readouterr().out)


def test_schemas_hold_for_servers(running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """Lists of servers, what they count, and those that were ended."""
    running.append(container("c", replace(QWEN, url="http://127.0.0.1:1/v1", model="other")))
    for name, words in (("llm ps", ()), ("llm metrics", ()), ("llm stop", ("--all",))):
        main([*name.split(), *words, "--json"])
        check(name, capsys.readouterr().out)


def test_schemas_hold_for_downloads(
    hub_server: HubServer, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download and its dry run."""
    hub_server.add("org/model", {"config.json": b"{}", "model.safetensors": b"1" * 99})
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "data/models/huggingface"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    for words in (["--dry-run"], []):
        assert main(["download", "org/model", *words, "--json"]) == 0
        check("download", capsys.readouterr().out)


def test_schemas_hold_for_a_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    """A report with everything that may be missing, and without."""
    from jetson_containers.core.console import Console

    row = BenchRow(
        timestamp="t", hostname="h", api="a", model="m", precision="p", input_tokens=1, output_tokens=1,
        prefill_time=1.0, prefill_rate=1.0, decode_time=1.0, decode_rate=1.0, memory=1.0,
    )  # fmt: skip
    least = BenchReport(
        model="m", runtime="r", quantization="q", context=1, image="i", board=None, rows=(row,),
        prefill_tokens_per_s=1.0, decode_tokens_per_s=1.0, memory_bytes=1, load_s=1.0,
    )  # fmt: skip
    power = PowerReport(source="tegrastats", mean_w=1.0, max_w=2.0, count=3)
    full = replace(least, predicted={"x": 1}, spread={"a": Spread.of([1.0])}, cautions=("c",), power=power)
    for report in (least, full):
        Console(as_json=True).result_json(report)
        check("llm bench", capsys.readouterr().out)


def test_schemas_hold_for_pins(capsys: pytest.CaptureFixture[str]) -> None:
    """A pin of which all is known, and one of which nothing is."""
    from jetson_containers.core.console import Console

    pin = UpstreamPin(kind="pypi", name="a", version="1")
    known = PinStatus(pin=pin, held_by=("b",), state="behind", newest="2", vulnerabilities=("X-1",))
    rows = [known.to_json(), PinStatus(pin=pin, held_by=(), state="unknown", unknown=("why",)).to_json()]
    Console(as_json=True).result_json(rows)
    check("outdated", capsys.readouterr().out)


@dataclass(frozen=True)
class Sample:
    """A dataclass with each kind of field."""

    text: str
    numbers: tuple[int, ...]
    maybe: float | None
    either: int | str
    table: dict[str, bool]
    unknown: NowhereDefined  # type: ignore[name-defined]  # noqa: F821 - as those that only type checkers import


def test_schema_of_a_dataclass_is_that_of_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional fields may be null, and a type that cannot be looked up may be anything."""
    monkeypatch.setattr("jetson_containers.cli.schema_types._class", lambda _name: Sample)
    found = schema(FieldsOf("x:Sample", {"more": str}))
    assert found["required"] == ["text", "numbers", "maybe", "either", "table", "unknown", "more"]
    assert found["properties"] == {
        "text": {"type": "string"},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "table": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "unknown": {},
        "more": {"type": "string"},
    }


def test_schema_of_short_forms_is_plain_json_schema() -> None:
    """Keys with `?` may be missing, and what is no form is refused."""
    found = schema(With({"a": int, "b?": Maybe(str)}, {"c": OneOf((MapOf(Any), [Any]))}))
    assert found["required"] == ["a", "c"]
    assert found["properties"]["c"]["anyOf"][1] == {"type": "array", "items": {}}
    with pytest.raises(TypeError):
        schema({"a": 5})


def test_schema_command_says_why_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A command without JSON of ours, and one that does not exist."""
    assert main(["schema", "sbom"]) == 3
    assert "CycloneDX" in capsys.readouterr().err
    assert main(["schema", "nope"]) == 3
    assert "no such command" in capsys.readouterr().err


def test_schemas_are_listed_in_the_docs() -> None:
    """The page names every command with a schema, and says what the others print."""
    page = (ROOT_DIR / "docs" / "json.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip(" `") for line in page.splitlines() if line.startswith("| `")]
    assert rows == [*sorted(RESULTS), "error", *sorted(OTHER_RESULTS)]
    assert all(f"| `{name}` | {text} |" in page for name, text in OTHER_RESULTS.items())
