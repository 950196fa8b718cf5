"""The provider of a private search: an index whose parts answer encrypted queries.

From a search it learns that there was one, and which clusters were requested; from the
reading of a text, which blocks were requested. docs/search.md says what that reveals.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from helix_jax.errors import BudgetError, KeyRoleError, ProtocolError
from helix_jax.private import wire
from helix_jax.private.accounts import PublicKey, require_same
from helix_jax.private.admission import Admission, Ticket, admit
from helix_jax.private.ledger import Ledger
from helix_jax.private.policies import GUARDED, Policy
from helix_jax.private.profiles import find_profile
from helix_jax.private.search.about import About, write_about
from helix_jax.private.search.blocks import Blocks
from helix_jax.private.search.index import SearchIndex
from helix_jax.private.search.limits import MAX_DECOYS
from helix_jax.private.search.parts import (
    Family,
    split_part,
    texts_family,
    vectors_family,
)
from helix_jax.private.search.requests import answer_bytes, split_answers

MOST_BYTES = 2**26  # in the answers to one message


class _Enrolled(NamedTuple):
    """A client key, its ticket (whose it is, until when), and subject -> budget."""

    key: PublicKey
    ticket: Ticket
    budgets: dict[bytes, float | None]


class SearchProvider:
    """The owner of an index, who answers encrypted queries.

    Attributes:
      about: the public description, a dictionary for JSON; see `read_about`.
    """

    def __init__(
        self,
        index: SearchIndex,
        *,
        profile: str = "guarded",
        policy: str | None = None,
        decoys: int = 9,
        budget: float | None = None,
        text_budget: float | None = None,
        ledger: Ledger | None = None,
        admission: Admission | None = None,
        weights_bytes: int = 2**31,
    ):
        """Open an index to clients.

        Args:
          index: from `open_index`; its files must not be changed.
          profile: name of the parameters; the profile must hide weights.
          policy: what scores reveal, "logits" or "rounded:BITS"; None is "rounded:12".
          decoys: number proposed to clients, for each set of clusters or block of
            texts.
          budget: bits of scores that one client may have in total; None for no limit.
          text_budget: the same for texts.
          ledger, admission: as in `Provider`.
          weights_bytes: memory for transformed weights; the rest is made again from the
            index when it is requested.

        Raises:
          ValueError: a setting is not allowed.
          RuntimeError: the device computes wrongly, see `self_test`.
        """
        self._profile = find_profile(profile)
        chosen = Policy.parse(GUARDED if policy is None else policy)
        if not self._profile.guarded or chosen.name == "label":
            raise ValueError(
                "SearchProvider: an index is hidden under profile 'guarded' or 'wide' "
                f"and policy 'logits' or 'rounded:BITS', got {profile!r} and "
                f"{str(chosen)!r}."
            )
        if not 0 <= decoys <= MAX_DECOYS:
            raise ValueError(
                f"SearchProvider: decoys must be from 0 to {MAX_DECOYS}, got {decoys}."
            )
        _check_budgets(budget, text_budget)
        layout = index.layout
        probes = 1 if layout.sets is None else layout.sets.shape[1]
        vectors = vectors_family(
            index, self._profile, chosen, asked=probes * (decoys + 1)
        )
        texts = texts_family(index, self._profile, asked=decoys + 1)
        self._families = {name: vectors for name in vectors.parts} | {"texts": texts}
        self._ledger, self._admission = ledger or Ledger(), admission
        self._budgets = {vectors.subject: budget, texts.subject: text_budget}
        self._blocks = Blocks(
            self._families,
            profile=self._profile,
            ledger=self._ledger,
            weights_bytes=weights_bytes,
        )
        self._keys: dict[bytes, _Enrolled] = {}
        self._lock = threading.Lock()
        self.about: dict[str, Any] = write_about(
            About(
                index.name,
                index.model,
                len(index.vectors),
                vectors.layer(self._profile),
                texts.layer(self._profile),
                index.records.shape[1],
                decoys,
                layout,
            )
        )

    def prepare(self) -> int:
        """Transform as many parts' weights as may be kept; returns how many parts."""
        return self._blocks.prepare()

    def register(
        self,
        bundle: bytes | PublicKey,
        ticket: bytes | None = None,
        *,
        budget: float | None = None,
        text_budget: float | None = None,
    ) -> bytes:
        """Admit a client's public key, for all parts; see `Provider.register`.

        Args:
          bundle: the client's, or the key that was read from it.
          ticket: from the admission, where there is one.
          budget, text_budget: of this client, in place of the provider's.

        Raises:
          ProtocolError, KeyRoleError: as in `Provider.register`.
          ValueError: a budget is not positive.
        """
        _check_budgets(budget, text_budget)
        key = PublicKey.admissible(bundle, self._profile)
        admitted = admit(self._admission, ticket, key.key)
        own = {
            subject: bits if bits is not None else usual
            for (subject, usual), bits in zip(
                self._budgets.items(), (budget, text_budget)
            )
        }
        with self._lock:
            if key.key in self._keys:
                known = self._keys[key.key]
                require_same(admitted.identity, known.ticket.identity)
                until = max(known.ticket.until, admitted.until)
                key, admitted = known.key, admitted._replace(until=until)
            self._keys[key.key] = _Enrolled(key, admitted, own)
        return key.key

    def forget(self, key: bytes) -> None:
        """Drop a client key; see `Provider.forget`."""
        with self._lock:
            self._keys.pop(key, None)

    def spent(self, client: str) -> tuple[float, float]:
        """Bits of scores and of texts that a client has had."""
        scores, texts = (
            self._ledger.spent(subject, client) for subject in self._budgets
        )
        return scores, texts

    def answer(self, message: bytes, parts: Sequence[str]) -> list[bytes]:
        """The answers of some parts to one message of encrypted queries, in order.

        Raises:
          ProtocolError, BudgetError, KeyRoleError: as in `answer_pieces`.
        """
        return split_answers(b"".join(self.answer_pieces(message, parts)), len(parts))

    def answer_pieces(self, message: bytes, parts: Sequence[str]) -> Iterator[bytes]:
        """The answers of some parts, one after the other, in pieces.

        Each part is charged when its answer begins, and none is charged if the budget
        does not allow all.

        Raises:
          ProtocolError: the message is malformed, or one of the parts has answered it
            before, or there are no such parts.
          BudgetError: the budget does not allow all.
          KeyRoleError: its key is not registered or did not sign it, or its ticket has
            expired.
        """
        family = self._check_parts(parts)
        first = self._blocks.get(parts[0])
        binding = first.layer.binding
        own = self._known(message, binding)
        budget, identity = own.budgets[family.subject], own.ticket.identity
        first.enrol(own.key, own.ticket, budget)
        read = first.read(message)
        size = len(parts) * answer_bytes(first.layer)
        if read.message.sizes[3] != 1 or size > MOST_BYTES:
            raise ProtocolError(
                "search: a message holds one query, and its answers at most "
                f"{MOST_BYTES} bytes, got {read.message.sizes[3]} and {size}."
            )
        if budget is not None:
            wanted = read.message.sizes[3] * len(parts) * first.answer_bits
            spent = self._ledger.spent(family.subject, identity)
            if spent + wanted > budget * (1 + 1e-12):
                raise BudgetError(
                    f"client {identity!r} has had {spent:,.0f} bits of this; "
                    f"{wanted:,.0f} more are above the {budget:,.0f} that are allowed."
                )

        def pieces() -> Iterator[bytes]:
            for part in parts:
                provider = self._blocks.get(part)
                provider.enrol(own.key, own.ticket, budget)
                yield from provider.answer_read(read)

        return pieces()

    def _check_parts(self, parts: Sequence[str]) -> Family:
        """The family of the parts that one message requests.

        Raises:
          ProtocolError: there are no parts, one occurs twice or does not exist, or they
            are of different kinds.
        """
        if not parts or len(set(parts)) != len(parts):
            raise ProtocolError(
                f"search: expected different parts, one or more, got {len(parts)}."
            )
        names = set()
        for part in parts:
            name, number = split_part(part)
            family = self._families.get(name)
            if family is None or number >= family.parts[name]:
                raise ProtocolError(f"search: this index has no part {part!r}.")
            names.add(name)
        if len(names) > 1:
            raise ProtocolError(
                "search: one message may request only one kind of parts, got "
                f"{sorted(names)}."
            )
        return self._families[names.pop()]

    def _known(self, message: bytes, binding: bytes) -> _Enrolled:
        """The key, ticket and budgets of a message's sender.

        Raises:
          ProtocolError: its header is malformed.
          KeyRoleError: its key is not registered here.
        """
        own = wire.read(message, "query", self._profile, binding=binding).key
        with self._lock:
            if own not in self._keys:
                raise KeyRoleError(
                    f"the client key {own.hex()} is not registered here; send its "
                    "bundle first."
                )
            return self._keys[own]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SearchProvider is not copied or pickled.")


def _check_budgets(*budgets: float | None) -> None:
    for bits in budgets:
        if bits is not None and not bits > 0:
            raise ValueError(f"search: a budget must be positive bits, got {bits}.")
