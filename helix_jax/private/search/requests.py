"""The requests of a search: each is one message from a client to parts of an index.

A search, or the reading of a text, is a generator that yields Requests, receives for
each the list of answers in the order of its parts, and returns what was found. The
caller carries the bytes to a provider and back, by any transport:

    request = next(steps)
    request = steps.send(answers)      # until StopIteration, whose value is the result
"""

from typing import NamedTuple

from helix_jax.errors import ProtocolError
from helix_jax.private import answers, wire
from helix_jax.private.layer import Layer


class Request(NamedTuple):
    """One message.

    Attributes:
      parts: the requested parts, such as "cluster/17".
      message: the encrypted query, for all of them.
      answer_bytes: exact size of each answer; answers come one after the other.
    """

    parts: tuple[str, ...]
    message: bytes
    answer_bytes: int


def answer_bytes(layer: Layer) -> int:
    """Size of a layer's answer to one query, in bytes."""
    return wire.HEADER_BYTES + answers.payload_length(layer.plan, layer.profile, 1)


def split_answers(data: bytes, count: int) -> list[bytes]:
    """Split the bytes of answers of equal size that came one after the other.

    Raises:
      ProtocolError: the bytes are not `count` answers.
    """
    size, rest = divmod(len(data), count)
    if rest or not size:
        raise ProtocolError(f"search: {len(data)} bytes are not {count} answers.")
    return [data[i : i + size] for i in range(0, len(data), size)]
