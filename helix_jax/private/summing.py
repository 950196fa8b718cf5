"""The sum of several providers' encrypted answers, by someone who can decrypt none.

Each provider answers the same query, with shared scales, and sends its answer to an
aggregator instead of the client. Words are added modulo 2^40; the key holder opens the
sum and sees no single answer. For a weighted mean, the providers scale their weights
beforehand.

This assumes that the aggregator and the key holder do not collude: the key holder can
open any single answer that reaches it. Each answer has a fresh mask (`guarded`), so
that the sum reveals only the sum of results.
"""

from collections.abc import Sequence

from helix_jax.errors import ProtocolError
from helix_jax.private import packing, wire
from helix_jax.private.answers import add, payload_length
from helix_jax.private.layer import Layer


def sum_answers(answers: Sequence[bytes], layer: Layer) -> bytes:
    """Add answers to one query.

    Args:
      answers: messages from different providers, made with shared scales.
      layer: one of the providers' descriptions.

    Returns:
      The message for the client, who opens it like any answer.

    Raises:
      ProtocolError: one is malformed, answers another query or has other scales, or
        two are the same.
      ValueError: there are none, or the policy is "label".
    """
    if not answers:
        raise ValueError("sum_answers: needs at least one answer, got none.")
    if layer.policy.name == "label":
        raise ValueError(
            "sum_answers: results of the policy 'label' have separate offsets; "
            "add answers of another policy."
        )
    plan = layer.plan
    binding = layer.binding
    first = wire.read(answers[0], "answer", layer.profile, binding=binding)
    queries = min(max(first.sizes[3], 1), packing.MAX_QUERIES)
    sizes = (plan.width, plan.classes, plan.tiles, queries)
    length = payload_length(plan, layer.profile, queries)
    wire.expect_sizes(first, sizes, length)
    payloads, seen = [], set()
    for answer in answers:
        message = wire.read(answer, "answer", layer.profile, binding=binding)
        wire.expect_sizes(message, sizes, length)
        if (message.key, message.number) != (first.key, first.number):
            raise ProtocolError(
                f"answer: query {message.number.hex()} of key {message.key.hex()} is "
                f"not {first.number.hex()} of {first.key.hex()}; add answers to one "
                "query."
            )
        content = bytes(message.payload)
        if layer.profile.guarded and content in seen:
            raise ProtocolError("answer: the same answer came twice.")
        seen.add(content)
        payloads.append(message.payload)
    return wire.write(
        "answer",
        layer.profile,
        key=first.key,
        number=first.number,
        binding=binding,
        sizes=sizes,
        payload=add(payloads, plan, layer.profile, queries),
    )
