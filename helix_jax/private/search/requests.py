"""The requests of a search: one message of a client, for some parts of an index.

A search, or the reading of a text, is a generator that yields Requests, receives for
each the list of answers in the order of its parts, and returns what was found. Whoever
drives it brings the bytes to a provider and back, in whatever way:

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
      parts: whose answers are wanted, such as "cluster/17".
      message: of encrypted queries, for all of them.
      answer_bytes: of each answer, exactly; they come one after the other.
    """

    parts: tuple[str, ...]
    message: bytes
    answer_bytes: int


def answer_bytes(layer: Layer) -> int:
    """Bytes of an answer of a layer to one query."""
    return wire.HEADER_BYTES + answers.payload_length(layer.plan, layer.profile, 1)


def split_answers(data: bytes, count: int) -> list[bytes]:
    """Answers of one size that came one after the other.

    Raises:
      ProtocolError: they are not so many.
    """
    size, rest = divmod(len(data), count)
    if rest or not size:
        raise ProtocolError(f"search: {len(data)} bytes are not {count} answers.")
    return [data[i : i + size] for i in range(0, len(data), size)]
