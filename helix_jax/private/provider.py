"""The provider of an encrypted linear layer: evaluation, and no way to decrypt.

    answer = words( s w c + mask ),   c = (c0, c1) the client's ciphertexts

in three steps: products of residues in the transformed domain, summed over tiles; back
to coefficients, of which c0 keeps only those that hold results; plus a fresh encryption
of bias and flood, and every number rounded from q to 40 bits. Plain JAX: it needs no
compiler, and runs on any device.

Reference: Paillier-style re-randomisation for CKKS: ours, see `flooding`. Modulus
  switching: Brakerski, Gentry, Vaikuntanathan 2012, eprint 2011/277, section 3.1.
"""

import secrets
import threading
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import (
    encryption,
    flooding,
    packing,
    residues,
    sampling,
    wire,
    words,
)
from helix_jax.private.layer import MAX_INPUT_NORM, Layer, choose_scales
from helix_jax.private.masks import MaskContent, MaskPool
from helix_jax.private.packing import Plan
from helix_jax.private.policies import ORDER_HIGH_BITS, ORDER_LOW_BITS, Policy
from helix_jax.private.profiles import Profile, find_profile
from helix_jax.types import Array

_CHUNK = 32  # answer ciphertexts computed at once
_REMEMBERED = 100_000  # query numbers kept for each key, to refuse replays


class PublicKey:
    """A client's public key: encryptions for its owner, and nothing else.

    Attributes:
      profile: of the ring.
      key: 16 bytes, its name.
    """

    def __init__(self, bundle: bytes, profile: Profile):
        """Read a client's bundle.

        Raises:
          ProtocolError: it is malformed.
        """
        message = wire.read(bundle, "key", profile)
        length = sampling.SEED_BYTES + wire.residues_length(1, profile)
        wire.expect_sizes(message, (profile.degree, len(profile.primes)), length)
        payload = message.payload
        if wire.key_name(payload) != message.key:
            raise ProtocolError("key: its name is not the hash of its content.")
        self.profile, self.key = profile, message.key
        seed, rest = payload[: sampling.SEED_BYTES], payload[sampling.SEED_BYTES :]
        self._b = wire.unpack_residues(rest, 1, profile, "key")[0]
        self._a = sampling.uniform_residues(bytes(seed), (1,), profile)[0]

    def encrypt_zeros(self, count: int) -> tuple[Array, Array]:
        """See `encryption.encrypt_zeros`."""
        return encryption.encrypt_zeros(self._b, self._a, count, self.profile)


class _Account:
    """What the provider keeps for one client key."""

    def __init__(self, pool: MaskPool | None, budget: int | None):
        self.pool, self.left = pool, budget
        self.seen: OrderedDict[bytes, None] = OrderedDict()
        self.lock = threading.Lock()

    def charge(self, number: bytes, queries: int) -> None:
        """Count the queries of one message.

        Raises:
          ProtocolError: it was answered before, or the budget is spent.
        """
        with self.lock:
            if number in self.seen:
                raise ProtocolError(
                    f"query {number.hex()} was answered before; encrypt it anew."
                )
            if self.left is not None and self.left < queries:
                raise ProtocolError(
                    f"this key's budget of queries is spent: {self.left} are left, "
                    f"{queries} were asked."
                )
            if self.left is not None:
                self.left -= queries
            self.seen[number] = None
            if len(self.seen) > _REMEMBERED:
                self.seen.popitem(last=False)


class Provider:
    """The owner of weights, who answers encrypted queries.

    Attributes:
      layer: what clients may know.
    """

    def __init__(
        self, kernel: Array, bias: Array | None = None, *, input_norm: float,
        profile: str = "guarded", policy: str = "logits", minimise: str = "time",
        tiles: int | None = None, budget: int | None = None,
        shared: tuple[int, int] | None = None,
    ):  # fmt: skip
        """Prepare a layer.

        Args:
          kernel: [d, k] float, finite.
          bias: [k] float, finite; None is zero.
          input_norm: largest |x|_2 of a query; larger ones are refused by the client.
          profile: name of the parameters.
          policy: what answers show: "logits", "rounded:BITS" or "order".
          minimise: "time" or "traffic", what the tiling is for.
          tiles: of a query, instead of the planner's choice.
          budget: queries that each client key may ask; None is no limit.
          shared: scales of several providers whose answers are to be added, from
            `shared_scales`; None chooses the best for this layer alone.

        Raises:
          ValueError: shapes, values or sizes that cannot be.
        """
        kernel = np.asarray(kernel)
        if kernel.ndim != 2:
            raise ValueError(
                f"Provider: kernel needs shape [d, k], got {list(kernel.shape)}."
            )
        kernel = packing.check_rows("Provider: kernel", kernel, kernel.shape[1])
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
        if budget is not None and budget < 1:
            raise ValueError(f"Provider: budget must be positive, got {budget}.")
        own, parsed = find_profile(profile), Policy.parse(policy)
        if tiles is None:
            plan = packing.plan_layer(*kernel.shape, own, minimise=minimise)
        else:
            plan = packing.plan_tiles(*kernel.shape, own, tiles)
        self._scales = choose_scales(
            kernel,
            bias,
            input_norm=input_norm,
            plan=plan,
            profile=own,
            policy=parsed,
            shared=shared,
        )
        self.layer = Layer(
            own, plan, self._scales.result_bits, self._scales.query_bits,
            float(input_norm), self._scales.error, parsed,
        )  # fmt: skip
        self._budget = budget
        self._weights = self._transformed(kernel)
        used = np.zeros(plan.answers * plan.rows)
        used[: plan.classes] = bias
        self._bias = residues.scaled_residues(
            used.reshape(plan.answers, plan.rows), self._scales.result_bits, own
        )
        self._accounts: dict[bytes, _Account] = {}

    def _transformed(self, kernel: np.ndarray) -> list[Array]:
        """Weights as residues [chunk, T, L, N], transformed, in chunks of answers."""
        plan, profile = self.layer.plan, self.layer.profile
        integers = np.rint(np.ldexp(kernel, self._scales.kernel_bits)).astype(np.int64)
        step = _CHUNK * plan.rows
        # Chunks have one shape, so that they share one compiled function.
        chunk = min(_CHUNK, plan.answers)
        own = packing.plan_tiles(plan.width, chunk * plan.rows, profile, plan.tiles)
        own = own._replace(rows=plan.rows, answers=chunk)
        parts = []
        for start in range(0, plan.classes, step):
            part = integers[:, start : start + step]
            part = np.pad(part, ((0, 0), (0, own.classes - part.shape[1])))
            parts.append(
                _transform_weights(packing.pack_kernel(part, own), profile=profile)
            )
        return parts

    def register(self, bundle: bytes) -> bytes:
        """Admit a client's public key; admitting it again changes nothing.

        Returns:
          Its name, 16 bytes.

        Raises:
          ProtocolError: the bundle is malformed.
        """
        key = PublicKey(bundle, self.layer.profile)
        if key.key not in self._accounts:
            pool = None
            if self.layer.profile.guarded:
                pool = MaskPool(lambda: self._make_mask(key))
            self._accounts.setdefault(key.key, _Account(pool, self._budget))
        return key.key

    def masks(self, key: bytes) -> MaskPool:
        """The pool of masks of a key, to prepare them ahead.

        Raises:
          KeyRoleError: the key is not registered.
          ValueError: answers have no masks in this profile.
        """
        pool = self._account(key).pool
        if pool is None:
            raise ValueError(
                f"profile {self.layer.profile.name!r} answers without masks."
            )
        return pool

    def answer(self, query: bytes) -> bytes:
        """Answer one message of encrypted queries.

        Raises:
          ProtocolError: it is malformed, was answered before, or the budget is spent.
          KeyRoleError: its key is not registered.
        """
        profile, plan = self.layer.profile, self.layer.plan
        message = wire.read(query, "query", profile)
        account = self._account(message.key)
        queries = message.sizes[3]
        if not 1 <= queries <= packing.MAX_QUERIES:
            raise ProtocolError(
                f"query: a message holds 1 to {packing.MAX_QUERIES} queries, got "
                f"{queries}."
            )
        groups = packing.groups(queries)
        seeds_length = len(groups) * sampling.SEED_BYTES
        length = wire.residues_length(queries * plan.tiles, profile)
        sizes = (plan.width, plan.classes, plan.tiles, queries)
        wire.expect_sizes(message, sizes, seeds_length + length)
        seeds, rest = message.payload[:seeds_length], message.payload[seeds_length:]
        pairs = []
        for number, group in enumerate(groups):
            count = (group.stop - group.start) * plan.tiles
            seed = bytes(seeds[number * sampling.SEED_BYTES :][: sampling.SEED_BYTES])
            length = wire.residues_length(count, profile)
            first = wire.unpack_residues(rest[:length], count, profile, "query")
            rest = rest[length:]
            second = sampling.uniform_residues(seed, (count,), profile)
            pair = np.stack([first, second], axis=1)
            pairs.append(pair.reshape(-1, plan.tiles, *pair.shape[1:]))
        account.charge(message.number, queries)
        payload = b"".join(self._evaluate(pair, account.pool) for pair in pairs)
        return wire.write(
            "answer", profile, key=message.key, number=message.number,
            sizes=message.sizes, payload=payload,
        )  # fmt: skip

    def _account(self, key: bytes) -> _Account:
        if key not in self._accounts:
            raise KeyRoleError(
                f"the client key {key.hex()} is not registered here; send its bundle "
                "first."
            )
        return self._accounts[key]

    def _evaluate(self, queries: np.ndarray, pool: MaskPool | None) -> bytes:
        """Words of the answers to queries [B, T, 2, L, N], one after the other."""
        plan, profile = self.layer.plan, self.layer.profile
        if pool is None:
            shape = (plan.answers, len(profile.primes), 1)
            masks = [MaskContent(1, self._bias, np.zeros(shape, np.int64))] * len(
                queries
            )
        else:
            masks = [pool.take().spend() for _ in queries]
        scales = np.array([mask.scale for mask in masks])
        firsts, seconds = [], []
        for number, weights in enumerate(self._weights):
            rows = slice(number * _CHUNK, number * _CHUNK + weights.shape[0])
            parts = [
                np.stack([np.asarray(part)[rows] for part in parts])
                for parts in zip(*((mask.first, mask.second) for mask in masks))
            ]
            count = parts[0].shape[1]
            missing = weights.shape[0] - count
            if missing:
                padding = ((0, 0), (0, missing), (0, 0), (0, 0))
                parts = [np.pad(part, padding) for part in parts]
            first, second = _answer(
                weights, queries, scales, *parts, plan=plan, profile=profile
            )
            firsts.append(np.asarray(first)[:, :count].reshape(len(queries), -1))
            seconds.append(np.asarray(second)[:, :count].reshape(len(queries), -1))
        results = np.concatenate(firsts, axis=1)[:, : plan.classes]
        both = np.concatenate([results, *seconds], axis=1)
        return wire.pack_integers(both, words.WORD_BYTES)

    def _make_mask(self, key: PublicKey) -> MaskContent:
        """A fresh encryption of bias, offset and flood at the results' coefficients."""
        plan, profile, scale, offset = self.layer.plan, self.layer.profile, 1, 0
        if self.layer.policy.name == "order":
            span = ORDER_HIGH_BITS - ORDER_LOW_BITS
            exponent = ORDER_LOW_BITS + span * secrets.randbits(53) / 2**53
            scale = int(2**exponent)
            offset = secrets.randbelow(profile.modulus)
        zeros = key.encrypt_zeros(plan.answers)
        flood = flooding.draw_flood(
            self._scales.flood_bits, (plan.answers, plan.rows), profile
        )
        offsets = np.array([[offset % prime] for prime in profile.primes])
        first = _mask_results(
            zeros[0], self._bias, flood, scale, offsets, plan=plan, profile=profile
        )
        return MaskContent(scale, first, zeros[1])

    def __reduce__(self):
        raise TypeError("a Provider is not copied or pickled: its masks are used once.")


@residues.exact("profile")
def _transform_weights(kernel: Array, *, profile: Profile) -> Array:
    """[A, T, N] integers to residues [A, T, L, N], transformed."""
    reduced = residues.reduce(kernel[:, :, None, :], residues.column(profile))
    return residues.transform(reduced, profile)


@residues.exact("plan", "profile")
def _mask_results(zeros, bias, flood, scale, offset, *, plan: Plan, profile: Profile):
    primes = residues.column(profile)
    first = residues.add(zeros[..., plan.positions], flood, primes)
    shifted = residues.multiply(bias, jnp.asarray(scale), primes)
    return residues.add(first, residues.add(shifted, offset, primes), primes)


@residues.exact("plan", "profile")
def _answer(weights, queries, scales, mask_firsts, mask_seconds, *, plan, profile):
    """Words of answers, [B, A, r] and [B, A, N].

    weights [A, T, L, N] and queries [B, T, 2, L, N] transformed; masks in coefficients.
    """
    primes = residues.column(profile)

    def add_tile(total, tile):
        own, pairs = tile
        products = residues.multiply(own[None, :, None], pairs[:, None], primes)
        return residues.add(total, products, primes), None

    tiles = (jnp.moveaxis(weights, 1, 0), jnp.moveaxis(queries, 1, 0))
    shape = (queries.shape[0], weights.shape[0], 2, *weights.shape[2:])
    total, _ = jax.lax.scan(add_tile, jnp.zeros(shape, jnp.int64), tiles)
    total = residues.inverse_transform(total, profile)
    if profile.guarded:
        total = residues.multiply(total, scales[:, None, None, None, None], primes)
    first = residues.add(total[:, :, 0][..., plan.positions], mask_firsts, primes)
    second = residues.add(total[:, :, 1], mask_seconds, primes)
    return tuple(words.to_words(part, profile) for part in (first, second))
