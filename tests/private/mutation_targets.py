"""Both parties of a layer, of a fit and of labels, and every message that they read."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from helix_jax.private import (
    PROFILES,
    Client,
    FitClient,
    FitProvider,
    LabelClient,
    Provider,
    shared_scales,
    sum_answers,
    wire,
)
from helix_jax.private.accountant import Privacy
from helix_jax.private.accounts import PublicKey
from helix_jax.private.internals import signing_key
from tests.private.message_edits import BINDING, NUMBER, addressed, renumbered

WIDTH, CLASSES, ROWS, TARGETS = 12, 5, 4, 2
BATCH = 9  # queries of a message, in two groups
OFFER_FLOATS = (wire.HEADER_BYTES + 37, wire.HEADER_BYTES + 45)


class Target(NamedTuple):
    """One kind of message and its reader.

    Attributes:
      name: of the reader.
      fresh: a sound message, which was not read before.
      read: what its receiver does.
      spent: a message that was read before and must not be read again, or None.
      foreign: the same of another key, which must be refused, or None.
      seeds: of the payload, if it is seeds and residues.
      floats: offsets of float64 numbers.
      signing: key that its sender signs by, or None.
    """

    name: str
    fresh: Callable[[], bytes]
    read: Callable[[bytes], object]
    spent: bytes | None = None
    foreign: bytes | None = None
    seeds: int = 0
    floats: tuple[int, ...] = ()
    signing: bytes | None = None


def make_targets(profile: str, seed: int = 0) -> list[Target]:
    """Both parties of a layer and of a fit, and all that they send each other."""
    generator = np.random.default_rng(seed)
    kernels = generator.standard_normal((2, WIDTH, CLASSES))
    client, stranger = Client(profile), Client(profile)
    trials = [Provider(own, input_norm=8.0, profile=profile) for own in kernels]
    shared = shared_scales([one.layer for one in trials])
    provider, second = (
        Provider(own, input_norm=8.0, profile=profile, shared=shared) for own in kernels
    )
    bundle = client.public_bundle()
    for one in (provider, second):
        one.register(bundle)
    offer = provider.layer.to_bytes()
    layer = client.read_layer(offer)
    x = generator.standard_normal(WIDTH) / 2
    query, old_query, summed = (client.encrypt(layer, x) for _ in range(3))
    batch = client.encrypt(layer, np.stack([x] * BATCH))
    answer, old_answer = provider.answer(query), provider.answer(old_query)
    client.decrypt(old_answer)
    answers = provider.answer(batch)
    parts = [one.answer(summed) for one in (provider, second)]

    def read_layer(data: bytes) -> None:
        read = client.read_layer(data)
        if read.plan == layer.plan:  # other shapes would each be compiled
            own = generator.standard_normal(WIDTH)
            own *= min(read.input_norm, 1e200) / np.linalg.norm(own) * (1 - 1e-9)
            with np.errstate(under="ignore"):
                sent = client.encrypt(read, own)
            del client._pending[sent[NUMBER:BINDING]]

    pending = dict(client._pending)

    def read_answer(data: bytes) -> None:
        for number, one in pending.items():  # as if none had been read
            client._pending[number] = one._replace(read=set())
        client.decrypt(data)

    # Rows that fill a ciphertext: other widths need messages of another length.
    wide = generator.standard_normal((ROWS, PROFILES[profile].degree // 2 + 1))
    y = generator.standard_normal((ROWS, TARGETS))
    # An offer may ask for rows of norm 1, and other ones are the client's own fault.
    unit = wide[:, :3] / np.linalg.norm(wide[:, :3])

    def make_fit(number: bytes) -> FitProvider:
        own = FitProvider(y, profile=profile, share=1e9)
        own.offer = dataclasses.replace(own.offer, number=number)
        own.register(bundle)
        return own

    fit = make_fit(bytes(16))
    fit_offer = fit.offer.to_bytes()
    sides = [FitClient(own, fit_offer, wide) for own in (client, stranger)]
    (rows,), (foreign_rows,) = (list(side.chunks()) for side in sides)
    fit.absorb(rows)
    (results,), mean = list(fit.results()), fit.mean_message()
    return [
        Target(
            "key",
            lambda: bundle,
            lambda m: PublicKey.from_bytes(m, client.profile),
            seeds=1,
        ),
        Target(
            "layer",
            lambda: offer,
            read_layer,
            floats=(wire.HEADER_BYTES + 4, wire.HEADER_BYTES + 12),
        ),
        Target(
            "query",
            lambda: renumbered(query),
            provider.answer,
            spent=old_query,
            foreign=stranger.encrypt(layer, x),
            seeds=1,
            signing=signing_key(client),
        ),
        Target(
            "queries",
            lambda: renumbered(batch),
            provider.answer,
            spent=old_query,
            seeds=2,
            signing=signing_key(client),
        ),
        Target(
            "answer",
            lambda: answer,
            read_answer,
            spent=old_answer,
            foreign=addressed(answer, stranger.key),
        ),
        Target(
            "answers",
            lambda: answers,
            read_answer,
            spent=old_answer,
            foreign=addressed(answers, stranger.key),
        ),
        Target(
            "sum",
            lambda: parts[0],
            lambda m: sum_answers([m, parts[1]], layer),
            spent=old_answer,
            foreign=addressed(parts[0], stranger.key),
        ),
        Target(
            "fit",
            lambda: fit_offer,
            lambda m: FitClient(client, m, unit),
            floats=OFFER_FLOATS,
        ),
        Target(
            "rows",
            lambda: rows,
            lambda m: make_fit(fit.offer.number).absorb(m),
            foreign=foreign_rows,
            seeds=1,
            signing=signing_key(client),
        ),
        Target(
            "mean",
            lambda: mean,
            sides[0].read_mean,
            foreign=addressed(mean, stranger.key),
        ),
        Target(
            "covariance",
            lambda: results,
            sides[0].read,
            foreign=addressed(results, stranger.key),
        ),
        *_private_targets(wide / np.linalg.norm(wide), y / np.linalg.norm(y)),
        *_label_targets(kernels[0], x),
    ]


def _private_targets(x: np.ndarray, y: np.ndarray) -> list[Target]:
    """What a fit with differential privacy says in other words than one without."""
    client, stranger = Client("guarded"), Client("guarded")
    provider = FitProvider(y, share=1e9, privacy=Privacy(1.0, 1e-6))
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    side = FitClient(client, offer, x)
    mean = provider.mean_message()
    return [
        Target(
            "private fit",
            lambda: offer,
            lambda m: FitClient(client, m, x[:, :3]),
            floats=OFFER_FLOATS,
        ),
        Target(
            "private mean",
            lambda: mean,
            side.read_mean,
            foreign=addressed(mean, stranger.key),
        ),
    ]


def _label_targets(kernel: np.ndarray, x: np.ndarray) -> list[Target]:
    """Both sides of labels, which are of one profile; readers forget what they read."""
    client, stranger = Client("guarded"), Client("guarded")
    provider = Provider(kernel, input_norm=8.0, policy="label")
    provider.register(client.public_bundle())
    side = LabelClient(client, client.read_layer(provider.layer.to_bytes()))
    hello = side.agree()
    elements, asked = provider.agree(hello), side._asked
    side.read_elements(elements)
    agreed, desk = side._agreed, provider._accounts[client.key].desk
    choices = [side.choose(provider.answer(side.encrypt(x))) for _ in range(2)]
    transfers, offsets = desk._transfers, dict(desk._waiting)
    chosen = dict(side._chosen)
    spent, garbled = (provider.label(one) for one in choices)
    side.read(spent)
    del chosen[spent[NUMBER:BINDING]], offsets[spent[NUMBER:BINDING]]

    def read_elements(data: bytes) -> None:
        side._asked = asked
        side.read_elements(data)
        side._agreed = agreed

    def agree(data: bytes) -> None:
        provider.agree(data)

    def label(data: bytes) -> None:
        desk._transfers = transfers
        desk._waiting.update(offsets)
        provider.label(data)

    def read(data: bytes) -> None:
        side._chosen.update(chosen)
        side.read(data)

    sent = ("transfers", hello, agree), ("elements", elements, read_elements)
    later = ("choices", choices[1], label), ("garbled", garbled, read)
    old = {"transfers": hello, "choices": choices[0], "garbled": spent}
    fresh = {"transfers": lambda: renumbered(hello)}  # taken once
    return [
        Target(
            name,
            fresh.get(name, lambda message=message: message),
            reader,
            spent=old.get(name),
            foreign=addressed(message, stranger.key),
            signing=signing_key(client) if name in ("transfers", "choices") else None,
        )
        for name, message, reader in (*sent, *later)
    ]
