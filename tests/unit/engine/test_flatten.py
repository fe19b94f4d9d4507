"""One layer instead of many: which settings of an image are given to it again."""

from __future__ import annotations

from jetson_containers.dockerfile.inject import parse
from jetson_containers.engine import flatten


def test_flatten_repeats_the_configuration() -> None:
    """Environment, user, directory, ports, volumes, entry point and command come back as they were."""
    config = {
        "Env": ["PATH=/a:/b", "WORDS=two words", 'ODD="$x" \\ =y', "EMPTY="],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/a b": {}},
        "WorkingDir": "/opt",
        "User": "1000:1000",
        "Entrypoint": ["/entry", "a b"],
        "Cmd": ["bash", "-c", "echo $HOME"],
    }
    text = "\n".join(["FROM scratch", *flatten.instructions(config, {"a.b": '{"c": "$d"}'})])
    assert [step.keyword for step in parse(text)] == [
        *("FROM", "LABEL", "ENV", "ENV", "ENV", "ENV", "EXPOSE", "VOLUME", "WORKDIR", "USER", "ENTRYPOINT", "CMD"),
    ]
    assert 'ENV WORDS="two words"' in text
    assert r'''LABEL "a.b"="{\"c\": \"\$d\"}"''' in text
    assert r'''ENV ODD="\"\$x\" \\ =y"''' in text
    assert 'CMD ["bash", "-c", "echo $HOME"]' in text


def test_flatten_of_an_image_without_settings_has_only_its_files() -> None:
    """What the image does not say is not said."""
    assert flatten.instructions({"Env": None, "Cmd": None}, {}) == []
