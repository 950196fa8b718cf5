"""Objects that stay in the process that made them.

Masks may be used only once, so no forked child may have a copy. JAX does not survive a
fork either: its threads stay in the parent, and the child would wait for them for ever.
"""

import os

from helix_jax.errors import ProtocolError

_REMEDY = "make a new one in a forked child, or start it by spawn"


def require_own(process: int, what: str, remedy: str = _REMEDY) -> None:
    """Refuse an object that another process made.

    Args:
      process: id of the process that made the object.
      what: name of the object, for the message.
      remedy: what to do, for the message.

    Raises:
      ProtocolError: this is another process.
    """
    if os.getpid() != process:
        raise ProtocolError(
            f"{what} belongs to process {process}, but this is {os.getpid()}: {remedy}."
        )
