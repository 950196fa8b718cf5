"""Both parties in one process, to measure a protocol's cost and traffic.

    Conversation   one client queries one provider of a layer, each stage timed
    rehearse_sum   one client queries several providers, whose answers are added sealed
    rehearse_fit   an encrypted fit from the first message to the moments

`aggregation.rehearsal` is the same for sums over silos.
"""

import functools
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap, Moments
from helix_jax.private.accountant import Privacy
from helix_jax.private.client import Client
from helix_jax.private.fit_client import FitClient
from helix_jax.private.fit_provider import FitProvider
from helix_jax.private.labels.client import LabelClient
from helix_jax.private.layer import shared_scales
from helix_jax.private.layer_keys import PREPARED
from helix_jax.private.policies import PRECISION, SHARE
from helix_jax.private.provider import Provider
from helix_jax.private.stages import STAGES
from helix_jax.private.summing import sum_answers
from helix_jax.progress import bar, stage
from helix_jax.stats import Interval

WARMUPS = 3  # first queries, which compile


class Conversation:
    """A client and a provider that have agreed on a layer.

    Attributes:
      seconds: stage -> seconds of each query since `forget_times`.
      key_bytes: of the client's public key, and of its transfers for labels.
      query_bytes, answer_bytes: of the last query, with both rounds of a label.
    """

    def __init__(self, client: Client, provider: Provider):
        """Register the client's key and read the provider's layer."""
        bundle = client.public_bundle()
        self._client, self._provider = client, provider
        self._key = provider.register(bundle)
        self._layer = client.read_layer(provider.layer.to_bytes())
        # Masks of the largest answers are made with the answer, not ahead.
        self._ahead = self._layer.profile.guarded and (
            self._layer.plan.answers <= PREPARED
        )
        self.key_bytes, self.query_bytes, self.answer_bytes = len(bundle), 0, 0
        self._side = None
        if self._layer.policy.name == "label":
            self._side = LabelClient(client, self._layer)
            transfers = self._side.agree()
            self._side.read_elements(provider.agree(transfers))
            self.key_bytes += len(transfers)
        self.forget_times()

    def forget_times(self) -> None:
        """Discard the times so far, after queries that compiled."""
        self.seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}

    @property
    def costs(self) -> dict[str, float | Interval]:
        """Seconds of each stage (median and middle 95% of the queries), and bytes."""
        seconds = {
            name: Interval(*np.quantile(spent, [0.5, 0.025, 0.975]))
            for name, spent in self.seconds.items()
        }
        online = sum(
            spent.value for name, spent in seconds.items() if name != "prepare"
        )
        return {f"{name}_seconds": spent for name, spent in seconds.items()} | {
            "online_seconds": online,
            "query_bytes": self.query_bytes,
            "answer_bytes": self.answer_bytes,
            "key_bytes": self.key_bytes,
        }

    def ask(self, row: np.ndarray) -> np.ndarray:
        """The logits [C] of a row [D], through encryption and the provider.

        Under the policy "label" it is the label [], an integer.
        """
        times = [time.perf_counter()]
        if self._ahead:
            self._provider.masks(self._key).prepare(1)
        times.append(time.perf_counter())
        query = self._client.encrypt(self._layer, row)
        times.append(time.perf_counter())
        answer = self._provider.answer(query)
        times.append(time.perf_counter())
        self.query_bytes, self.answer_bytes = len(query), len(answer)
        if self._side is None:
            found = self._client.decrypt(answer)
        else:
            choices = self._side.choose(answer)
            times.append(time.perf_counter())
            garbled = self._provider.label(choices)
            times.append(time.perf_counter())
            found = self._side.read(garbled)
            self.query_bytes += len(choices)
            self.answer_bytes += len(garbled)
        times.append(time.perf_counter())
        spent = np.diff(times)
        spent[2:4] += spent[4:6] if len(spent) > 4 else 0  # the second round's
        for name, seconds in zip(STAGES, spent):
            self.seconds[name].append(seconds)
        return found

    def ask_all(self, rows: np.ndarray) -> np.ndarray:
        """The logits [N, C] or labels [N] of rows [N, D], timed after compilation."""
        with stage("first queries, which compile"):
            for row in rows[:WARMUPS]:
                self.ask(row)
        self.forget_times()
        return np.stack([self.ask(row) for row in bar(rows, "queries")])


class SummedAnswers(NamedTuple):
    """The sum of several providers' answers to one message.

    Attributes:
      results: [B, k] float64, as the client opens the sum.
      answer_bytes: of one provider's message.
      seconds: that the aggregator took to add the answers.
    """

    results: np.ndarray
    answer_bytes: int
    seconds: float


def rehearse_sum(maps: Sequence[AffineMap], x: np.ndarray) -> SummedAnswers:
    """Let each provider answer the same rows with its map, and add the answers.

    Args:
      maps: one per provider, kernel [d, k] and bias [k].
      x: [B, d] float, the client's rows.

    Returns:
      SummedAnswers, whose results are those of the sum of the maps.
    """
    make = functools.partial(
        Provider,
        input_norm=float(np.linalg.norm(x, axis=1).max()),
        policy="logits",  # rounding would add the noise of every provider
    )
    weights = [(np.asarray(share.kernel), np.asarray(share.bias)) for share in maps]
    scales = shared_scales([make(*share).layer for share in weights])
    providers = [make(*share, shared=scales) for share in weights]
    client = Client()
    for provider in providers:
        provider.register(client.public_bundle())
    layer = client.read_layer(providers[0].layer.to_bytes())
    query = client.encrypt(layer, x)
    answers = [provider.answer(query) for provider in providers]
    began = time.perf_counter()
    total = sum_answers(answers, layer)
    seconds = time.perf_counter() - began
    return SummedAnswers(client.decrypt(total), len(answers[0]), seconds)


class FitRehearsal(NamedTuple):
    """Both sides of a finished encrypted fit, and its cost.

    Attributes:
      client: FitClient.
      provider: FitProvider.
      moments: as the client has them, of its projection if there is a rank.
      seconds: "client" and "provider" -> seconds.
      sizes: "rows", "mean" and "covariance" -> bytes of all messages of that kind.
    """

    client: FitClient
    provider: FitProvider
    moments: Moments
    seconds: dict[str, float]
    sizes: dict[str, int]

    @property
    def costs(self) -> dict[str, float]:
        """Seconds of each party, bytes each way."""
        seconds = {f"{party}_seconds": spent for party, spent in self.seconds.items()}
        return seconds | {
            "upload_bytes": self.sizes["rows"],
            "download_bytes": self.sizes["mean"] + self.sizes["covariance"],
        }


def rehearse_fit(
    x: np.ndarray,
    y: np.ndarray,
    *,
    ids: Sequence[str] | None = None,
    profile: str = "guarded",
    rank: int | None = None,
    precision: int | None = PRECISION,
    share: float = SHARE,
    privacy: Privacy | None = None,
    own: Privacy | None = None,
    state: str | os.PathLike | None = None,
    on_message: Callable[[str, bytes], object] = lambda kind, message: None,
) -> FitRehearsal:
    """Run both sides of an encrypted fit.

    Args:
      x: [n, d_x] float, the client's rows.
      y: [n, d_y] float, the provider's rows.
      ids: [n] names of the rows, which both sides compare.
      profile: name of the parameters.
      rank: of the client's projection; None for all directions.
      precision: bits of a result, see `FitProvider`.
      share: the provider's guard, see `FitProvider`.
      privacy: differential privacy of the provider's rows; both sides then need rows
        of norm at most 1.
      own: differential privacy of the client's rows.
      state: folder where the provider keeps its sums after each message; None keeps
        them in memory.
      on_message: called with the kind (as in `FitRehearsal.sizes`) and the bytes of
        every message.

    Returns:
      FitRehearsal.

    Raises:
      ProtocolError: the provider's guard refuses the fit.
      ValueError: a shape or a value is not allowed.
    """
    seconds = dict.fromkeys(("client", "provider"), 0.0)
    sizes = dict.fromkeys(("rows", "mean", "covariance"), 0)

    def timed(party: str, function: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter()
        result = function(*args)
        seconds[party] += time.perf_counter() - began
        return result

    def send(kind: str, message: bytes) -> None:
        sizes[kind] += len(message)
        on_message(kind, message)

    with stage("the provider prepares"):
        prepare = partial(
            FitProvider,
            ids=ids,
            profile=profile,
            precision=precision,
            share=share,
            privacy=privacy,
        )
        provider = timed("provider", prepare, y)
    client = timed("client", Client, profile)
    provider.register(client.public_bundle())
    offer = provider.offer.to_bytes()
    with stage("the client prepares"):
        join = partial(FitClient, client, offer, x, ids=ids, rank=rank, privacy=own)
        side = timed("client", join)
    rows = side.chunks()
    for _ in bar(range(side.plan.chunks), "rows under encryption", unit="messages"):
        message = timed("client", next, rows)
        send("rows", message)
        timed("provider", provider.absorb, message)
        if state is not None:
            provider.save(state)
    mean = timed("provider", provider.mean_message)
    send("mean", mean)
    timed("client", side.read_mean, mean)
    results = timed("provider", provider.results)
    with stage("the client decrypts"):
        while (message := timed("provider", next, results, None)) is not None:
            send("covariance", message)
            timed("client", side.read, message)
        moments = timed("client", side.moments)
    return FitRehearsal(side, provider, moments, seconds, sizes)
