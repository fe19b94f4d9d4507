"""The definition that `docker buildx bake` is given, and what its reports mean."""

from __future__ import annotations

import base64
import itertools
import json
import shlex
import string
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.engine import argv, bake
from jetson_containers.engine.bake_progress import BakeProgress
from jetson_containers.engine.context import Prepared, prepared
from jetson_containers.engine.interface import Builder, BuildRequest
from tests.fakes import CAPABILITIES

BUILDX = replace(CAPABILITIES, builder=Builder.BUILDX, buildx=(0, 13, 1), bake=True)
A = BuildRequest(
    context=Path("/pkg/a"), dockerfile="FROM base\n", tag="jetson-containers/stage:a-1", labels={"key": "one"}
)
B = BuildRequest(
    context=Path("/pkg/b"),
    dockerfile="FROM base\n",
    tag="jetson-containers/stage:b.2",
    build_args={"BASE_IMAGE": A.tag, "PATHS": "${HOME}/%{x}"},
    labels={"note": "50 %{off} ${now}"},
    platform="linux/arm64",
    no_cache=True,
    cache_from=("type=registry,ref=r/c:1",),
    cache_to=("type=local,dest=/c", "type=inline"),
    needs=(A.tag, "jetson-containers/stage:made-3"),
    secrets=(("token", Path("/secrets/token")),),
)


def written(*requests: BuildRequest, wanted: tuple[str, ...] = ()) -> bake.BakeFiles:
    names = bake.target_names(request.tag for request in requests)
    builds = [
        Prepared(request=request, dockerfile=Path(f"/tmp/{names[request.tag]}.D"), context=request.context)
        for request in requests
    ]
    return bake.files(builds, names, wanted or tuple(names))


def test_definition_links_stages_of_one_call_and_takes_others_from_the_store() -> None:
    """Stages are linked by target, those that are in the store already by image."""
    found = written(A, B)
    assert found.definition == {
        "group": {"stages": {"targets": ["a-1", "b_2"]}},
        "target": {
            "a-1": {
                "context": "/pkg/a",
                "dockerfile": "/tmp/a-1.D",
                "labels": {"key": "one"},
                "tags": [A.tag],
                "cache-from": ["type=registry,ref=r/c:1"],
                "output": ["type=docker"],
            },
            "b_2": {
                "context": "/pkg/b",
                "dockerfile": "/tmp/b_2.D",
                "contexts": {
                    A.tag: "target:a-1",
                    "jetson-containers/stage:made-3": "docker-image://jetson-containers/stage:made-3",
                },
                "args": {"BASE_IMAGE": A.tag, "BUILDKIT_INLINE_CACHE": "1", "PATHS": "$${HOME}/%%{x}"},
                "labels": {"note": "50 %%{off} $${now}"},
                "tags": [B.tag],
                "secret": ["id=token,src=/secrets/token"],
                "cache-from": ["type=registry,ref=r/c:1"],
                "cache-to": ["type=local,dest=/c"],
                "platforms": ["linux/arm64"],
                "output": ["type=docker"],
                "no-cache": True,
            },
        },
    }
    assert found.networks["services"] == {
        "a-1": {"build": {"context": "/pkg/a", "network": "host"}},
        "b_2": {"build": {"context": "/pkg/b", "network": "host"}},
    }


def test_definition_asks_only_for_images_that_are_wanted() -> None:
    """What is there already is a link and no result."""
    found = written(A, B, wanted=(B.tag,)).definition
    assert found["group"] == {"stages": {"targets": ["b_2"]}}
    assert set(found["target"]) == {"a-1", "b_2"}


def test_definition_takes_proxies_from_the_environment() -> None:
    """A proxy's address may hold a password: it is in no file and in no command line."""
    first = replace(A, build_args={"http_proxy": "http://u:geheim@one"})
    second = replace(B, build_args={"http_proxy": "http://u:geheim@two", "HTTP_PROXY": "http://u:geheim@one"})
    found = written(first, second)
    assert "geheim" not in json.dumps(found.definition)
    values = {f"${{{name}}}": value for name, value in found.env.items()}
    targets = found.definition["target"]
    assert values[targets["a-1"]["args"]["http_proxy"]] == "http://u:geheim@one"
    assert values[targets["b_2"]["args"]["http_proxy"]] == "http://u:geheim@two"
    assert values[targets["b_2"]["args"]["HTTP_PROXY"]] == "http://u:geheim@one"
    assert set(found.definition["variable"]) == {name for name in found.env if name.startswith("jetson_")}
    sudo = replace(BUILDX, sudo=True)
    command = bake.command(sudo, ("bake.json",), docker_context="default", env=found.env, network=True)
    assert "geheim" not in shlex.join(command)
    assert command[:2] == ["sudo", "--preserve-env=BUILDKIT_PROGRESS," + ",".join(sorted(found.definition["variable"]))]


def test_definition_refuses_flags_of_docker_build() -> None:
    """Nothing that was asked for is left out silently."""
    with pytest.raises(UsageError, match="--squash"):
        written(replace(A, flags=("--squash",)))


@pytest.mark.parametrize(("buildx", "allowed"), [((0, 13, 1), False), ((0, 17, 0), True), ((0, 29, 1), True)])
def test_command_allows_the_network_of_the_host_where_that_is_asked(
    buildx: tuple[int, ...], allowed: bool
) -> None:  # fmt: skip
    """Newer versions of buildx want to be told that a definition may use the host's network."""
    known = replace(BUILDX, buildx=buildx)
    words = bake.command(known, ("b.json", "n.yaml"), docker_context="remote", env={}, network=True)
    assert ("--allow" in words) is allowed
    assert words[:7] == ["/usr/bin/docker", "buildx", "bake", "--builder", "remote", "--progress", "rawjson"]
    assert words[-5:] == ["--file", "b.json", "--file", "n.yaml", "stages"]
    without = bake.command(known, ("b.json",), docker_context="remote", env={}, network=False)
    assert "--allow" not in without


TAGS = st.text(string.ascii_letters + string.digits + "._-:", min_size=1, max_size=8)


@given(tags=st.lists(TAGS, unique=True))
def test_target_names_are_allowed_and_unique(tags: list[str]) -> None:
    """Whatever two images are called, their targets have names of their own that bake takes."""
    names = bake.target_names(tags)
    assert len(set(names.values())) == len(tags)
    allowed = set(string.ascii_letters + string.digits + "_-")
    assert all(name and set(name) <= allowed for name in names.values())
    assert not {"default", "internal", "stages"} & set(names.values())


@given(value=st.text(alphabet="a$%{}\\\"'\n"))
def test_escaped_text_begins_no_template(value: str) -> None:
    """Every `${` and `%{` of a text is doubled, and nothing else changes."""
    text = bake.escaped(value)
    assert text.replace("$${", "${").replace("%%{", "%{") == value or "$${" in value or "%%{" in value
    assert text.count("${") == text.count("$${") == value.count("${")


def test_build_is_given_the_same_tag_labels_and_arguments_with_every_builder(tmp_path: Path) -> None:
    """The command line of each builder and the definition of a bake say the same of an image."""
    request = BuildRequest(
        context=tmp_path,
        dockerfile="ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MAX_JOBS\nRUN make\n",
        tag="jetson-containers/stage:x-1",
        build_args={"BASE_IMAGE": "base:1", "A": "b c"},
        labels={"k": '{"json": ["${x}"]}', "empty": ""},
        jobs=3,
    )
    said = [_of_command(request, builder) for builder in Builder] + [_of_bake(request)]
    assert said == [said[0]] * 4


def _of_command(request: BuildRequest, builder: Builder) -> tuple[list[str], dict[str, str], dict[str, str]]:
    with prepared(request, builder) as ready:
        words = argv.build(
            replace(CAPABILITIES, builder=builder),
            ready.request,
            dockerfile=ready.dockerfile,
            context=ready.context,
            build_args=ready.build_args,
        )
    values: dict[str, list[str]] = {}
    for option, value in itertools.pairwise(words):
        values.setdefault(option, []).append(value)
    return values["--tag"], _pairs(values["--label"]), _pairs(values["--build-arg"])


def _pairs(words: list[str]) -> dict[str, str]:
    """Names and values, without the empty proxy of the legacy builder: no builder writes proxies into an image."""
    return {name: value for name, _, value in (word.partition("=") for word in words) if name != "no_proxy"}


def _of_bake(request: BuildRequest) -> tuple[list[str], dict[str, str], dict[str, str]]:
    with prepared(request, Builder.BUILDX, target="x") as ready:
        target = bake.files([ready], {request.tag: "x"}, [request.tag]).definition["target"]["x"]
    labels = {name: value.replace("$${", "${") for name, value in target["labels"].items()}
    return target["tags"], labels, target["args"]


def test_jobs_of_a_bake_are_in_a_secret_and_not_in_the_text(tmp_path: Path) -> None:
    """Another number of jobs changes the content of a secret alone, which is in no cache key."""
    request = BuildRequest(
        context=tmp_path, dockerfile="FROM a\nARG MAX_JOBS\nRUN make\nRUN <<EOF\nmake\nEOF\n", tag="x:1", jobs=3
    )
    texts = []
    for jobs in (3, 200):
        with prepared(replace(request, jobs=jobs), Builder.BUILDX, target="x-1") as ready:
            secrets = dict(ready.request.secrets)
            assert secrets["jetson_jobs"].read_text() == f"0.0.0.{jobs} jetson-max-jobs\n"
            assert ready.dockerfile.name == "x-1.Dockerfile"
            texts.append(ready.dockerfile.read_text())
    assert texts[0] == texts[1]
    mount = "--mount=type=secret,id=jetson_jobs,target=/dev/jetson/jobs,mode=0444 "
    assert texts[0].count(mount) == texts[0].count("done </dev/jetson/jobs;") == 2
    assert "/etc/hosts" not in texts[0]


# What buildx reports.


class Heard:
    """Feeds events to a reader and keeps what it says."""

    def __init__(self, *targets: str) -> None:
        self.lines: dict[str, list[str]] = {target: [] for target in targets}
        self.built: list[str] = []
        self.progress = BakeProgress(targets, lambda name, line: self.lines[name].append(line), self.built.append)

    def say(self, *events: dict[str, Any] | str, indent: int | None = None) -> None:
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event, indent=indent)
            for line in text.split("\n"):
                self.progress.line(line)


def vertex(digest: str, name: str, **more: Any) -> dict[str, Any]:
    """A command's report; `start` and `end` are seconds after ten o'clock."""
    times = {
        key: f"2026-11-29T10:00:{more.pop(word):09.6f}001Z"
        for word, key in (("start", "started"), ("end", "completed"))
        if word in more
    }
    return {"vertexes": [{"digest": f"sha256:{digest}", "name": name, **times, **more}]}


def log(digest: str, text: str, at: float = 1.0) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {"logs": [{"vertex": f"sha256:{digest}", "data": data, "timestamp": f"2026-11-29T10:00:{at:09.6f}Z"}]}


@pytest.mark.parametrize("indent", [None, 2])
def test_progress_of_a_stage_reads_as_that_of_a_plain_build(indent: int | None) -> None:
    """Whether an event stands on one line or on many, the stage's log has the lines of a plain build."""
    heard = Heard("a", "b")
    heard.say(
        vertex("0", "[internal] load local bake definitions", start=0, end=1),
        vertex("1", "[a 2/3] RUN make", start=1),
        log("1", "cc on", 1.5),
        log("1", "e\r\ncc two\nrest"),
        {"statuses": [{"id": "x"}]},
        vertex("1", "[a 2/3] RUN make", start=1, end=3.25),
        vertex("2", "[a 3/3] RUN x", start=3, end=3, cached=True),
        vertex("3", "[a] exporting to image", start=4),
        indent=indent,
    )
    assert heard.built == []
    heard.say(vertex("3", "[a] exporting to image", start=4, end=4.5), indent=indent)
    assert heard.built == ["a"]
    assert heard.lines == {
        "a": [
            "#1 [2/3] RUN make",
            "#1 0.000 cc one",
            "#1 0.000 cc two",
            "#1 0.000 rest",
            "#1 DONE 2.2s",
            "#2 [3/3] RUN x",
            "#2 CACHED",
            "#3 exporting to image",
            "#3 DONE 0.5s",
        ],
        "b": [],
    }


def test_progress_gives_a_command_to_the_lowest_stage_that_has_it() -> None:
    """A stage above reports the commands below it as its own, sometimes before the stage that they belong to."""
    heard = Heard("a", "b", "c")
    heard.say(
        vertex("1", "[c 2/2] RUN make", start=1),
        log("1", "early\n", 1.5),
        vertex("1", "[a 2/2] RUN make", start=1),
        log("1", "late\n", 2),
        vertex("1", "[b 2/2] RUN make", start=1, end=3),
        vertex("2", "[b 2/2] RUN test"),
    )
    assert heard.lines["a"] == ["#1 [2/2] RUN make", "#1 0.500 early", "#1 1.000 late", "#1 DONE 2.0s"]
    assert heard.lines["b"] == []
    assert heard.progress.finished() == {"a"}


def test_progress_names_the_stage_whose_dockerfile_failed() -> None:
    """The file that the error names decides: the report of the command may have come from a stage above alone."""
    heard = Heard("a", "b", "c")
    heard.say(
        vertex("1", "[c 2/2] RUN false", start=1),
        log("1", "E: broken\n"),
        vertex("1", "[c 2/2] RUN false", start=1, end=2, error="process did not complete successfully: exit code: 1"),
        vertex("2", "[a 2/2] RUN sleep", start=1, end=2, error="context canceled"),
        "b.Dockerfile:3\n--------------------\n   3 | >>> RUN false\n--------------------\nERROR: failed to solve",
    )
    assert heard.progress.failed() == "b"
    assert "ERROR: failed to solve" in heard.progress.told("b")
    assert heard.progress.finished() == set()


def test_progress_of_a_layer_that_is_fetched_ends_as_cached() -> None:
    """A layer from a cache elsewhere is complete when it is fetched, and only then said to be cached."""
    heard = Heard("a", "b")
    heard.say(
        vertex("1", "[a 2/2] RUN make", start=1, end=2),
        vertex("1", "[a 2/2] RUN make", start=1, end=2, cached=True),
        vertex("1", "[b 2/2] RUN make", start=1, end=2, cached=True),
        vertex("2", "[b 1/2] RUN test", start=1, cached=True),
        vertex("2", "[b 1/2] RUN test", start=1, end=2),
        vertex("2", "[b 1/2] RUN test", start=1, end=2, cached=True),
    )
    assert heard.lines["a"] == ["#1 [2/2] RUN make", "#1 DONE 1.0s", "#1 CACHED"]
    assert heard.lines["b"] == ["#1 [1/2] RUN test", "#1 CACHED"]


@pytest.mark.parametrize(
    ("events", "failed"),
    [
        ([vertex("1", "[b internal] load metadata for x", start=1, end=2, error="not found")], "b"),
        ([vertex("1", "[a 2/2] RUN x", start=1, end=2, error="rpc error: code = Canceled desc = stop")], None),
        (["ERROR: Cannot connect to the Docker daemon"], None),
    ],
)
def test_progress_tells_a_stage_at_fault_from_an_engine(events: list[Any], failed: str | None) -> None:
    """What was only stopped has not failed, and what no stage did is the engine's."""
    heard = Heard("a", "b")
    heard.say(*events)
    assert heard.progress.failed() == failed


def test_progress_of_a_single_target_has_no_names() -> None:
    """buildx leaves the name out where there is one target."""
    heard = Heard("only")
    heard.say(vertex("1", "[2/2] RUN make", start=1, end=2), vertex("2", "exporting to image", start=2, end=3))
    assert heard.lines["only"][:2] == ["#1 [2/2] RUN make", "#1 DONE 1.0s"]
    assert heard.built == ["only"]


@given(garbage=st.lists(st.text(max_size=30)))
def test_progress_survives_whatever_is_printed(garbage: list[str]) -> None:
    """Text that is no event is kept, and breaks nothing."""
    heard = Heard("a", "b")
    for text in garbage:
        heard.progress.line(text)
    heard.progress.failed()


def test_prepared_builds_of_a_bake_are_removed(tmp_path: Path) -> None:
    """Nothing of a bake stays in the temporary directory."""
    with ExitStack() as stack:
        ready = [stack.enter_context(prepared(replace(A, context=tmp_path), Builder.BUILDX, target=n)) for n in "ab"]
        places = [one.dockerfile.parent for one in ready]
        assert all(place.is_dir() for place in places)
    assert not any(place.exists() for place in places)
