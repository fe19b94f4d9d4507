"""Each reader of outside data takes a few hundred mutated inputs; `tools/fuzz.py` tries millions."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.fuzz.targets import Target, targets

# ruff: noqa: E501 - the table of inputs

INPUTS = 40  # of each target; the long run is a command of its own


@pytest.mark.long
@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**32))
def test_readers_raise_only_what_they_document(target: Target, seed: int) -> None:
    """Whatever the input is, a reader gives a value or an error of ours."""
    rng = random.Random(seed)
    try:
        target.read(target.make(rng, target.seeds))
    except target.allowed:
        return


# Found by `tools/fuzz.py` or by the attack on our tool; what would come back unnoticed by chance.
FOUND: dict[str, list[bytes | str]] = {
    "registry-tags": [b'{"tags": [5, null]}', b'{"tags": {"a": 1}}', b'{"tags": "abc", "repositories": 7}', b"[" * 3000],
    "registry-manifest": [
        b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": 5}',
        b'{"mediaType": ["x"], "config": {}}',
        b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [5]}',
        b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"platform": {"architecture": "arm64"}}]}',
    ],
    "registry-config": [b'{"config": {"Labels": {"io.jetson-containers.platform": 5}}}', b'{"config": {"Labels": ["a"]}}', b'{"architecture": {}}'],
    "registry-hub-listing": [b'{"results": [5]}', b'{"results": [{"name": "x", "images": ["y"]}]}', b'{"results": [], "next": "http://["}'],
    "registry-hub-names": [b'{"results": [{"name": "x", "pull_count": "\\u00b2"}]}', b'{"results": [{}]}'],
    "registry-kept-listing": [b'{"schema": 1, "repository": "registry.local:5000/team/mlc", "fetched": 5, "etag": "", "tags": []}'],
    "docker-config": [b'{"auths": [2]}', b'{"credHelpers": 5}', b'{"auths": {"registry.local:5000": {"auth": "\xc2\xb2"}}}', b'{"credsStore": "a\\u0000b"}'],
    "model-config": [
        b'{"model_type": "gemma3n", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 9, "altup_num_inputs": 4611686018427387904}',
        b'{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 4000000000, "num_attention_heads": 2, "vocab_size": 9}',
    ],
    "llm-server-events": [b'{"choices": [5]}', b'{"choices": "x"}', b'{"choices": [{"delta": {"content": {}}}]}', b'{"usage": {"prompt_tokens": []}}'],
    "engine-image": [b'{"Id": 5}', b'{"Id": "a", "Size": "x"}', b'{"Id": "a", "Config": "x"}', b'{"Id": "a", "RepoTags": 5}', b"[]", b"nope"],
    "engine-bake-progress": [b'{"vertexes": 5}', b'{"logs": ["x"]}', b'{"vertexes": [null], "logs": 1.5}'],
    "version": ["9" * 10_200],
    "hub-reference": ["hf://" * 2000],
    "settings-file": ["jobs: !!int x", "!!int xjobs: 4", "logs: !!timestamp x", "[" * 5000],
    "cdi-specification": ["devices: 5", "devices: [5]", "devices: {a: b}", "!!int x", "devices: [{name: []}]", "5"],
    "lint-shell": ["$(" * 5000, 'echo "' + '"$(' * 3000],
    "mirrors-setting": [b"[" * 3000],
    "model-name": ["a/" * 20_000 + ":Q", "/" * 20_000],
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("name", "data"), [(name, data) for name, found in FOUND.items() for data in found])
def test_readers_keep_what_was_repaired(name: str, data: bytes | str) -> None:
    """Inputs that once ended in a traceback."""
    target = next(target for target in targets() if target.name == name)
    try:
        target.read(data)
    except target.allowed:
        return
