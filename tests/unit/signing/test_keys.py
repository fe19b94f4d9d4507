"""Keys in cosign's files."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.signing.keys import LARGEST_FILE, PrivateKey, PublicKey, Sealed, new_pair, sealed

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = b"correct horse"
# What go-securesystemslib wrote, which cosign uses: a JSON text with "reallyimportant", sealed by "supersecret".
GO = {
    1 << 15: (
        "WO3mVvyTwJ9vwT5/Tk5OW5WPIBUofMjcpEfrLnfY4uA=", "tCy7HcTFr4uxv4Nrg/DWmncuZ148U1MX",
        "08n43p5G5yviPEZpO7tPPF4aZQkWiWjkv4taFdhDBA0tamKH4nw=",
    ),
    1 << 16: (
        "FhzPOt9/bJG4PTq6lQ6ecG6GzaOuOy/ynG5+yRiFlNs=", "aw1ng1jHaDz/tQ7V2gR9O2+IGQ8xJEuE",
        "HycvuLZL4sYH0BrYTh4E/H20VtAW6u5zL5Pr+IBjYLYnCPzDkq8=",
    ),
    1 << 17: (
        "m38E3kouJTtiheLQN22NQ8DTito5hrjpUIskqcd375k=", "Y6PM13yA+o44pE/W1ZBwczeGnTV/m9Zc",
        "6H8sqj1K6B6yDjtH5AQ6lbFigg/C2yDDJc4rYJ79w9aVPImFIPI=",
    ),
}  # fmt: skip


def envelope(**changes: Any) -> dict[str, Any]:
    salt, nonce, ciphertext = GO[1 << 16]
    made = {
        "kdf": {"name": "scrypt", "params": {"N": 1 << 16, "r": 8, "p": 1}, "salt": salt},
        "cipher": {"name": "nacl/secretbox", "nonce": nonce},
        "ciphertext": ciphertext,
    }
    return {**made, **changes}


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return new_pair(PASSWORD)


def written(folder: Path, text: str, name: str = "a.key") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.usefixtures("real_scrypt")
@pytest.mark.parametrize("n", GO)
def test_sealed_opens_what_go_wrote(n: int) -> None:
    """Envelopes of the library that cosign uses are opened, with each of its three strengths."""
    salt, nonce, ciphertext = GO[n]
    text = envelope(
        kdf={"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": salt},
        cipher={"name": "nacl/secretbox", "nonce": nonce},
        ciphertext=ciphertext,
    )
    assert Sealed.parse(json.dumps(text).encode()).opened(b"supersecret") == b'"cmVhbGx5aW1wb3J0YW50"'


@pytest.mark.usefixtures("real_scrypt")
def test_sealed_writes_the_same_form() -> None:
    """What is sealed here reads back by the same reader, has the standard strength, and never the same salt twice."""
    one, other = sealed(b"text", PASSWORD), sealed(b"text", PASSWORD)
    assert Sealed.parse(json.dumps(one.to_json()).encode()).opened(PASSWORD) == b"text"
    assert one.to_json()["kdf"]["params"] == {"N": 1 << 16, "r": 8, "p": 1}
    assert (one.salt, one.nonce, one.ciphertext) != (other.salt, other.nonce, other.ciphertext)
    with pytest.raises(ValueError, match="password is wrong"):
        one.opened(PASSWORD + b"!")


@pytest.mark.parametrize(
    "changes",
    [
        {"kdf": {"name": "argon2", "params": {"N": 1 << 16, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 30, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 16, "r": 1 << 20, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": True, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": []},
        {"cipher": {"name": "nacl/secretbox", "nonce": "AAAA"}},
        {"cipher": {"name": "aes", "nonce": "AAAA"}},
        {"ciphertext": "not base64!"},
        {"ciphertext": None},
    ],
)
def test_sealed_refuses_other_forms(changes: dict[str, Any]) -> None:
    """Other algorithms, and parameters that would take all memory, are refused before anything is computed."""
    with pytest.raises(ValueError, match=r"."):
        Sealed.parse(json.dumps(envelope(**changes)).encode())


def test_new_pair_signs_what_its_public_half_verifies(pair: tuple[str, str], tmp_path: Path) -> None:
    """A new pair signs and verifies; another key, another text and a broken signature do not pass."""
    private = PrivateKey.read(written(tmp_path, pair[0]), lambda: PASSWORD)
    public = PublicKey.read(written(tmp_path, pair[1], "a.pub"))
    signature = private.sign(b"text")
    assert public.verifies(signature, b"text")
    assert private.public.verifies(signature, b"text")
    assert not public.verifies(signature, b"texts")
    assert not public.verifies(signature[:-1], b"text")
    assert not public.verifies(b"", b"text")
    assert not PublicKey.read(written(tmp_path, new_pair(b"")[1], "b.pub")).verifies(signature, b"text")


def test_private_key_says_a_wrong_password(pair: tuple[str, str], tmp_path: Path) -> None:
    """A wrong password is one sentence with the file's name, and not the password."""
    with pytest.raises(UsageError, match="password is wrong") as caught:
        PrivateKey.read(written(tmp_path, pair[0]), lambda: b"guess-1234")
    assert "a.key" in caught.value.message
    assert "guess" not in caught.value.message


def test_private_key_reads_the_header_of_cosign_1(pair: tuple[str, str], tmp_path: Path) -> None:
    """Keys of cosign 1 have another header."""
    old = written(tmp_path, pair[0].replace("SIGSTORE", "COSIGN"))
    assert PrivateKey.read(old, lambda: PASSWORD).sign(b"x")


def test_private_key_refuses_one_that_is_not_sealed(tmp_path: Path) -> None:
    """A key without a password is named for what it is, before a password is asked for."""
    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UsageError, match="it holds a `PRIVATE KEY`") as caught:
        PrivateKey.read(written(tmp_path, text.decode()), lambda: pytest.fail("asked"))
    assert "import-key-pair" in (caught.value.hint or "")


def _public(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(bytes(200)).decode() + "\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n" + "A" * (2 * LARGEST_FILE) + "\n-----END PUBLIC KEY-----\n",
        _public(ec.generate_private_key(ec.SECP384R1())),
        _public(ed25519.Ed25519PrivateKey.generate()),
        new_pair(b"")[0],
    ],
)
def test_public_key_refuses_other_files(text: str, tmp_path: Path) -> None:
    """What is not a public key on P-256 is one sentence that names the file."""
    with pytest.raises(UsageError, match=r"a\.pub: no usable key"):
        PublicKey.read(written(tmp_path, text, "a.pub"))


def test_public_key_says_that_a_file_is_missing(tmp_path: Path) -> None:
    """A missing file is named, with what should be there."""
    with pytest.raises(UsageError, match="No such file") as caught:
        PublicKey.read(tmp_path / "none.pub")
    assert "cosign.pub" in (caught.value.hint or "")


def test_keys_say_which_libraries_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the libraries of the extra, the command that installs them is named."""
    monkeypatch.setitem(__import__("sys").modules, "nacl.secret", None)
    with pytest.raises(NotReadyError, match="PyNaCl") as caught:
        new_pair(b"")
    assert caught.value.hint == "pip install -r requirements-sign.txt"
