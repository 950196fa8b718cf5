"""Both parties of an encrypted layer in one process, each stage timed."""

import time

import numpy as np

from helix_jax.errors import RunError
from helix_jax.private import Client, Provider
from helix_jax.private.policies import Policy
from helix_jax.private.provider import PREPARED

STAGES = ("prepare", "client_encrypt", "provider", "client_decrypt")
WARMUPS = 3  # queries that compile


def check_policies(flag: str, *policies: str) -> None:
    """Raise unless all answer policies of a flag are such."""
    if not policies:
        raise RunError(f"--{flag} is empty; name one or more answer policies.")
    for policy in policies:
        try:
            Policy.parse(policy)
        except ValueError as error:
            raise RunError(f"--{flag}={policy}: {error}") from error


class Conversation:
    """A client and a provider that have agreed on a layer.

    Attributes:
      seconds: stage -> seconds of each query since `forget_times`.
      key_bytes: of the client's public key.
      query_bytes, answer_bytes: of the last query.
    """

    def __init__(self, client: Client, provider: Provider):
        """Register the client's key and read the provider's layer."""
        bundle = client.public_bundle()
        self._client, self._provider = client, provider
        self._key = provider.register(bundle)
        self._layer = client.read_layer(provider.layer.to_bytes())
        # Masks of the largest answers are made with them and not ahead.
        self._ahead = self._layer.profile.guarded and (
            self._layer.plan.answers <= PREPARED
        )
        self.key_bytes, self.query_bytes, self.answer_bytes = len(bundle), 0, 0
        self.forget_times()

    def forget_times(self) -> None:
        """Begin to count anew, after queries that compiled."""
        self.seconds = {stage: [] for stage in STAGES}

    def ask(self, row: np.ndarray) -> np.ndarray:
        """The logits [C] of a row [D], through encryption and the provider."""
        times = [time.perf_counter()]
        if self._ahead:
            self._provider.masks(self._key).prepare(1)
        times.append(time.perf_counter())
        query = self._client.encrypt(self._layer, row)
        times.append(time.perf_counter())
        answer = self._provider.answer(query)
        times.append(time.perf_counter())
        logits = self._client.decrypt(answer)
        times.append(time.perf_counter())
        for stage, start, stop in zip(STAGES, times, times[1:]):
            self.seconds[stage].append(stop - start)
        self.query_bytes, self.answer_bytes = len(query), len(answer)
        return logits
