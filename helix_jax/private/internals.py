"""What lies behind the doors of both parties, for who has a reason to look.

No message of a protocol shows any of it. `FitClient` opens results with its client's
key; attacks compare what they found with the truth, and play providers without masks.
"""

import numpy as np

from helix_jax.private.client import Client
from helix_jax.private.fit_provider import FitProvider
from helix_jax.private.provider import Provider
from helix_jax.private.seal import SecretKey
from helix_jax.private.weights import Weights


def secret_key(client: Client) -> SecretKey:
    """The secret key of a client."""
    return client._secret


def transformed_weights(provider: Provider) -> Weights:
    """The weights of a layer, parts of [A, T, L, N] int64, transformed."""
    return provider._weights


def integer_rows(provider: FitProvider) -> np.ndarray:
    """The rows of a fit as they are multiplied: [n, d_y] float64, centred integers."""
    return provider._y


def unmasked_sums(provider: FitProvider) -> np.ndarray:
    """What a fit has summed so far: [d_y, T, 2, L, N] int64, transformed."""
    return np.concatenate([np.asarray(part) for part in provider._sums])
