"""The client of a private search; it does no input or output itself.

`search` and `read` are generators of Requests (`requests.py`); results are in order of
their scores. docs/search.md says what the provider learns from either.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import ProtocolError
from helix_jax.private import packing
from helix_jax.private.client import Client
from helix_jax.private.layer import Layer
from helix_jax.private.search.about import read_about
from helix_jax.private.search.limits import MAX_DECOYS
from helix_jax.private.search.plausible import choose_sets, draw_blocks, draw_decoys
from helix_jax.private.search.records import from_digits, read_record
from helix_jax.private.search.requests import Request, answer_bytes

SECRET_BYTES = 32
_REMEMBERED = 100_000

Steps = Generator[Request, Sequence[bytes], Any]


class Hit(NamedTuple):
    """A row that was found.

    Attributes:
      row: its number in the index's own order.
      score: its cosine with the query, up to the noise of the policy.
      block: the block that contains its text.
      chosen: the set of clusters that the query chose; -1 if all rows were scored.
    """

    row: int
    score: float
    block: int
    chosen: int


class SearchClient:
    """Searches one index.

    Attributes:
      about: the index's description.
    """

    def __init__(
        self,
        client: Client,
        about: Mapping[str, Any],
        *,
        decoys: int | None = None,
        secret: bytes | None = None,
    ):
        """Wrap a client that is registered with the index's provider.

        Args:
          client: a client with the provider's profile.
          about: the provider's description.
          decoys: sets of clusters, or blocks of texts, to request beside each intended
            one; None takes the number that the provider proposes.
          secret: 32 bytes that decoys depend on. Keep it to repeat searches in another
            process, so that they request the same decoys; None makes one for this
            object.

        Raises:
          ProtocolError: the description is malformed or out of bounds.
          ValueError: a setting is not allowed.
        """
        self.about = read_about(about, client.profile)
        self._client = client
        self._decoys = self.about.decoys if decoys is None else decoys
        if not 0 <= self._decoys <= MAX_DECOYS:
            raise ValueError(
                f"SearchClient: decoys must be from 0 to {MAX_DECOYS}, got {decoys}."
            )
        self._secret = os.urandom(SECRET_BYTES) if secret is None else secret
        if len(self._secret) != SECRET_BYTES:
            raise ValueError(
                f"SearchClient: secret needs {SECRET_BYTES} bytes, got "
                f"{len(self._secret)}."
            )
        self._chosen: OrderedDict[bytes, int] = OrderedDict()

    def search(self, x: np.ndarray, k: int = 10) -> Steps:
        """Find the rows nearest to a query.

        Args:
          x: [d] real, finite, not zero; only its direction counts.
          k: how many rows.

        Returns:
          A generator of Requests that returns a list of Hits, best first: k of them, or
          fewer if fewer rows were scored.

        Raises:
          ValueError: the shape is wrong, x has no direction, or k is out of range.
        """
        if not 1 <= k <= self.about.rows:
            raise ValueError(f"search: k must be from 1 to {self.about.rows}, got {k}.")
        width = self.about.vectors.plan.width
        rows = packing.check_rows("search", np.atleast_2d(np.asarray(x)), width)
        norm = np.linalg.norm(rows)
        if len(rows) != 1 or not 0 < norm < np.inf:
            raise ValueError(
                f"search: expected one query that is not zero, got {len(rows)} of norm "
                f"{norm}."
            )
        x = rows[0] / norm
        return self._search_clusters(x, k) if self.about.clustered else self._scan(x, k)

    def _scan(self, x: np.ndarray, k: int) -> Steps:
        (scores,) = yield from self._ask(self.about.vectors, x, ["scores"])
        rows = _best(scores, k)
        blocks = rows // self.about.layout.block_rows
        found = zip(rows.tolist(), scores[rows].tolist(), blocks.tolist())
        return [Hit(row, score, block, -1) for row, score, block in found]

    def _search_clusters(self, x: np.ndarray, k: int) -> Steps:
        layout, layer = self.about.layout, self.about.vectors
        sets, _ = layout.choices()
        parts = [f"centroids/{i}" for i in range(self.about.centroid_blocks)]
        scores = np.concatenate((yield from self._ask(layer, x, parts)))
        chosen = self._choose(x, scores[: len(layout.sizes)])
        asked = np.unique(sets[self.sets_of(chosen)])
        parts = [f"cluster/{block}" for block in asked]
        answers = yield from self._ask(layer, x, parts)
        own, starts = sets[chosen], np.cumsum(layout.sizes) - layout.sizes
        places = np.searchsorted(asked, own)
        rows = np.concatenate(
            [starts[block] + np.arange(layout.sizes[block]) for block in own]
        )
        blocks = np.repeat(own, layout.sizes[own])
        scores = np.concatenate(
            [answers[i][: layout.sizes[block]] for i, block in zip(places, own)]
        )
        best = _best(scores, k)
        found = (values[best].tolist() for values in (rows, scores, blocks))
        return [Hit(row, score, block, chosen) for row, score, block in zip(*found)]

    def read(self, hit: Hit) -> Steps:
        """Read the id and the text of a hit.

        Returns:
          A generator of Requests that returns a Document. It raises ProtocolError if
          the answer is not the record of that row; showing this error to the provider
          would reveal which block was intended.

        Raises:
          ValueError: the hit is from another index.
        """
        layout = self.about.layout
        start = int(layout.sizes[: hit.block].sum())
        if not (
            0 <= hit.block < len(layout.sizes)
            and start <= hit.row < start + layout.sizes[hit.block]
            and (hit.chosen >= 0) == self.about.clustered
        ):
            raise ValueError(f"read: {hit} is not a hit of this index.")
        return self._read(hit, hit.row - start)

    def _read(self, hit: Hit, place: int) -> Steps:
        layout, layer = self.about.layout, self.about.texts
        if hit.chosen < 0:
            others = draw_blocks(
                self._secret,
                self.about.name,
                hit.block,
                len(layout.sizes),
                self._decoys,
            )
            asked = np.unique([hit.block, *others])
        else:
            # Request the cluster of the same rank in every set: the rank then does
            # not reveal the intended set.
            sets, _ = layout.choices()
            (rank,) = np.flatnonzero(sets[hit.chosen] == hit.block)
            asked = np.unique(sets[self.sets_of(hit.chosen), rank])
        one_hot = np.zeros(layer.plan.width)
        one_hot[place] = 1
        parts = [f"texts/{block}" for block in asked]
        answers = yield from self._ask(layer, one_hot, parts)
        digits = answers[int(np.searchsorted(asked, hit.block))]
        return read_record(self.about.name, hit.row, from_digits(digits))

    def _ask(self, layer: Layer, x: np.ndarray, parts: list[str]) -> Steps:
        """Make one request; returns the results of each part, [k] float64.

        All answers are opened, decoys too, so that a malformed answer is refused
        whichever part it is for.
        """
        message = self._client.encrypt(layer, x, answers=len(parts))
        received = yield Request(tuple(parts), message, answer_bytes(layer))
        if len(received) != len(parts):
            raise ProtocolError(
                f"search: expected {len(parts)} answers, got {len(received)}."
            )
        return [self._client.decrypt(answer) for answer in received]

    def _choose(self, x: np.ndarray, scores: np.ndarray) -> int:
        """The set that a query chooses; a repeated query gets the same set."""
        asked = hashlib.sha256(x.astype(np.float32).tobytes()).digest()
        if asked not in self._chosen:
            sets, _ = self.about.layout.choices()
            found = choose_sets(scores[None], sets)[0]
            self._chosen[asked] = int(found)
            if len(self._chosen) > _REMEMBERED:
                self._chosen.popitem(last=False)
        return self._chosen[asked]

    def sets_of(self, chosen: int) -> np.ndarray:
        """The set that a query chose and the decoys requested with it: [D + 1]."""
        _, weights = self.about.layout.choices()
        decoys = draw_decoys(
            self._secret, self.about.name, chosen, weights, self._decoys
        )
        return np.array([chosen, *decoys])


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """The indices of the k highest scores, or of all, highest first."""
    k = min(k, len(scores))
    best = np.argpartition(-scores, k - 1)[:k] if k else np.empty(0, np.int64)
    return best[np.argsort(-scores[best], kind="stable")]
