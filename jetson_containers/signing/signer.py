"""Signs what this program pushes, by the digest that the engine names.

What a registry says of itself is never signed: a digest comes from the engine that has just pushed it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from jetson_containers.core.errors import NotReadyError, SignatureError
from jetson_containers.images.name import ImageName
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing import signatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.settings import Settings
    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.signing.keys import PrivateKey

_PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: [0-9]+")  # as `docker push` ends


@dataclass(frozen=True)
class PushedDigest:
    """Hears the lines of a push; `value` is the digest that the registry has then, or `""`."""

    on_line: Callable[[str], None] = lambda _line: None
    found: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        """Hear one line, and hand it on."""
        self.found.extend(_PUSHED.findall(line))
        self.on_line(line)

    @property
    def value(self) -> str:
        """The digest; the engine names it in its last line."""
        return self.found[-1] if self.found else ""


@dataclass(frozen=True)
class Signer:
    """A private key that was opened, and the registries that its signatures go to. Neither is ever shown or sent."""

    key: PrivateKey = field(repr=False)
    client: RegistryClient = field(repr=False)

    @classmethod
    def of(cls, key: PrivateKey, settings: Settings) -> Signer:
        """Signatures go to the registry itself, whatever mirror is read."""
        from jetson_containers.registry.client import RegistryClient

        return cls(key, RegistryClient.of(settings, mirrored=False))

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: no task of a farm may hold a key."""
        raise TypeError("a signer stays in its process")

    def has_signed(self, repository: ImageRepository, digest: str) -> bool:
        """Whether the registry shows a signature of a digest by this key. Raises RegistryError."""
        try:
            signatures.verify(self.client, repository, digest, self.key.public)
        except SignatureError:
            return False
        return True

    def sign(self, image: str, digest: str) -> tuple[str, bool]:
        """Sign what was pushed under a name: the reference of the signature, and whether it is new.

        Raises NotReadyError where the engine did not say a digest, RegistryError.
        """
        if not digest:
            raise NotReadyError(
                f"{image} is pushed and not signed: the engine did not say which digest it has",
                hint="`cosign sign --key KEY IMAGE@DIGEST` signs it",
            )
        repository = ImageRepository.parse(ImageName.parse(image).repository)
        new = signatures.sign(self.client, repository, digest, self.key)
        return f"{repository.reference}:{signatures.tag_of(digest)}", new
