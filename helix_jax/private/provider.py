"""The provider of an encrypted linear layer: it evaluates, and cannot decrypt.

It reads queries, counts them, hides products under masks that are used once, and sends
answers part by part. Plain JAX: it needs no C++ compiler, and runs on any device.
"""

from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.errors import ProtocolError
from helix_jax.private import answers, wire
from helix_jax.private.accounts import Account
from helix_jax.private.admission import Admission
from helix_jax.private.covers import answer_parts
from helix_jax.private.labels.desk import Desk
from helix_jax.private.layer_keys import LayerKeys, check_budget
from helix_jax.private.ledger import Ledger
from helix_jax.private.prepared_layer import check_layer, prepare_layer
from helix_jax.private.profiles import find_profile
from helix_jax.private.queries import read_queries
from helix_jax.private.scales import Scales
from helix_jax.private.weights import hash_layer
from helix_jax.types import Array

AHEAD = 64  # queries whose bits are written to the ledger's disk at once


class Share(NamedTuple):
    """The whole that a layer belongs to, if several layers count as one in the ledger.

    Attributes:
      subject: names the whole.
      part: names the layer within it, so that each layer answers a message once.
    """

    subject: bytes
    part: bytes


class ReadQueries(NamedTuple):
    """A message of queries whose signature was checked.

    Attributes:
      message: its header and payload.
      pairs: its ciphertexts, see `read_queries`.
    """

    message: wire.Message
    pairs: list[np.ndarray]


class Provider(LayerKeys):
    """The owner of weights, who answers encrypted queries.

    Attributes:
      layer: its public description.
    """

    @takes(kernel=kinds.KERNEL)
    def __init__(
        self,
        kernel: Array,
        bias: Array | None = None,
        *,
        input_norm: float,
        profile: str = "guarded",
        policy: str | None = None,
        minimise: str = "time",
        tiles: int | None = None,
        budget: float | None = None,
        ledger: Ledger | None = None,
        admission: Admission | None = None,
        shared: tuple[int, int] | None = None,
        weights_bytes: int = 2**31,
        share: Share | None = None,
        scales: Scales | None = None,
    ):
        """Prepare a layer.

        Args:
          kernel: [d, k] real, finite: an array, or anything with a shape whose slices
            are arrays, such as a memory-mapped file.
          bias: [k] float, finite; None is zero.
          input_norm: largest |x|_2 of a query; the client refuses larger ones, apart
            from rounding.
          profile: name of the parameters.
          policy: what answers reveal: "logits", "rounded:BITS" or "label". None is
            "rounded:12" where the profile is guarded, else "logits".
          minimise: "time" or "traffic", what the tiling minimises.
          tiles: of a query, instead of the planner's choice.
          budget: bits of these weights that one client may have in all answers
            together, at `answer_bits` per query; None for no limit.
          ledger: records what was given out and which queries were answered; answers
            are added to it. None starts one in memory, which ends with this object.
          admission: its tickets say who a client is, for the ledger. None admits any
            key, and each key then counts as a client of its own.
          shared: scales of several providers whose answers are to be added, from
            `shared_scales`; None chooses the best for this layer alone.
          weights_bytes: memory for transformed weights. Those that do not fit are
            made again for every message from `kernel`, which must then not change.
          share: what the answers count as in the ledger, instead of these weights on
            their own.
          scales: from `choose_scales`, for weights that are no smaller than these in
            any column's norm and in any answer's sum; None chooses for these weights.

        Raises:
          ValueError: a shape, a value or a size is not allowed.
          RuntimeError: the device computes wrongly, see `self_test`.
        """
        kernel, bias = check_layer(kernel, bias)
        parameters = find_profile(profile)
        check_budget(budget, parameters)
        prepared = prepare_layer(
            kernel,
            bias,
            input_norm=input_norm,
            profile=parameters,
            policy=policy,
            minimise=minimise,
            tiles=tiles,
            shared=shared,
            weights_bytes=weights_bytes,
            scales=scales,
        )
        super().__init__(prepared, admission)
        self._budget = budget
        self._ledger, self._share = ledger or Ledger(), share or Share(b"layer", b"")
        if ledger is not None and share is None:
            self._share = Share(hash_layer(kernel, bias), b"")

    @property
    def answer_bits(self) -> float:
        """See `PreparedLayer.answer_bits`."""
        return self._prepared.answer_bits

    def spent(self, client: str) -> float:
        """Bits that a client has had of these weights: an identity, or "key HEX"."""
        return self._ledger.spent(self._share.subject, client)

    def agree(self, transfers: bytes) -> bytes:
        """Agree with a client, once, on the transfers of its labels; see `LabelClient`.

        Raises:
          ProtocolError: the message is malformed, or was read before.
          KeyRoleError: its key is not registered, or did not sign it.
          ValueError: the policy is not "label".
        """
        message, account, desk = self._labelled("transfers", transfers)
        # A replayed message would end the transfers that its owner is using.
        self._ledger.charge(
            self._share.subject,
            account.identity,
            0.0,
            reference=message.key + message.number,
            budget=None,
        )
        return desk.agree(transfers)

    def label(self, choices: bytes) -> bytes:
        """The second round of an answer under the policy "label".

        Raises:
          ProtocolError: the message is malformed, or its answer is not waiting for it.
          KeyRoleError: its key is not registered, or did not sign it.
          ValueError: the policy is not "label".
        """
        return self._labelled("choices", choices)[2].label(choices)

    def _labelled(
        self, kind: str, message: bytes
    ) -> tuple[wire.Message, Account, Desk]:
        """Read a message about labels and check its signature.

        Returns:
          (the message, its account, the account's desk).
        """
        name, account = self.layer.policy.name, None
        if name == "label":
            read = wire.read(message, kind, self.layer.profile, binding=None)
            account = self._account(read.key)
        if account is None or account.desk is None:
            raise ValueError(
                f"the policy is {name!r}: its answers have no second round."
            )
        return account.key.require_signed(message, read), account, account.desk

    def answer(self, query: bytes) -> bytes:
        """Answer one message of encrypted queries.

        Raises:
          ProtocolError: it is malformed, was answered before, or the budget is spent.
          KeyRoleError: its key is not registered or did not sign it, or its ticket has
            expired.
        """
        return b"".join(self.answer_pieces(query))

    def answer_pieces(self, query: bytes) -> Iterator[bytes]:
        """The message of `answer` in pieces, one in memory at a time."""
        return self.answer_read(self.read(query))

    def read(self, query: bytes) -> ReadQueries:
        """Read a message, for this layer and others with the same binding.

        Raises:
          ProtocolError: it is malformed.
          KeyRoleError: its key is not registered, or did not sign it.
        """
        binding = self.layer.binding
        message = wire.read(query, "query", self.layer.profile, binding=binding)
        account = self._account(message.key)
        return ReadQueries(message, read_queries(query, message, account, self.layer))

    def answer_read(self, read: ReadQueries) -> Iterator[bytes]:
        """`answer_pieces` of a message that a layer with the same binding has read.

        Raises:
          ProtocolError: that layer has another binding, the message was answered
            before, or the budget is spent.
          KeyRoleError: its key is not registered, or its ticket has expired.
        """
        profile, plan = self.layer.profile, self.layer.plan
        message, pairs = read
        if message.binding != self.layer.binding:
            raise ProtocolError("query: it was read for a layer of other scales.")
        account = self._account(message.key)
        queries = message.sizes[3]
        self._ledger.charge(
            self._share.subject,
            account.identity,
            queries * self.answer_bits,
            reference=message.key + message.number + self._share.part,
            budget=self._budget if account.budget is None else account.budget,
            ahead=(AHEAD - 1) * self.answer_bits,
        )
        header = wire.write_header(
            "answer",
            profile,
            key=message.key,
            number=message.number,
            binding=message.binding,
            sizes=message.sizes,
            length=answers.payload_length(plan, profile, queries),
        )
        return self._pieces(header, message.number, pairs, account)

    def _pieces(
        self, header: bytes, query: bytes, pairs: list[np.ndarray], account: Account
    ) -> Iterator[bytes]:
        """The header and the words of answers; a forked child makes none of them."""
        yield header
        self._require_own()
        for piece in answer_parts(self._prepared, query, pairs, account):
            yield piece
            self._require_own()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Provider is not copied or pickled: its masks are used once.")
