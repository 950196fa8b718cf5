"""Flags of programs that use a provider's service."""

import dataclasses
from typing import Any

from helix_jax import net
from helix_jax.errors import RunError
from helix_jax.runs import option


@dataclasses.dataclass(frozen=True)
class ServiceOptions:
    """Where a provider is, and how each side identifies itself."""

    url: str = option("", "https://HOST:PORT of the provider", required=True)
    token: str = option("", "file of this client's token (chmod 600)", names="path")
    authority: str = option(
        "", "PEM file of the provider's authority; empty: the system's", names="path"
    )
    certificate: str = option("", "PEM file that this client shows", names="path")
    private_key: str = option("", "PEM file of that certificate's key", names="path")
    pin: str = option("", "sha256/... of the provider's public key")
    plain_http: bool = option(False, "allow http://, on this machine only")

    def connect(self, **options: Any) -> "net.Connection":
        """The provider's service.

        Raises:
          RunError: a flag is not valid.
        """
        return net.connect(
            self.url,
            token=net.read_token(self.token) if self.token else None,
            authority=self.authority or None,
            certificate=self.certificate or None,
            private_key=self.private_key or None,
            pin=self.pin or None,
            plain_http=self.plain_http,
            **options,
        )


def choose_served(flag: str, given: str, served: Any, where: str) -> str:
    """A name that is served: the given one, or the only one.

    Raises:
      RunError: it is not served, or there is not exactly one to choose.
    """
    names = ", ".join(sorted(served)) or "none"
    if given and given not in served:
        raise RunError(f"--{flag}={given}: {where} serves {names}.")
    if not given and len(served) != 1:
        raise RunError(f"--{flag}: {where} serves {names}; name one.")
    return given or next(iter(served))
