"""Objects that stay in the process that made them.

Masks are used once, so that a copy in a forked child is one too many; and JAX does not
survive a fork: its threads stay behind, and the child would wait for them for ever.
"""

import os

from helix_jax.errors import ProtocolError

_REMEDY = "make a new one in a forked child, or start it by spawn"


def require_own(process: int, what: str, remedy: str = _REMEDY) -> None:
    """Refuse what another process made.

    Args:
      process: the id of that which made it.
      what: it is.
      remedy: what to do.

    Raises:
      ProtocolError: this is another process.
    """
    if os.getpid() != process:
        raise ProtocolError(
            f"{what} belongs to process {process}, this is {os.getpid()}: {remedy}."
        )
