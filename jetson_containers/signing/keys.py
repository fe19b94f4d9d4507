"""Keys in cosign's files: ECDSA on P-256, the private one sealed by a password.

Source: cosign's signature specification, and the `encrypted` envelope of go-securesystemslib (scrypt, then the
secretbox of NaCl), which its private keys are written in.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.core.files import read_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

SEALED = "ENCRYPTED SIGSTORE PRIVATE KEY"
_SEALED_BEFORE = "ENCRYPTED COSIGN PRIVATE KEY"  # cosign 1
LARGEST_FILE = 64 << 10  # bytes; keys take less than one
_PEM = re.compile(rb"-----BEGIN ([A-Z ]{1,64})-----([A-Za-z0-9+/=\s]+)-----END \1-----\s*")
_SCRYPT_N = (1 << 16, 1 << 15, 1 << 17)  # what we write, what older versions and what stricter ones write
_SCRYPT_R, _SCRYPT_P = 8, 1
_SALT, _NONCE = 32, 24  # bytes


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A private key as it stands in its file: what scrypt makes the key of it from, and what secretbox has sealed."""

    n: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, text: bytes) -> Sealed:
        """Read the envelope. Raises ValueError for another form, and for parameters that nobody writes."""
        data = checked.mapping(json_text.parse(text))
        kdf, cipher = checked.mapping(data.get("kdf")), checked.mapping(data.get("cipher"))
        wanted = checked.mapping(kdf.get("params"))
        if (kdf.get("name"), cipher.get("name")) != ("scrypt", "nacl/secretbox"):
            raise ValueError("it is not sealed by scrypt and secretbox")
        n = checked.number(wanted.get("N"))
        if n not in _SCRYPT_N or (wanted.get("r"), wanted.get("p")) != (_SCRYPT_R, _SCRYPT_P):
            raise ValueError("its parameters of scrypt are not those that cosign writes")
        salt, nonce = _binary(kdf.get("salt")), _binary(cipher.get("nonce"))
        if len(nonce) != _NONCE or not salt:
            raise ValueError("its nonce or salt has another length")
        return cls(n=n, salt=salt, nonce=nonce, ciphertext=_binary(data.get("ciphertext")))

    def opened(self, password: bytes) -> bytes:
        """What is inside. Raises ValueError for a wrong password."""
        secret, crypto_error = _secret_box(password, self.salt, self.n)
        try:
            return bytes(secret.decrypt(self.ciphertext, self.nonce))
        except crypto_error:
            raise ValueError("the password is wrong, or the file was changed") from None

    def to_json(self) -> dict[str, Any]:
        """The envelope."""
        return {
            "kdf": {
                "name": "scrypt",
                "params": {"N": self.n, "r": _SCRYPT_R, "p": _SCRYPT_P},
                "salt": _text(self.salt),
            },
            "cipher": {"name": "nacl/secretbox", "nonce": _text(self.nonce)},
            "ciphertext": _text(self.ciphertext),
        }


def sealed(secret: bytes, password: bytes) -> Sealed:
    """Seal something with a password, by a salt and nonce of its own."""
    salt, nonce, n = os.urandom(_SALT), os.urandom(_NONCE), _SCRYPT_N[0]
    box, _ = _secret_box(password, salt, n)
    return Sealed(n=n, salt=salt, nonce=nonce, ciphertext=bytes(box.encrypt(secret, nonce).ciphertext))


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """What signatures are checked with. `name`: of its file, for messages."""

    name: str
    key: EllipticCurvePublicKey

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """Read `cosign.pub`. Raises UsageError for a file that holds no such key, NotReadyError without the library."""
        with _libraries():
            from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
            from cryptography.hazmat.primitives.serialization import load_der_public_key
        kind, body = _pem(path, "`cosign.pub`, or the .pub file of `jetson-containers keys new`")
        try:
            key = load_der_public_key(body) if kind == "PUBLIC KEY" else None
        except ValueError:
            key = None
        except Exception as error:
            raise _unusable(path, type(error).__name__) from error
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise _unusable(path, "no public ECDSA key on P-256 is in it")
        return cls(name=str(path), key=key)

    def verifies(self, signature: bytes, payload: bytes) -> bool:
        """Whether a signature of some bytes was made with the private key that belongs to this one."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self.key.verify(signature, payload, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class PrivateKey:
    """What images are signed with."""

    name: str
    key: EllipticCurvePrivateKey

    @classmethod
    def read(cls, path: Path, password: Callable[[], bytes]) -> PrivateKey:
        """Read `cosign.key`; the password is asked for once the file is known to be one.

        Raises UsageError for a file that holds no such key or has another password, NotReadyError without
        the libraries.
        """
        with _libraries():
            import nacl.secret  # noqa: F401 - before anybody is asked for a password
            from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
            from cryptography.hazmat.primitives.serialization import load_der_private_key
        sealed_key = check_sealed(path)
        try:
            key = load_der_private_key(sealed_key.opened(password()), None)
        except ValueError as error:
            raise _unusable(path, str(error)) from error
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise _unusable(path, "it is not an ECDSA key on P-256")
        return cls(name=str(path), key=key)

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(name=self.name, key=self.key.public_key())

    def sign(self, payload: bytes) -> bytes:
        """The signature of some bytes: ECDSA over their SHA-256, in DER."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return bytes(self.key.sign(payload, ECDSA(SHA256())))


def check_sealed(path: Path) -> Sealed:
    """The private key of a file as it stands there. Raises UsageError for a file that holds none."""
    kind, body = _pem(path, "`cosign.key`, or the .key file of `jetson-containers keys new`")
    if kind not in {SEALED, _SEALED_BEFORE}:
        raise _unusable(path, f"it holds a `{kind}`, not an `{SEALED}`", "`cosign import-key-pair` seals a key")
    try:
        return Sealed.parse(body)
    except ValueError as error:
        raise _unusable(path, str(error)) from error


def new_pair(password: bytes) -> tuple[str, str]:
    """Texts of the files of a new key: the private one, sealed by the password, and the public one.

    Raises NotReadyError without the libraries.
    """
    with _libraries():
        import nacl.secret  # noqa: F401 - `sealed` needs it
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = _text(json.dumps(sealed(secret, password).to_json(), separators=(",", ":")).encode())
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN {SEALED}-----\n{lines}\n-----END {SEALED}-----\n", public.decode()


def _secret_box(password: bytes, salt: bytes, n: int) -> tuple[Any, type[Exception]]:
    """The box that a password opens, and what it raises for a wrong one."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    key = hashlib.scrypt(password, salt=salt, n=n, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=256 << 20, dklen=SecretBox.KEY_SIZE)
    return SecretBox(key), CryptoError


def _pem(path: Path, what: str) -> tuple[str, bytes]:
    """The kind of the one block in a PEM file, and its bytes."""
    try:
        text = read_regular(path, LARGEST_FILE)
    except OSError as error:
        if error.errno in {errno.EFBIG, errno.EINVAL}:
            raise _unusable(path, str(error.strerror), what) from error
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint=f"name a key: {what}") from error
    match = _PEM.fullmatch(text.lstrip())
    if match is None:
        raise _unusable(path, "it is not a PEM file with one key", what)
    try:
        return match[1].decode(), base64.b64decode(b"".join(match[2].split()), validate=True)
    except ValueError as error:
        raise _unusable(path, "it is not base64", what) from error


def _unusable(path: Path, why: str, hint: str | None = None) -> UsageError:
    return UsageError(f"{path}: no usable key: {why}", hint=hint or "`jetson-containers keys new NAME` makes a pair")


def _binary(value: object) -> bytes:
    return base64.b64decode(checked.text(value), validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class _libraries:  # noqa: N801 - used as a statement
    """Say what to install where an import inside fails."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ImportError):
            raise NotReadyError(
                "signatures need the Python libraries cryptography and PyNaCl",
                hint="pip install -r requirements-sign.txt",
            ) from error
