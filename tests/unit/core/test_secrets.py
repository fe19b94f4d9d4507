"""Which variables hold secrets, and what becomes of them in a text."""

from __future__ import annotations

import pytest

from jetson_containers.core.secrets import Redactor, is_secret, is_secret_name


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "hf_token",
        "GITHUB_TOKEN_FILE",
        "DB_PASSWORD",
        "DB_PASSWD",
        "GPG_PASSPHRASE",
        "NEXUS_PASS",
        "PASS",
        "PASS_FILE",
        "MYSQL_PWD",
        "CLIENT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "CREDENTIALS",
        "SSH_KEY",
        "SSHKEY",
        "API_KEYS",
        "APIKEY",
        "ACCOUNT_KEY_1",
        "PRIVATE_PEM",
        "DOCKER_AUTH_CONFIG",
        "GITHUB_PAT",
        "KEY",
    ],
)
def test_is_secret_name_knows_names_of_secrets(name: str) -> None:
    """Names of tokens, keys and passwords are known."""
    assert is_secret_name(name)
    assert is_secret(name, "x")


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("/data/key.pem", False),
        ("./certs/server.key", False),
        ("~/.ssh/id_ed25519", False),
        ("/run/secrets/token", False),
        ("/certs/site.pem", False),
        ("/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", True),
        ("/data is where it lies", True),
        ("pa/ss", True),
        ("", True),
    ],
)
def test_is_secret_takes_no_path_for_one(value: str, secret: bool) -> None:
    """Where a key lies may be read by all; a key that begins with a slash may not."""
    assert is_secret("SSL_KEY", value) is secret
    shown = Redactor({"SSL_KEY": value})(f"uses {value}")
    assert (shown == f"uses {value}") is (not secret or not value)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "KEYBOARD",
        "XKEYSYMDB",
        "SSH_AUTH_SOCK",
        "PWD",
        "OLDPWD",
        "PATH",
        "PYTHONPATH",
        "PASSTHROUGH",
        "DISPATCH",
    ],
)
def test_is_secret_name_leaves_ordinary_names_alone(name: str) -> None:
    """Ordinary names that only look alike are left alone."""
    assert not is_secret_name(name)
    assert not is_secret(name, "/usr/share/x")


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("hf_abcdefghijkl", True),
        ("nvapi-0123456789", True),
        ("postgres://me:pw@host/db", True),
        ("http://:pw@host/", True),
        ("http://host:80/a@b", False),
        ("http://me@host/", False),
        ("hf_short", False),
        ("nvidia-smi", False),
        ("", False),
    ],
)
def test_is_secret_reads_the_value(value: str, secret: bool) -> None:
    """A value in the form of a token is a secret under any name."""
    assert is_secret("ANYTHING", value) is secret


def test_redactor_hides_values_of_every_source_and_the_longest_first() -> None:
    """Redactor hides values of every source and the longest first."""
    redact = Redactor({"A_TOKEN": "abcd", "B_KEY": "abcdefgh"}, {"C": "hf_0123456789"})
    assert redact("abcd abcdefgh hf_0123456789 abc") == "*** *** *** abc"


def test_redactor_hides_no_value_of_an_ordinary_variable() -> None:
    """Redactor hides no value of an ordinary variable."""
    values = {"TOKENIZERS_PARALLELISM": "false", "PWD": "/srv/tree", "SHORT_KEY": "on"}
    assert Redactor(values)("false: /srv/tree is on") == "false: /srv/tree is on"


def test_redactor_hides_the_user_of_a_url_and_leaves_the_address() -> None:
    """Redactor hides the user of a URL and leaves the address."""
    redact = Redactor({"https_proxy": "http://bob:pw@proxy:3128"})
    assert redact("proxy http://bob:pw@proxy:3128 and https://tok@git.example/x") == (
        "proxy http://***@proxy:3128 and https://***@git.example/x"
    )


def test_redactor_without_secrets_changes_nothing() -> None:
    """Redactor without secrets changes nothing."""
    assert Redactor()("make: *** [all] Error 1") == "make: *** [all] Error 1"
