"""What docs/protocol_vectors.json holds: messages of two parties, with their secrets.

`python -m tests.net.protocol_vectors` writes it anew, with new keys; the tests read
what is there. Bytes are hexadecimal, those of whole messages and of long parts base64.
All secrets in it are public: no other use of them is safe.
"""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from helix_jax.net.capabilities import PROTOCOL
from helix_jax.net.refusals import CODES
from helix_jax.private import (
    PROFILES,
    Client,
    FitClient,
    FitProvider,
    LabelClient,
    Provider,
    answers,
    packing,
    residues,
    sampling,
    wire,
)
from helix_jax.private.fit_plan import rows_digest, transcript
from helix_jax.private.internals import secret_key, signing_key
from helix_jax.private.key_proof_sizes import proof_length
from helix_jax.private.labels import shares
from helix_jax.private.profiles import Profile

PLACE = Path(__file__).parents[2] / "docs" / "protocol_vectors.json"
RING = "compact"
WIDTH, CLASSES, ROWS, TARGETS = 6, 3, 40, 2


def text64(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode()


def make_layer(ring: str, policy: str) -> tuple[np.ndarray, np.ndarray, Provider]:
    """Weights and their provider, always the same."""
    generator = np.random.default_rng(1)
    kernel = generator.normal(size=(WIDTH, CLASSES)).round(3)
    bias = generator.normal(size=CLASSES).round(3)
    provider = Provider(kernel, bias, input_norm=4.0, profile=ring, policy=policy)
    return kernel, bias, provider


def make_rows() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows of both sides, and their names; always the same."""
    generator = np.random.default_rng(2)
    x = generator.normal(size=(ROWS, WIDTH)).round(3)
    y = (x @ generator.normal(size=(WIDTH, TARGETS))).round(3)
    return x, y, [f"text {number}" for number in range(ROWS)]


def expansions() -> list[dict[str, Any]]:
    """Seeds, and what they stand for."""
    seed, found = bytes(range(32)), []
    for name in ("compact", "guarded", "open"):
        for use in ("key", "query", "rows"):
            profile = PROFILES[name]
            values = sampling.uniform_residues(seed, (1,), profile, use)
            packed = wire.pack_residues(values, profile)
            found.append(
                {
                    "profile": name,
                    "use": use,
                    "seed": seed.hex(),
                    "first_of_each_prime": values[0, :, :4].tolist(),
                    "packed_sha256": hashlib.sha256(packed).hexdigest(),
                }
            )
    return found


def rings() -> dict[str, Any]:
    """Of each profile its constants, the lengths of messages, and a transform."""
    return {name: _ring(profile) for name, profile in PROFILES.items()}


def _ring(profile: Profile) -> dict[str, Any]:
    roots = [residues.smallest_root(prime, profile.degree) for prime in profile.primes]
    polynomial = np.zeros((len(profile.primes), profile.degree), np.int64)
    polynomial[:, :3] = 1, 2, 3
    forward = residues.exact("profile")(residues.transform)
    values = np.asarray(forward(polynomial, profile=profile))
    plan = packing.plan_tiles(768, 5, profile, 1)
    return {
        "code": profile.code,
        "degree": profile.degree,
        "primes": list(profile.primes),
        "roots": roots,
        "residue_bytes": list(profile.residue_bytes),
        "bytes": {
            "proof": proof_length(profile) if profile.guarded else 0,
            "polynomial": wire.residues_length(1, profile),
            "answer_of_768_to_5_in_1_tile": wire.HEADER_BYTES
            + answers.payload_length(plan, profile, 1),
        },
        "transform_of_1_2_3": values[:, :4].tolist(),
    }


def packings() -> dict[str, Any]:
    """Where a query and weights of width 5 lie in two tiles."""
    plan = packing.plan_tiles(5, 3, PROFILES[RING], 2)
    x = np.arange(1, 6)
    kernel = np.arange(1, 16).reshape(5, 3)
    return {
        "width": 5,
        "results": 3,
        "tiles": 2,
        "tile": plan.tile,
        "rows": plan.rows,
        "answers": plan.answers,
        "positions": plan.positions.tolist(),
        "query": x.tolist(),
        "packed_query": _sparse(packing.pack_query(x, plan)),
        "kernel": kernel.tolist(),
        "packed_kernel": _sparse(packing.pack_kernel(kernel, plan)[0]),
    }


def _sparse(polynomials: np.ndarray) -> list[dict[str, int]]:
    """Of each polynomial its coefficients that are not zero, by exponent."""
    return [{str(i): int(one[i]) for i in np.flatnonzero(one)} for one in polynomials]


def party(client: Client) -> dict[str, Any]:
    """A client's keys, the secret ones with them."""
    inverse = residues.exact("profile")(residues.inverse_transform)
    profile = client.profile
    secret = np.asarray(inverse(secret_key(client).residues, profile=profile))[0]
    signs = np.where(secret > 1, -1, secret)
    return {
        "key": client.key.hex(),
        "signing_key": signing_key(client).hex(),
        "secret": "".join("-0+"[one + 1] for one in signs),
    }


def query(client: Client) -> dict[str, Any]:
    """A layer, a query of two rows, and their answer."""
    kernel, bias, provider = make_layer(RING, "logits")
    provider.register(client.public_bundle())
    offer = provider.layer.to_bytes()
    layer, x = client.read_layer(offer), np.array([[1, -2, 0.5, 0, 3, -0.25]] * 2)
    x[1] = -x[1] / 2
    asked = client.encrypt(layer, x)
    answer = provider.answer(asked)
    return {
        "kernel": kernel.tolist(),
        "bias": bias.tolist(),
        "layer": {
            "message": text64(offer),
            "result_bits": layer.result_bits,
            "query_bits": layer.query_bits,
            "input_norm": layer.input_norm,
            "error": layer.error,
            "policy": str(layer.policy),
            "binding": layer.binding.hex(),
            "plan": layer.plan._asdict(),
        },
        "query": {"message": text64(asked), "x": x.tolist()},
        "answer": {
            "message": text64(answer),
            "results": client.decrypt(answer).tolist(),
        },
    }


def fit(client: Client) -> dict[str, Any]:
    """A fit of few rows."""
    x, y, ids = make_rows()
    provider = FitProvider(y, ids=ids, profile=RING)
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    side = FitClient(client, offer, x, ids=ids)
    messages = list(side.chunks())
    for message in messages:
        provider.absorb(message)
    mean = provider.mean_message()
    results = list(provider.results())
    side.read_mean(mean)
    for message in results:
        side.read(message)
    moments, rows = side.moments(), side._rows
    return {
        "ids": ids,
        "x": x.tolist(),
        "y": y.tolist(),
        "offer": {
            "message": text64(offer),
            "number": side.offer.number.hex(),
            "rows": side.offer.rows,
            "rows_digest": rows_digest(ids).hex(),
            "norm_bits": side.offer.norm_bits,
            "mean_bits": side.offer.mean_bits,
            "precision": side.offer.precision,
            "energy": side.offer.energy,
            "rho": side.offer.rho,
            "exponents": side.offer.exponents.tolist(),
        },
        "plan": side.plan._asdict(),
        "row_bits": rows.bits,
        "row_scales": rows.scales.tolist(),
        "row_mean": rows.mean.tolist(),
        "rows": [text64(message) for message in messages],
        "transcript": transcript(
            hashlib.sha256(message).digest() for message in messages
        ).hex(),
        "mean": {
            "message": text64(mean),
            "opened": np.asarray(moments.mean_y).tolist(),
        },
        "results": {
            "messages": [text64(message) for message in results],
            "opened": np.asarray(moments.cov_xy).tolist(),
        },
    }


def labels() -> dict[str, Any]:
    """A conversation about one label; of the large messages their beginnings."""
    client = Client("guarded")
    kernel, bias, provider = make_layer("guarded", "label")
    bundle = client.public_bundle()
    provider.register(bundle)
    layer = client.read_layer(provider.layer.to_bytes())
    side, x = LabelClient(client, layer), np.array([1, -2, 0.5, 0, 3, -0.25])
    agreed = side.agree()
    scalars = side._asked[1]
    elements = provider.agree(agreed)
    side.read_elements(elements)
    asked = side.encrypt(x)
    answer = provider.answer(asked)
    choices = side.choose(answer)
    number = wire.read(asked, "query", layer.profile, binding=None).number
    chosen = side._chosen[number]
    garbled = provider.label(choices)
    return {
        "client": party(client),
        "key": _large(bundle),
        "layer": text64(layer.to_bytes()),
        "x": x.tolist(),
        "kernel": kernel.tolist(),
        "bias": bias.tolist(),
        "scalars": text64(b"".join(y.to_bytes(32, "little") for y in scalars)),
        "transfers": text64(agreed),
        "elements": text64(elements),
        "key_pairs": text64(b"".join(a + b for a, b in side._keys)),
        "query": _large(asked),
        "answer": text64(answer),
        "binding": shares.binding(layer, side._agreed).hex(),
        "choice_bits": "".join(map(str, chosen.choices)),
        "choices": text64(choices),
        "garbled": text64(garbled),
        "label": int(side.read(garbled)),
    }


def _large(message: bytes) -> dict[str, Any]:
    """A message by its header and its hash."""
    return {
        "header": message[: wire.HEADER_BYTES].hex(),
        "bytes": len(message),
        "sha256": hashlib.sha256(message).hexdigest(),
    }


def errors() -> dict[str, Any]:
    """Bodies of refusals."""
    return {
        code: {
            "status": one.status,
            "again": one.again,
            "body": json.dumps(
                {"error": code, "message": one.message}, separators=(",", ":")
            ),
        }
        for code, one in CODES.items()
    }


def make_vectors() -> dict[str, Any]:
    """All of them."""
    client = Client(RING)
    return {
        "protocol": PROTOCOL,
        "wire": wire.VERSION,
        "kinds": wire.KINDS,
        "profile_of_messages": RING,
        "profiles": rings(),
        "expansions": expansions(),
        "packing": packings(),
        "client": {"message": text64(client.public_bundle()), **party(client)},
        "query": query(client),
        "fit": fit(client),
        "labels": labels(),
        "errors": errors(),
    }


if __name__ == "__main__":
    os.umask(0o022)
    PLACE.write_text(json.dumps(make_vectors(), indent=1) + "\n")
