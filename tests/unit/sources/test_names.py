"""Names of models with the scheme of their source, and Ollama's short form."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from jetson_containers.core.errors import UsageError
from jetson_containers.sources import names


@pytest.mark.parametrize(
    ("text", "repo", "host", "path", "tag"),
    [
        ("ollama://llama3.2:1b", "ollama://llama3.2:1b", "registry.ollama.ai", "library/llama3.2", "1b"),
        ("ollama://llama3.2", "ollama://llama3.2:latest", "registry.ollama.ai", "library/llama3.2", "latest"),
        ("OLLAMA://Llama3.2:1b/", "ollama://llama3.2:1b", "registry.ollama.ai", "library/llama3.2", "1b"),
        ("ollama://library/qwen3:0.6b", "ollama://qwen3:0.6b", "registry.ollama.ai", "library/qwen3", "0.6b"),
        ("ollama://Ann/My-Bot:q4_K_M", "ollama://Ann/My-Bot:q4_K_M", "registry.ollama.ai", "Ann/My-Bot", "q4_K_M"),
        ("ollama://reg.example:5000/ns/m:1", "ollama://reg.example:5000/ns/m:1", "reg.example:5000", "ns/m", "1"),
        (
            "ollama://Registry.Ollama.AI/library/phi4:14b",
            "ollama://phi4:14b",
            "registry.ollama.ai",
            "library/phi4",
            "14b",
        ),
    ],
)
def test_names_of_ollama_are_read_with_their_defaults(text: str, repo: str, host: str, path: str, tag: str) -> None:
    """Host, namespace and tag have Ollama's defaults, and one model has one name."""
    found = names.parse(text)
    assert found is not None
    assert (found.repo, found.host, found.path, found.revision) == (repo, host, path, tag)
    again = names.parse(str(found))
    assert again == found
    assert names.of_folder("ollama", found.folder) == found


@pytest.mark.parametrize(
    ("text", "repo", "host", "path", "tag"),
    [
        ("oci://ghcr.io/org/llama:1b", "oci://ghcr.io/org/llama:1b", "ghcr.io", "org/llama", "1b"),
        ("oci://ai/smollm2", "oci://docker.io/ai/smollm2:latest", "docker.io", "ai/smollm2", "latest"),
        ("oci://smollm2:q8_0", "oci://docker.io/library/smollm2:q8_0", "docker.io", "library/smollm2", "q8_0"),
        ("OCI://Reg.LAN:5000/a/b--c/d/", "oci://reg.lan:5000/a/b--c/d:latest", "reg.lan:5000", "a/b--c/d", "latest"),
        (
            f"oci://ghcr.io/a/b@sha256:{'ab' * 32}", f"oci://ghcr.io/a/b@sha256:{'ab' * 32}", "ghcr.io", "a/b",
            f"sha256:{'ab' * 32}",
        ),
    ],
)  # fmt: skip
def test_names_of_registries_are_read_as_docker_does(text: str, repo: str, host: str, path: str, tag: str) -> None:
    """A name without a host is of Docker Hub, one without a tag of `latest`."""
    found = names.parse(text)
    assert found is not None
    assert (found.repo, found.host, found.path, found.revision) == (repo, host, path, tag)
    assert names.parse(str(found)) == found
    assert names.of_folder("oci", found.folder) == found


@pytest.mark.parametrize(
    ("text", "path", "revision", "file"),
    [
        ("ms://Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", None, None),
        ("modelscope://Qwen/Qwen3-0.6B@v1/", "Qwen/Qwen3-0.6B", "v1", None),
        ("MS://org/x-GGUF/sub/x.gguf", "org/x-GGUF", None, "sub/x.gguf"),
        ("https://modelscope.cn/models/org/name", "org/name", None, None),
        ("https://www.modelscope.cn/models/org/name/files", "org/name", None, None),
        ("https://modelscope.cn/models/org/name/summary?x=1", "org/name", None, None),
        ("https://modelscope.cn/models/org/name/resolve/v2/a/b.gguf", "org/name", "v2", "a/b.gguf"),
        ("https://modelscope.cn/models/org/name/file/view/master/b.gguf?status=2", "org/name", "master", "b.gguf"),
        ("modelscope.cn/org/name", "org/name", None, None),
        ("ollama://modelscope.cn/org/name", "org/name", None, None),
    ],
)
def test_names_of_modelscope_are_read_in_all_their_forms(
    text: str, path: str, revision: str | None, file: str | None
) -> None:
    """Scheme, page, download address and Ollama's way to write it mean the same repository."""
    found = names.parse(text)
    assert found is not None
    assert (found.source, found.path, found.revision, found.file) == ("modelscope", path, revision, file)
    assert found.repo == f"ms://{path}"
    assert names.of_folder("modelscope", found.folder) == names.parse(found.repo)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama://hf.co/org/x-GGUF:Q4_K_M", "hf.co/org/x-GGUF:Q4_K_M"),
        ("HF.co/org/x", "hf.co/org/x"),
        ("HTTPS://Huggingface.co/org/x/tree/main", "huggingface.co/org/x/tree/main"),
        ("https://huggingface.co/org/x.git", "huggingface.co/org/x"),
        ("https://me:hf_EXAMPLE@huggingface.co/org/x", "huggingface.co/org/x"),
        ("git@hf.co:org/x.git", "hf.co/org/x"),
        ("https://huggingface.co/org/x/discussions/3", "huggingface.co/org/x"),
        ("https://huggingface.co/org/x/commit/1234abc?diff=split", "huggingface.co/org/x/tree/1234abc"),
        ("https://huggingface.co/datasets/org/x/commits/main", "huggingface.co/datasets/org/x/tree/main"),
        ("HuggingFace://org/x@v1/a.gguf", "hf://org/x@v1/a.gguf"),
        ("Hf://org/x", "hf://org/x"),
        ("https://huggingface.co/org/x?show_file_info=a%20b.gguf", "hf://org/x/a b.gguf"),
        ("https://huggingface.co/org/x/tree/main?library=l&show_file_info=d%2Fa.gguf#top", "hf://org/x/d/a.gguf"),
        ("org/x", "org/x"),
        ("ollama://llama3.2", "ollama://llama3.2"),
    ],
)
def test_names_of_the_hub_are_left_in_its_own_form(text: str, expected: str) -> None:
    """What other programs write before a name of the hub is taken off."""
    assert names.of_hub(text) == expected
    assert text.startswith("ollama://ll") or names.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "oci://", "oci://Upper/Case:1", "oci://ghcr.io/../x", "oci://ghcr.io/a/b:../x", "oci://ghcr.io/a b", "oci://h:99999999/x/y",
        "oci://ghcr.io/a/b@sha256:zz", "ms://", "ms://name", "ms://org/name/../../x", "ms://org/..", "ms://a+b/c", "ms://o/n/a+b",
        "ollama://", "ollama://../etc:1b", "ollama://a/../b", "ollama://a..b", "ollama://x:..", "ollama://x:", "ollama://:1b",
        "ollama://a/b/c/d", "ollama://host/ns/x y:1", "ollama://x:1b@sha256:12", "ollama://x?y=1:2", "ollama://x%2e%2e:1",
        "ollama://" + "x" * 200, "ollama://x:" + "1" * 2000, "ollama://bad_host.example:99/ns/x:1", "ollama://x\n:1",
    ],
)  # fmt: skip
def test_names_that_cannot_be_are_refused_with_the_form(text: str) -> None:
    """What cannot be a name is refused, and the form is shown."""
    with pytest.raises(UsageError, match="invalid model name"):
        names.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "org/model",
        "org/model:Q4_K_M",
        "hf.co/org/model",
        "https://huggingface.co/org/model",
        "/data/x.gguf",
        "tiny",
        "",
    ],
)
def test_names_of_other_kinds_are_left_to_the_hub(text: str) -> None:
    """Names of the hub, paths and well-known names are none of a source."""
    assert names.parse(text) is None
    assert names.short_form(text) is None


def test_names_in_short_form_are_of_ollama() -> None:
    """`NAME:TAG` is Ollama's own way to write a model of its library."""
    assert str(names.short_form("Llama3.2:1b")) == "ollama://llama3.2:1b"
    assert names.short_form("llama3.2") is None
    for scheme in ("ollama:x", "hf:x", "oci:x", "https:x"):
        assert names.short_form(scheme) is None


def test_names_with_a_digest_are_pinned() -> None:
    """A digest behind the tag says what it has to mean."""
    pinned = names.parse("ollama://llama3.2:1b@sha256:" + "ab" * 32)
    assert pinned is not None
    assert (pinned.digest, pinned.folder) == ("sha256:" + "ab" * 32, "registry.ollama.ai+library+llama3.2+1b")


@given(strategies.sampled_from(["ollama", "oci", "ms"]), strategies.text(alphabet="abz.:/@-_~+% \n\\A0", max_size=40))
def test_names_stay_inside_the_folder_of_their_source(scheme: str, rest: str) -> None:
    """Whatever a name holds, its directory is one part of a path."""
    try:
        found = names.parse(f"{scheme}://{rest}")
    except UsageError:
        return
    assert found is not None
    assert "/" not in found.folder
    assert not found.folder.startswith(".")
    assert names.of_folder(found.source, found.folder) == names.parse(found.repo)


@pytest.mark.parametrize(
    "text", ["http://host:8000/a/b/x.GGUF?sig=1", "https://a.b/c//e/f.gguf", "https://a.b/f.gguf#main"]
)
def test_names_of_files_on_any_server_say_how_to_fetch_them(text: str) -> None:
    """An address with a query (a signature, say) is refused with the command that fetches the file and goes on."""
    with pytest.raises(UsageError, match="cannot be fetched like this") as error:
        names.parse(text)
    assert "curl -L -C - -o data/models/" in (error.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/org/x/resolve/main/a.gguf", "https://mirror.example/org/x/blob/main/a/b.gguf?download=true",
        "https://mirror.example/org/x/raw/v1/a.gguf", "https://mirror.example/org/x",
    ],
)  # fmt: skip
def test_names_of_pages_of_a_hub_or_its_mirror_are_left_to_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of a file at a hub is a name of the hub."""
    monkeypatch.setenv("HF_ENDPOINT", "https://Mirror.example/")
    assert names.parse(text) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("https://ollama.com/library/llama3.2", "ollama://llama3.2"),
        ("https://www.ollama.com/library/llama3.2:1b?x=1", "ollama://llama3.2:1b"),
        ("ollama.com/library/qwen3/tags", "ollama://qwen3"),
        ("https://ollama.com/someone/model:q4", "ollama://someone/model:q4"),
        ("registry.ollama.ai/library/llama3.2:1b", "ollama://llama3.2:1b"),
        ("docker.io/ai/smollm2", "oci://docker.io/ai/smollm2"),
        ("https://hub.docker.com/r/ai/smollm2/tags", "oci://docker.io/ai/smollm2"),
        ("ghcr.io/org/models/tiny:v1", "oci://ghcr.io/org/models/tiny:v1"),
    ],
)
def test_names_are_read_as_they_are_copied(text: str, meant: str) -> None:
    """The address of a page, and a name with its registry's host, are names of that source."""
    found = names.parse(text)
    assert found is not None
    assert found == names.parse(meant)


@pytest.mark.parametrize(
    "text",
    ["https://code.example/org/repo", "https://code.example/org/repo/tree/main", "http://code.example:80/org/repo?x=1"],
)
def test_names_of_an_unknown_host_are_refused(text: str) -> None:
    """What another host calls so is not asked for at the hub, which may have something else under that name."""
    with pytest.raises(UsageError, match="is not known as a hub") as error:
        names.parse(text)
    assert "HF_ENDPOINT=https://code.example" in (error.value.hint or "")


def test_names_of_a_file_in_a_page_of_an_unknown_host_are_addresses() -> None:
    """`blob` and `raw` are in addresses of other hosts, too; only the hub's pages mean the hub."""
    found = names.parse("https://code.example/org/repo/raw/main/x.gguf")
    assert found is not None
    assert found.host == "code.example"


@given(strategies.text(max_size=30))
def test_names_of_local_files_lose_their_scheme_only(text: str) -> None:
    """What has no scheme `file:` stays as it is."""
    assert text.lower().startswith("file:") or names.local_path(text) == text


def test_names_of_the_user_stand_for_models() -> None:
    """The last alias of a name counts, aliases are not looked up again, and what is none is refused."""
    pairs = ["a=ollama://x:1", "a = org/model", "b=a"]
    assert [names.aliased(name, pairs) for name in ("a", "b", "c")] == ["org/model", "a", "c"]
    for bad in ("a", "=b", "a="):
        with pytest.raises(UsageError, match="is not an alias of a model"):
            names.aliased("c", [bad])
