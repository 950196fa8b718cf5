"""The published test vectors: ours, and a twin that shares no code with ours.

The twin makes every message anew from what was drawn, with the primitives of
`cryptography` and Python's integers, as another implementation would.
"""

import hashlib
import hmac
import json
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.private.aggregation import vectors

PRIME = 2**256 + 297
NAME = b"helix_jax aggregation 2"
SILOS, SURVIVORS, GONE = (1, 2, 3, 4), (1, 2, 3), (4,)


@pytest.fixture(scope="module")
def record():
    return json.loads(vectors.FILE.read_text())


def test_ours_are_the_published_ones(record):
    assert vectors.make() == record


class Twin:
    """The protocol once more, as docs/aggregation.md and messages.py have it."""

    def __init__(self, record):
        self.drawn = {
            name: [bytes.fromhex(one) for one in parts]
            for name, parts in record["drawn"].items()
        }
        self.vectors = {int(k): list(map(int, v)) for k, v in record["vectors"].items()}
        self.signing = [
            Ed25519PrivateKey.from_private_bytes(self.drawn[f"identity {k}"][0])
            for k in range(5)
        ]
        public = [key.public_key().public_bytes_raw() for key in self.signing]
        own = record["session"]
        numbers = (4, own["threshold"], own["colluders"], own["length"])
        parts = [NAME, self.drawn["session"][0], *public]
        parts += [n.to_bytes(8, "big") for n in numbers]
        parts.append(bytes.fromhex(own["content"]))
        sized = (len(part).to_bytes(8, "big") + part for part in parts)
        self.digest = hashlib.sha256(b"".join(sized)).digest()
        self.threshold = own["threshold"]

    def label(self, use, *silos):
        return NAME + b": " + use + b"".join(k.to_bytes(2, "big") for k in silos)

    def key(self, secret, label):
        return HKDF(SHA256(), 32, self.digest, label).derive(secret)

    def secrets(self, k):
        """Private keys of shares and of masks, seed, and random coefficients."""
        sealing, masking, seed, *rest = self.drawn[f"silo {k}"]
        return sealing, masking, seed, rest

    def public(self, k, which):
        private = X25519PrivateKey.from_private_bytes(self.secrets(k)[which])
        return private.public_key().public_bytes_raw()

    def agreed(self, own, other, which, label):
        private = X25519PrivateKey.from_private_bytes(self.secrets(own)[which])
        public = X25519PublicKey.from_public_bytes(self.public(other, which))
        return self.key(private.exchange(public), label)

    def shares(self, k):
        """party -> shares of the seed and of the mask key, 33 bytes each."""
        _, masking, seed, rest = self.secrets(k)
        rest = [int.from_bytes(one, "little") % PRIME for one in rest]
        found = dict.fromkeys(SILOS, b"")
        for number, secret in enumerate((seed, masking)):
            degree = self.threshold - 1
            own = [int.from_bytes(secret, "little")]
            own += rest[number * degree : (number + 1) * degree]
            for j in SILOS:
                value = sum(c * j**i for i, c in enumerate(own)) % PRIME
                found[j] += value.to_bytes(33, "little")
        return found

    def sealed(self, sender, recipient):
        label = self.label(b"shares", sender, recipient)
        key = self.agreed(sender, recipient, 0, label)
        return AESGCM(key).encrypt(bytes(12), self.shares(sender)[recipient], None)

    def stream(self, key):
        """Integers modulo 2^128: low words of one stream, high words of another."""
        halves = []
        for start in (0, 2**127):
            mode = modes.CTR(start.to_bytes(16, "big"))
            size = 8 * len(self.vectors[1])
            raw = Cipher(algorithms.AES(key), mode).encryptor().update(bytes(size))
            halves.append(struct.unpack(f"<{size // 8}Q", raw))
        return [low + (high << 64) for low, high in zip(*halves)]

    def masked(self, k):
        label = self.label(b"self mask", k)
        total = [
            a + b
            for a, b in zip(
                self.vectors[k], self.stream(self.key(self.secrets(k)[2], label))
            )
        ]
        for j in SILOS:
            if j != k:
                label = self.label(b"pair mask", min(j, k), max(j, k))
                mask = self.stream(self.agreed(k, j, 1, label))
                sign = 1 if k < j else -1
                total = [a + sign * b for a, b in zip(total, mask)]
        return [value % 2**128 for value in total]

    def message(self, kind, sender, body, recipient=0):
        header = struct.pack("<4sHHHH", b"HXAG", 2, kind, sender, recipient)
        header += self.digest + struct.pack("<Q", len(body))
        digest = hashlib.sha256(NAME + b": " + header + body).digest()
        return header + body + self.signing[sender].sign(digest)

    @staticmethod
    def members(silos):
        return bytes([sum(1 << (k - 1) for k in silos)])

    def table(self, entries):
        return self.members(entries) + b"".join(entries[k] for k in sorted(entries))

    def messages(self):
        """Everything that is sent, under the names of the record."""
        found = {}

        def send(step, kind, bodies, *, to=False):
            for k, body in bodies.items():
                name = f"{step}, to silo {k}" if to else f"{step}, silo {k}"
                found[name] = self.message(kind, *((0, body, k) if to else (k, body)))

        keys = {}
        for k in SILOS:
            label = self.digest + self.label(b"seed", k)
            promise = hmac.digest(self.secrets(k)[2], label, "sha256")
            keys[k] = self.public(k, 0) + self.public(k, 1) + promise + b"\0"
        send("advertise", 1, keys)
        signed = self.table({k: found[f"advertise, silo {k}"] for k in SILOS})
        send("advertise", 2, dict.fromkeys(SILOS, signed), to=True)
        for kind, to in ((3, False), (4, True)):
            tables = {}
            for k in SILOS:
                pairs = {j: (j, k) if to else (k, j) for j in SILOS if j != k}
                sealed = {j: self.sealed(*pair) for j, pair in pairs.items()}
                tables[k] = self.table(sealed)
            send("share", kind, tables, to=to)
        vectors = {}
        for k in SURVIVORS:
            values = self.masked(k)
            words = [v % 2**64 for v in values] + [v >> 64 for v in values]
            vectors[k] = struct.pack(f"<{len(words)}Q", *words)
        send("mask", 5, vectors)
        survivors = dict.fromkeys(SURVIVORS, self.members(SURVIVORS))
        send("mask", 6, survivors, to=True)
        send("confirm", 7, survivors)
        signed = self.table({k: found[f"confirm, silo {k}"] for k in SURVIVORS})
        request = self.members(SURVIVORS) + self.members(GONE) + signed
        send("confirm", 8, dict.fromkeys(SURVIVORS, request), to=True)
        reveal = {}
        for k in SURVIVORS:
            seeds = {j: self.shares(j)[k][:33] for j in SURVIVORS}
            reveal[k] = self.table(seeds)
            reveal[k] += self.table({j: self.shares(j)[k][33:] for j in GONE})
        send("reveal", 9, reveal)
        return found


def test_a_twin_makes_the_same_messages(record):
    twin = Twin(record)
    assert twin.digest.hex() == record["session"]["digest"]
    made = {name: data.hex() for name, data in twin.messages().items()}
    assert made == record["messages"]
    assert record["survivors"] == list(SURVIVORS)
    columns = zip(*(twin.vectors[k] for k in SURVIVORS))
    assert record["total"] == [str(sum(column) % 2**128) for column in columns]
