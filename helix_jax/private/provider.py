"""The provider of an encrypted linear layer: evaluation, and no way to decrypt.

It reads queries, counts them, covers products by masks that are used once, and sends
answers part by part. Plain JAX: it needs no compiler, and runs on any device.
"""

import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from helix_jax import kinds
from helix_jax.arguments import takes
from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import answers, evaluation, flooding, packing, residues, wire
from helix_jax.private.accounts import Account, PublicKey
from helix_jax.private.admission import Admission, Ticket, admit
from helix_jax.private.forks import require_own
from helix_jax.private.labels import shares
from helix_jax.private.labels.desk import Desk
from helix_jax.private.layer import MAX_INPUT_NORM, Layer, power_above
from helix_jax.private.ledger import Ledger
from helix_jax.private.masks import MaskContent, MaskPool, wipe_with
from helix_jax.private.packing import Plan
from helix_jax.private.policies import Policy
from helix_jax.private.profiles import Profile, find_profile
from helix_jax.private.queries import read_queries
from helix_jax.private.scales import Scales, choose_scales
from helix_jax.private.self_test import require_exact
from helix_jax.private.weights import Weights, hash_layer
from helix_jax.types import Array

PREPARED = 256  # most answer ciphertexts whose masks are made ahead
AHEAD = 64  # queries whose bits are brought to the ledger's disk at once


class Share(NamedTuple):
    """The whole that a layer belongs to, if several layers count as one in the ledger.

    Attributes:
      subject: names the whole.
      part: names the layer in it, so that each answers a message once.
    """

    subject: bytes
    part: bytes


class ReadQueries(NamedTuple):
    """A message of queries that its owner signed.

    Attributes:
      message: as it was read.
      pairs: its ciphertexts, see `read_queries`.
    """

    message: wire.Message
    pairs: list[np.ndarray]


class Provider:
    """The owner of weights, who answers encrypted queries.

    Attributes:
      layer: what clients may know.
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
          input_norm: largest |x|_2 of a query; larger ones, but for rounding, are
            refused by the client.
          profile: name of the parameters.
          policy: what answers show: "logits", "rounded:BITS" or "label". None is
            "rounded:12" where the profile is guarded, else "logits".
          minimise: "time" or "traffic", what the tiling is for.
          tiles: of a query, instead of the planner's choice.
          budget: bits of these weights that one client may have, in all answers
            together, of `answer_bits` each; None is no limit.
          ledger: what was given out before, and which queries were answered; answers
            are added to it. None begins one in memory, which ends with this object.
          admission: whose tickets say who a client is, for the ledger. None admits
            any key, each of which is a client of its own then.
          shared: scales of several providers whose answers are to be added, from
            `shared_scales`; None chooses the best for this layer alone.
          weights_bytes: memory for transformed weights. What does not fit is made
            anew for every message, from `kernel`, which must then not be changed.
          share: what its answers count as in the ledger, in place of these weights
            by themselves.
          scales: of `choose_scales` for weights no smaller than these in any column's
            norm, and in any answer's sum; None chooses for these.

        Raises:
          ValueError: shapes, values or sizes that cannot be.
          RuntimeError: the device computes wrongly, see `self_test`.
        """
        if not hasattr(kernel, "shape"):
            kernel = np.asarray(kernel)
        if len(kernel.shape) != 2:
            raise ValueError(
                f"Provider: kernel needs shape [d, k], got {list(kernel.shape)}."
            )
        bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias)
        if bias.shape != kernel.shape[1:]:
            raise ValueError(
                f"Provider: bias needs shape [{kernel.shape[1]}], got "
                f"{list(bias.shape)}."
            )
        bias = packing.check_rows("Provider: bias", bias[None], kernel.shape[1])[0]
        if not 0 < input_norm < MAX_INPUT_NORM:
            raise ValueError(
                f"Provider: input_norm must be positive and below {MAX_INPUT_NORM:g}, "
                f"got {input_norm}."
            )
        parameters = find_profile(profile)
        parsed = Policy.of(parameters) if policy is None else Policy.parse(policy)
        require_exact(parameters)
        _check_budget(budget, parameters)
        if tiles is None:
            plan = packing.plan_layer(*kernel.shape, parameters, minimise=minimise)
        else:
            plan = packing.plan_tiles(*kernel.shape, parameters, tiles)
        self._scales = scales or choose_scales(
            kernel,
            bias,
            input_norm=input_norm,
            plan=plan,
            profile=parameters,
            policy=parsed,
            shared=shared,
        )
        self.layer = Layer(
            parameters,
            plan,
            self._scales.result_bits,
            self._scales.query_bits,
            float(input_norm),
            power_above(self._scales.error),
            parsed,
        )
        if parsed.name == "label":
            self._check_labels()
        self._budget, self._admission = budget, admission
        self._ledger, self._share = ledger or Ledger(), share or Share(b"layer", b"")
        if ledger is not None and share is None:
            self._share = Share(hash_layer(kernel, bias), b"")
        self._process = os.getpid()
        self._weights = Weights(
            kernel, self._scales.kernel_bits, plan, parameters, weights_bytes
        )
        # Parts of answers have one shape, so that they share one compiled function.
        used = np.zeros((len(self._weights) * plan.part, plan.rows))
        used.reshape(-1)[: plan.classes] = bias
        self._bias = residues.scaled_residues(
            used, self._scales.result_bits, parameters
        )
        if not parameters.rounded:
            self._bias = evaluation.transform_bias(
                self._bias, plan=plan, profile=parameters
            )
        self._accounts: dict[bytes, Account] = {}

    @property
    def answer_bits(self) -> float:
        """Most bits of the weights in one query's answer; 0 for public weights.

        Whatever the client has encrypted, see `flooding`; of labels, see `shares`.
        """
        profile = self.layer.profile
        if not profile.guarded:
            return 0.0
        if self.layer.policy.name == "label":
            return math.log2(self.layer.plan.classes)
        bits = flooding.carried_bits(self._scales.flood_bits, profile)
        return self.layer.plan.classes * bits

    def spent(self, client: str) -> float:
        """Bits that a client has had of these weights: an identity, or "key HEX"."""
        return self._ledger.spent(self._share.subject, client)

    def register(
        self,
        bundle: bytes | PublicKey,
        ticket: bytes | None = None,
        *,
        budget: float | None = None,
    ) -> bytes:
        """Admit a client's public key; admitting it again takes a later ticket.

        Args:
          bundle: of the client, or the key that was read from it, for who registers
            one with several providers and checks its proof once.
          ticket: of the admission, where there is one.
          budget: bits that this client may have, in place of the provider's.

        Returns:
          Its name, 16 bytes.

        Raises:
          ProtocolError: one of them is malformed, or the bundle proves no key.
          KeyRoleError: the ticket does not admit this key, or as another than before.
        """
        require_own(self._process, "this Provider")
        _check_budget(budget, self.layer.profile)
        key = PublicKey.admissible(bundle, self.layer.profile)
        return self._admit(key, ticket, budget)

    def _admit(
        self, key: PublicKey, ticket: bytes | None, budget: float | None = None
    ) -> bytes:
        return self.enrol(key, admit(self._admission, ticket, key.key), budget)

    def enrol(
        self, key: PublicKey, admitted: Ticket, budget: float | None = None
    ) -> bytes:
        """Admit a key whose proof, and a ticket which, was verified elsewhere here.

        Raises:
          KeyRoleError: the ticket is of another identity than before.
        """
        account = self._accounts.get(key.key)
        if account is None:
            pool = None
            if self.layer.profile.guarded and self.layer.plan.answers <= PREPARED:
                # Nothing of a pool leads back here, so that memory of dropped layers is
                # free at once, and their masks wiped.
                make = self._mask_maker(key)
                pool = MaskPool(lambda: make().kept())
            desk = Desk(self.layer) if self.layer.policy.name == "label" else None
            account = Account(key, pool, admitted, desk)
            account = self._accounts.setdefault(key.key, account)
        account.renew(admitted)
        account.budget = budget
        return key.key

    def forget(self, key: bytes) -> None:
        """Drop what is kept for a client key, its masks too; what it had stays counted.

        A key that comes back is registered anew; labels that it waits for are lost.
        """
        self._accounts.pop(key, None)

    def agree(self, transfers: bytes) -> bytes:
        """Agree with a client on what its labels need, once; see `LabelClient`.

        Raises:
          ProtocolError: the message is malformed, or was read before.
          KeyRoleError: its key is not registered, or did not sign it.
          ValueError: the policy is not "label".
        """
        message, account = self._labelled("transfers", transfers)
        # Who repeats it would end the transfers that its owner has.
        self._ledger.charge(
            self._share.subject,
            account.identity,
            0.0,
            reference=message.key + message.number,
            budget=None,
        )
        return account.desk.agree(transfers)

    def label(self, choices: bytes) -> bytes:
        """The second round of an answer under the policy "label".

        Raises:
          ProtocolError: the message is malformed, or its answer does not wait for it.
          KeyRoleError: its key is not registered, or did not sign it.
          ValueError: the policy is not "label".
        """
        return self._labelled("choices", choices)[1].desk.label(choices)

    def _labelled(self, kind: str, message: bytes) -> tuple[wire.Message, Account]:
        """A message of labels that its owner signed, and whose it is."""
        if self.layer.policy.name != "label":
            raise ValueError(
                f"the policy is {self.layer.policy.name!r}: its answers have no "
                "second round."
            )
        read = wire.read(message, kind, self.layer.profile, binding=None)
        account = self._account(read.key)
        return account.key.require_signed(message, read), account

    def _check_labels(self) -> None:
        """Refuse layers too small or too large to have labels."""
        shares.count_transfers(self.layer, 1)
        if self.layer.plan.classes < 2:
            raise ValueError("Provider: labels need 2 classes or more, got 1.")

    def masks(self, key: bytes) -> MaskPool:
        """The pool of masks of a key, to prepare them ahead.

        Raises:
          KeyRoleError: the key is not registered.
          ValueError: answers have no masks in this profile, or are so large that
            theirs are made when they are sent.
        """
        pool = self._account(key).pool
        if pool is None and not self.layer.profile.guarded:
            raise ValueError(
                f"profile {self.layer.profile.name!r} answers without masks."
            )
        if pool is None:
            raise ValueError(
                f"masks of {self.layer.plan.answers} ciphertexts are not prepared, "
                f"only those of {PREPARED} or less; they are made with the answer."
            )
        return pool

    def answer(self, query: bytes) -> bytes:
        """Answer one message of encrypted queries.

        Raises:
          ProtocolError: it is malformed, was answered before, or the budget is spent.
          KeyRoleError: its key is not registered, did not sign it, or its ticket has
            ended.
        """
        return b"".join(self.answer_pieces(query))

    def answer_pieces(self, query: bytes) -> Iterator[bytes]:
        """The message of `answer` in pieces, of which one is in memory at a time."""
        return self.answer_read(self.read(query))

    def read(self, query: bytes) -> ReadQueries:
        """Read a message, for this layer and others of the same binding.

        Raises:
          ProtocolError: it is malformed.
          KeyRoleError: its key is not registered, or did not sign it.
        """
        binding = self.layer.binding
        message = wire.read(query, "query", self.layer.profile, binding=binding)
        account = self._account(message.key)
        return ReadQueries(message, read_queries(query, message, account, self.layer))

    def answer_read(self, read: ReadQueries) -> Iterator[bytes]:
        """`answer_pieces` of a message that was read by a layer of the same binding.

        Raises:
          ProtocolError: that layer's was another, the message was answered before, or
            the budget is spent.
          KeyRoleError: its key is not registered, or its ticket has ended.
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
        """The header, and words of answers to queries [B, T, 2, L, N], part by part."""
        yield header
        plan, profile = self.layer.plan, self.layer.profile
        require_own(self._process, "this Provider")
        covers = [[self._cover(account) for _ in pair] for pair in pairs]
        if account.desk is not None:
            offsets, held = shares.draw_offsets(
                sum(map(len, pairs)), plan, len(self._bias), profile
            )
            account.desk.hold(query, held)
        for number, weights in enumerate(self._weights):
            require_own(self._process, "this Provider")
            count, results = plan.parts[number]
            columns = slice(number * plan.part, (number + 1) * plan.part)
            done = 0
            for pair, of_pair in zip(pairs, covers):
                if not profile.rounded:
                    products = evaluation.products_of(
                        weights, pair, self._bias[columns], profile=profile
                    )
                    yield answers.pack_products(products, count, profile)
                    continue
                masks = [cover(columns) for cover in of_pair]
                firsts, seconds = (np.stack(part) for part in zip(*masks))
                if account.desk is not None:
                    firsts += offsets[done : done + len(pair), columns]
                    firsts %= residues.column(profile)
                    done += len(pair)
                words = evaluation.words_of(
                    weights, pair, firsts, seconds, plan=plan, profile=profile
                )
                yield answers.pack_words(*words, count, results)

    def _account(self, key: bytes) -> Account:
        require_own(self._process, "this Provider")
        if key not in self._accounts:
            raise KeyRoleError(
                f"the client key {key.hex()} is not registered here; send its bundle "
                "first."
            )
        self._accounts[key].require_current()
        return self._accounts[key]

    def _cover(self, account: Account) -> Callable[[slice], MaskContent]:
        """The mask of one query's answer, made part by part or before."""
        profile = self.layer.profile
        if not profile.guarded:
            none = np.zeros((self.layer.plan.part, len(profile.primes), 1), np.int64)
            return lambda part: MaskContent(self._bias[part], none)
        prepared = account.pool.take_prepared() if account.pool is not None else None
        if prepared is None:  # a message of many queries has room for a part's only
            return self._mask_maker(account.key)
        mask = prepared.spend()

        def cover(part: slice) -> MaskContent:
            return MaskContent(mask.first[part], mask.second[part])

        wipe_with(cover, [mask])
        return cover

    def _mask_maker(self, key: PublicKey) -> Callable[..., MaskContent]:
        """Makes the masks of a key: of whole answers, or of a part's columns."""
        return partial(
            _make_mask,
            key,
            self._bias,
            self._scales.flood_bits,
            plan=self.layer.plan,
            profile=self.layer.profile,
        )

    def __reduce__(self):
        raise TypeError("a Provider is not copied or pickled: its masks are used once.")


def _make_mask(
    key: PublicKey,
    bias: np.ndarray,
    flood_bits: int,
    part: slice = slice(None),
    *,
    plan: Plan,
    profile: Profile,
) -> MaskContent:
    """A fresh encryption of bias and flood at the results' coefficients."""
    bias = bias[part]
    zeros = key.encrypt_zeros(len(bias))
    flood = flooding.draw_flood(flood_bits, (len(bias), plan.rows), profile)
    first = evaluation.mask_results(zeros[0], bias, flood, plan=plan, profile=profile)
    return MaskContent(np.asarray(first), np.asarray(zeros[1]))


def _check_budget(budget: float | None, profile: Profile) -> None:
    """Refuse budgets that bound nothing."""
    if budget is not None and not budget > 0:
        raise ValueError(f"Provider: budget must be positive bits, got {budget}.")
    if budget is not None and not profile.guarded:
        raise ValueError(
            f"Provider: a budget counts bits of weights that are hidden; answers "
            f"of profile {profile.name!r} hide none. Use 'guarded'."
        )
