"""What docs/protocol.md says, held against its vectors, and both against the code.

The vectors are read by `protocol_reading.py`, which uses nothing of helix_jax.
"""

import asyncio
import base64
import dataclasses
import hashlib
import json
import re
import struct
from pathlib import Path

import httpx2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from helix_jax.net.app import make_app
from helix_jax.net.capabilities import PROTOCOL
from helix_jax.net.doors import DOORS, Door
from helix_jax.net.page import page_doors
from helix_jax.net.refusals import CODES, Refusal
from helix_jax.net.service import Service
from helix_jax.net.settings import ServiceSettings
from helix_jax.private import FitProvider, wire

from . import protocol_vectors as made
from .protocol_reading import (
    expand,
    integers,
    inverse_transform,
    is_signed,
    negacyclic,
    open_words,
    read_message,
    secret_of,
    transform,
)

TEXT = (made.PLACE.parent / "protocol.md").read_text()
VECTORS = json.loads(made.PLACE.read_text())
RING = VECTORS["profiles"][VECTORS["profile_of_messages"]]
PRIME, ROOT, N = RING["primes"][0], RING["roots"][0], RING["degree"]
SECRET = secret_of(VECTORS["client"]["secret"])
QUERY, FIT, LABELS = (VECTORS[name] for name in ("query", "fit", "labels"))


def raw(text: str) -> bytes:
    """Bytes of base64."""
    return base64.b64decode(text, validate=True)


MESSAGES = {
    "key": raw(VECTORS["client"]["message"]),
    "layer": raw(QUERY["layer"]["message"]),
    "query": raw(QUERY["query"]["message"]),
    "answer": raw(QUERY["answer"]["message"]),
    "fit": raw(FIT["offer"]["message"]),
    "rows": raw(FIT["rows"][0]),
    "mean": raw(FIT["mean"]["message"]),
    "covariance": raw(FIT["results"]["messages"][0]),
    "transfers": raw(LABELS["transfers"]),
    "elements": raw(LABELS["elements"]),
    "choices": raw(LABELS["choices"]),
    "garbled": raw(LABELS["garbled"]),
}


def phases(payload: bytes, use: str, count: int) -> np.ndarray:
    """Seeded ciphertexts of `compact`, opened: [count, N] integers."""
    seed, first = payload[:32], integers(payload[32 : 32 + 7 * N * count], 7)
    (second,) = expand(seed, use, VECTORS["profile_of_messages"], RING, count)
    values = transform(SECRET, ROOT, PRIME)
    found = []
    for i in range(0, count * N, N):
        pairs = zip(first[i : i + N], second[i : i + N], values, strict=True)
        sums = [(a + b * s) % PRIME for a, b, s in pairs]
        found.append(inverse_transform(sums, ROOT, PRIME))
    return np.array(found)


@pytest.mark.parametrize("kind", VECTORS["kinds"])
def test_every_kind_has_a_message_that_is_as_its_header_says(kind):
    read = read_message(MESSAGES[kind])
    assert (read.magic, read.version) == (b"HLXP", VECTORS["wire"])
    assert read.kind == VECTORS["kinds"][kind]
    assert read.length == len(read.payload)
    labels = kind in ("transfers", "elements", "choices", "garbled")
    name = "guarded" if labels else VECTORS["profile_of_messages"]
    assert read.profile == VECTORS["profiles"][name]["code"]
    offers = kind in ("layer", "fit")
    owner = LABELS["client"]["key"] if labels else VECTORS["client"]["key"]
    assert read.key.hex() == ("00" * 16 if offers else owner)
    if kind in ("key", "layer", "fit", "rows", "mean"):
        assert read.binding == bytes(16)


def test_what_a_client_asks_with_is_signed_by_its_key():
    verifying = MESSAGES["key"][80:112]
    assert verifying == _public(VECTORS["client"]["signing_key"])
    for kind in ("query", "rows"):
        message = MESSAGES[kind]
        assert is_signed(message, verifying)
        assert not is_signed(b"X" + message[1:], verifying)
    verifying = _public(LABELS["client"]["signing_key"])
    assert is_signed(MESSAGES["transfers"], verifying)
    assert is_signed(MESSAGES["choices"], verifying)


def _public(signing: str) -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(signing))
    return private.public_key().public_bytes_raw()


@pytest.mark.parametrize("one", VECTORS["expansions"], ids=lambda x: x["profile"])
def test_seeds_stand_for_these_residues(one):
    ring = VECTORS["profiles"][one["profile"]]
    found = expand(bytes.fromhex(one["seed"]), one["use"], one["profile"], ring)
    assert [part[:4] for part in found] == one["first_of_each_prime"]
    packed = b"".join(
        value.to_bytes(width, "little")
        for part, width in zip(found, ring["residue_bytes"], strict=True)
        for value in part
    )
    assert hashlib.sha256(packed).hexdigest() == one["packed_sha256"]


@pytest.mark.parametrize("name", VECTORS["profiles"])
def test_transforms_are_values_at_powers_of_the_smallest_root(name):
    ring = VECTORS["profiles"][name]
    polynomial = [1, 2, 3] + [0] * (ring["degree"] - 3)
    for number, (prime, root) in enumerate(
        zip(ring["primes"], ring["roots"], strict=True)
    ):
        assert pow(root, ring["degree"], prime) == prime - 1
        square, power = root * root % prime, root
        for _ in range(ring["degree"] - 1):
            power = power * square % prime
            assert power > root
        values = transform(polynomial, root, prime)
        assert values[:4] == ring["transform_of_1_2_3"][number]
        assert inverse_transform(values, root, prime) == polynomial


def test_a_key_is_named_by_its_content_and_is_one():
    read = read_message(MESSAGES["key"])
    assert read.sizes == (N, 1, 0, 0)
    assert read.key == hashlib.sha256(read.payload).digest()[:16]
    assert read.number == bytes(16)
    (errors,) = phases(read.payload[32:], "key", 1)
    assert np.abs(errors).max() <= 21


def test_a_key_that_answers_are_hidden_by_has_its_proof():
    key, ring = LABELS["key"], VECTORS["profiles"]["guarded"]
    read = read_message(bytes.fromhex(key["header"]))
    assert read.length == 64 + ring["bytes"]["polynomial"] + ring["bytes"]["proof"]
    assert key["bytes"] == 80 + read.length


def test_a_layer_says_its_scales_and_has_its_binding():
    layer, message = QUERY["layer"], MESSAGES["layer"]
    read = read_message(message)
    plan = layer["plan"]
    assert read.sizes == (plan["width"], plan["classes"], plan["tiles"], 0)
    found = struct.unpack("<HHddBB", read.payload)
    wanted = [layer[name] for name in ("result_bits", "query_bits", "input_norm")]
    assert list(found) == [*wanted, layer["error"], 0, 0]
    without = message[:92] + bytes(8) + message[100:]
    assert hashlib.sha256(without).digest()[:16].hex() == layer["binding"]
    assert plan["tile"] == -(-plan["width"] // plan["tiles"])
    assert plan["rows"] == min(N // plan["tile"], plan["classes"])
    assert plan["answers"] == -(-plan["classes"] // plan["rows"])


def test_numbers_lie_where_the_packing_says():
    packing = VECTORS["packing"]
    tile, rows = packing["tile"], packing["rows"]
    assert packing["positions"] == [i * tile + tile - 1 for i in range(rows)]
    total = np.zeros(N, object)
    for t in range(packing["tiles"]):
        query, kernel = np.zeros(N, int), np.zeros(N, int)
        for j, value in enumerate(packing["query"][t * tile : (t + 1) * tile]):
            query[j] = value
        for j in range(tile):
            if t * tile + j < packing["width"]:
                row = packing["kernel"][t * tile + j]
                for i in range(rows):
                    kernel[i * tile + tile - 1 - j] = row[i]
        for found, name in ((query, "packed_query"), (kernel, "packed_kernel")):
            wanted = {int(i): value for i, value in packing[name][t].items()}
            assert {i: found[i] for i in np.flatnonzero(found)} == wanted
        total += negacyclic(query, kernel)
    plain = np.array(packing["query"]) @ np.array(packing["kernel"])
    assert total[packing["positions"]].tolist() == plain.tolist()


def test_a_query_opens_to_its_numbers():
    read, layer = read_message(MESSAGES["query"]), QUERY["layer"]
    x = np.array(QUERY["query"]["x"])
    assert read.sizes == (made.WIDTH, made.CLASSES, 1, len(x))
    assert read.binding.hex() == layer["binding"]
    assert read.length == 2 * 32 + 2 * 7 * N + 64  # two rows, each a group of its own
    for i, row in enumerate(x):
        seed = read.payload[32 * i : 32 * (i + 1)]
        first = read.payload[64 + 7 * N * i : 64 + 7 * N * (i + 1)]
        (found,) = phases(seed + first, "query", 1)
        wanted = np.zeros(N)
        wanted[: made.WIDTH] = np.rint(row * 2.0 ** layer["query_bits"])
        assert np.abs(found - wanted).max() <= 21


def test_an_answer_opens_to_results_and_is_the_product_of_its_query():
    read, layer = read_message(MESSAGES["answer"]), QUERY["layer"]
    asked = read_message(MESSAGES["query"])
    assert read[4:8] == asked[4:8]  # key, number, binding, sizes
    plan, x = layer["plan"], np.array(QUERY["query"]["x"])
    kernel, bias = np.array(QUERY["kernel"]), np.array(QUERY["bias"])
    positions = [i * plan["tile"] + plan["tile"] - 1 for i in range(plan["rows"])]
    bits = layer["result_bits"] - layer["query_bits"]
    weights = np.zeros(N, int)
    for i, place in enumerate(positions):
        column = np.rint(np.ldexp(kernel[:, i], bits)).astype(int)
        weights[place - made.WIDTH + 1 : place + 1] = column[::-1]
    numbers, size = integers(read.payload, 5), made.CLASSES + N
    assert len(numbers) == len(x) * size
    for i in range(len(x)):
        own = numbers[i * size : (i + 1) * size]
        first, second = own[: made.CLASSES], own[made.CLASSES :]
        opened = open_words(first, second, positions, SECRET)
        results = opened * PRIME / 2.0 ** layer["result_bits"]
        np.testing.assert_allclose(results, x[i] @ kernel + bias, atol=layer["error"])
        wanted = QUERY["answer"]["results"][i]
        np.testing.assert_allclose(results, wanted, atol=2.0**-30)
        seed = asked.payload[32 * i : 32 * (i + 1)]
        (values,) = expand(seed, "query", VECTORS["profile_of_messages"], RING)
        part = inverse_transform(values, ROOT, PRIME)
        product = [c * 2**40 / PRIME for c in map(int, negacyclic(part, weights))]
        distance = np.array([(w - p) % 2**40 for w, p in zip(second, product)])
        assert np.minimum(distance, 2**40 - distance).max() <= 0.51


def test_the_code_answers_this_query_by_these_bytes():
    _, _, provider = made.make_layer(VECTORS["profile_of_messages"], "logits")
    assert provider.layer.to_bytes() == MESSAGES["layer"]
    assert provider.register(MESSAGES["key"]).hex() == VECTORS["client"]["key"]
    assert provider.answer(MESSAGES["query"]) == MESSAGES["answer"]


def test_an_offer_of_a_fit_says_what_both_sides_need():
    read, offer = read_message(MESSAGES["fit"]), FIT["offer"]
    assert read.sizes == (made.ROWS, made.TARGETS, 0, 0)
    assert read.number.hex() == offer["number"]
    digest, *found = struct.unpack("<32shhBdd", read.payload[:53])
    names = "norm_bits", "mean_bits", "precision", "energy", "rho"
    assert found == [offer[name] for name in names]
    exponents = struct.unpack(f"<{made.TARGETS}h", read.payload[53:])
    assert list(exponents) == offer["exponents"]
    own = hashlib.sha256()
    for name in FIT["ids"]:
        own.update(struct.pack("<Q", len(name.encode())) + name.encode())
    assert digest == own.digest()
    assert digest.hex() == offer["rows_digest"]


def test_rows_and_results_of_a_fit_open_to_its_moments():
    x, y = np.array(FIT["x"]), np.array(FIT["y"])
    read = read_message(MESSAGES["rows"])
    assert len(FIT["rows"]) == 1
    assert read.number == read_message(MESSAGES["fit"]).number
    assert read.sizes == (0, made.WIDTH, made.ROWS, 0)
    (found,) = phases(read.payload, "rows", 1)
    wanted = np.zeros(N)
    scaled = (x - FIT["row_mean"]) / FIT["row_scales"]
    wanted[: x.size] = np.rint(scaled * 2.0 ** FIT["row_bits"]).ravel()
    assert np.abs(found - wanted).max() <= 22  # 21, and one of rounding twice

    mean = read_message(MESSAGES["mean"])
    numbers = integers(mean.payload, 5)
    assert mean.sizes == (1, 0, 0, 0)
    opened = open_words(numbers[:N], numbers[N:], range(N), SECRET)[: made.TARGETS]
    opened *= PRIME / 2.0 ** FIT["offer"]["mean_bits"]
    opened = np.ldexp(opened, FIT["offer"]["exponents"])
    np.testing.assert_allclose(opened, y.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(opened, FIT["mean"]["opened"], atol=1e-7)

    results = read_message(MESSAGES["covariance"])
    digests = (hashlib.sha256(raw(one)).digest() for one in FIT["rows"])
    bound = hashlib.sha256(b"".join(digests)).digest()[:16]
    assert results.binding == bound
    assert bound.hex() == FIT["transcript"]
    assert results.sizes == (0, made.TARGETS, made.WIDTH, made.ROWS)
    numbers, own = integers(results.payload, 5), made.TARGETS * made.WIDTH
    for j in range(made.TARGETS):
        first = numbers[j * made.WIDTH : (j + 1) * made.WIDTH]
        second = numbers[own + j * N : own + (j + 1) * N]
        opened = open_words(first, second, range(made.WIDTH), SECRET) * PRIME
        opened = np.ldexp(opened, FIT["offer"]["exponents"][j] - FIT["row_bits"])
        opened *= np.array(FIT["row_scales"]) / made.ROWS
        plain = (x - x.mean(axis=0)).T @ (y[:, j] - y[:, j].mean()) / made.ROWS
        np.testing.assert_allclose(opened, plain, atol=1e-3)
        kept = np.array(FIT["results"]["opened"])[:, j]
        np.testing.assert_allclose(opened, kept, atol=1e-7)


def test_the_code_answers_these_rows_by_these_bytes():
    _, y, ids = made.make_rows()
    provider = FitProvider(y, ids=ids, profile=VECTORS["profile_of_messages"])
    number = bytes.fromhex(FIT["offer"]["number"])
    provider.offer = dataclasses.replace(provider.offer, number=number)
    assert provider.offer.to_bytes() == MESSAGES["fit"]
    provider.register(MESSAGES["key"])
    for message in FIT["rows"]:
        provider.absorb(raw(message))
    assert [*provider.results()] == [raw(one) for one in FIT["results"]["messages"]]


def test_refusals_have_these_statuses_and_bodies(tmp_path):
    def door(code: str) -> Door:
        async def refuse(*_):
            raise Refusal(code)

        return Door("GET", f"/{code}", refuse, open=True)

    async def ask() -> dict[str, httpx2.Response]:
        service = Service(ServiceSettings(state=str(tmp_path / "state")))
        app = make_app(service, lambda request: None, tuple(map(door, CODES)))
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://localhost"
        ) as http:
            found = {code: await http.get(f"/{code}") for code in CODES}
        await service.close()
        return found

    for code, answer in asyncio.run(ask()).items():
        wanted = VECTORS["errors"][code]
        assert (answer.status_code, answer.text) == (wanted["status"], wanted["body"])
        assert ("retry-after" in answer.headers) is wanted["again"]
    assert set(VECTORS["errors"]) == set(CODES)


def test_the_vectors_are_of_this_release_and_small():
    assert (VECTORS["protocol"], VECTORS["wire"]) == (PROTOCOL, wire.VERSION)
    assert VECTORS["kinds"] == wire.KINDS
    for name in ("profiles", "expansions", "packing", "errors"):
        make = {"profiles": "rings", "packing": "packings"}.get(name, name)
        found = json.loads(json.dumps(getattr(made, make)()))
        assert VECTORS[name] == found
    assert made.PLACE.stat().st_size < 300_000


def test_the_document_names_every_route_code_and_kind():
    for door in (*DOORS, *page_doors()):
        assert f"`{door.method} {door.path}`" in TEXT
    table = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", TEXT, re.MULTILINE))
    assert table == {code: str(one.status) for code, one in CODES.items()}
    kinds = re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXT, re.MULTILINE)
    assert {name: int(number) for number, name in kinds} == wire.KINDS
    assert f"protocol {PROTOCOL}" in TEXT
    assert f"version {wire.VERSION}" in TEXT


def test_the_other_implementation_uses_nothing_of_this_one():
    text = (Path(__file__).parent / "protocol_reading.py").read_text()
    names = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert "helix_jax" not in names
