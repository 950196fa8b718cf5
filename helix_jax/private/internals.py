"""Internals of both parties, for tests and attacks.

No message of a protocol reveals any of them. `FitClient` decrypts results with its
client's key; attacks compare what they find with the truth, and play providers without
masks.
"""

from collections.abc import Iterator

import numpy as np

from helix_jax.private import signatures, wire
from helix_jax.private.accounts import PublicKey
from helix_jax.private.client import Client
from helix_jax.private.fit_provider import FitProvider
from helix_jax.private.forks import require_own
from helix_jax.private.provider import Provider
from helix_jax.private.seal import SecretKey
from helix_jax.private.weights import Weights


def secret_key(client: Client) -> SecretKey:
    """The secret key of a client, in its own process.

    Raises:
      ProtocolError: this is another process.
    """
    require_own(client._process, "this Client")
    return client._secret


def admit_unproved(provider: Provider | FitProvider, key: PublicKey) -> None:
    """Register a public key without checking its proof."""
    provider._admit(key, None)


def signing_key(client: Client) -> bytes:
    """The key that signs a client's messages."""
    return client._signing


def sign_anew(client: Client, message: bytes) -> bytes:
    """Sign a changed message of the client again, so that its signature is valid."""
    return wire.sign(message[: -signatures.SIGNATURE_BYTES], signing_key(client))


def transformed_weights(provider: Provider) -> Weights:
    """The weights of a layer, parts of [A, T, L, N] int64, transformed."""
    return provider._prepared.weights


def integer_rows(provider: FitProvider) -> np.ndarray:
    """The rows of a fit as they are multiplied: [n, d_y] float64, centred integers."""
    rows = provider._prepared.rows
    return np.asarray(rows[0 : rows.shape[0]], np.float64)


def unmasked_results(provider: FitProvider) -> Iterator[bytes]:
    """Messages of a fit's results as a provider without masks would send them."""
    absorbed = provider._absorbed
    if absorbed.plan is None:
        raise ValueError("unmasked_results: the provider has absorbed no rows yet.")
    return provider._results(absorbed.plan, list(absorbed.sums), masked=False)


def unmasked_sums(provider: FitProvider) -> np.ndarray:
    """What a fit has summed so far: [d_y, T, 2, L, N] int64, transformed."""
    return np.concatenate([np.asarray(part) for part in provider._absorbed.sums])
