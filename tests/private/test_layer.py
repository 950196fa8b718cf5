"""Results are x W + b to the stated error, for every plan, size and dtype."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import PROFILES, Client, Layer, Provider, packing, wire
from helix_jax.private.internals import sign_anew
from helix_jax.private.layer import norm_margin
from helix_jax.private.policies import Policy
from helix_jax.private.scales import NORM_MARGIN, choose_scales
from tests.conftest import cases

from .twins import inverse_transform, lift

CASES = [
    ("guarded", 12, 5, None),
    ("guarded", 12, 5, 12),
    ("guarded", 70, 1, 5),
    ("guarded", 4096, 33, 1),
    ("open", 12, 5, None),
    ("open", 3, 2000, 1),
    ("open", 4100, 2, 2),
    ("swift", 12, 5, None),
    ("swift", 3, 2000, 1),
    ("swift", 4100, 2, 2),
    ("compact", 12, 5, 3),
    ("compact", 1, 1, 1),
    ("compact", 2048, 70, 1),
]


def queries(width: int, norm: float, count: int = 2):
    generator = np.random.default_rng(9)
    for number in range(count):
        x = generator.standard_normal(width)
        yield x * (norm * (1 - 1e-9) / np.linalg.norm(x)) * 0.1**number


@pytest.mark.parametrize(("name", "width", "classes", "tiles"), CASES)
def test_results(parties, ask, name, width, classes, tiles):
    client, provider, layer, kernel, bias = parties(width, classes, name, tiles=tiles)
    assert layer == provider.layer
    assert tiles is None or layer.plan.tiles == tiles
    for x in queries(width, layer.input_norm):
        found = ask(client, provider, layer, x)
        assert found.shape == (classes,)
        assert found.dtype == np.float64
        assert np.abs(found - (x @ kernel + bias)).max() <= layer.error
    reach = layer.input_norm * np.linalg.norm(kernel, axis=0).max()
    assert layer.error < 3e-3 * reach


def test_errors_of_a_query_meet_every_row(parties, ask):
    """4,096 rows of one weight: an error bound by single rows would be too small."""
    client, provider, layer, kernel, bias = parties(1, 4096, "open", tiles=1)
    x = np.array([3.0])
    found = ask(client, provider, layer, x) - (x @ kernel + bias)
    row = 21 * np.abs(kernel).max() * 2.0**-layer.query_bits
    assert row < np.abs(found).max() <= layer.error


def test_the_integer_twin(parties, ask):
    """The open profile errs by no more than the errors of the query and the words."""
    client, provider, layer, kernel, bias = parties(12, 5, "open")
    x = next(queries(12, 1.0))
    bits = layer.query_bits, layer.result_bits - layer.query_bits
    integers = [
        [round(float(np.ldexp(value, bit))) for value in values.reshape(-1)]
        for values, bit in ((x, bits[0]), (kernel, bits[1]), (bias, sum(bits)))
    ]
    rows = [integers[1][i::5] for i in range(5)]
    exact = [
        sum(z * w for z, w in zip(integers[0], row)) + b
        for row, b in zip(rows, integers[2])
    ]
    found = np.ldexp(ask(client, provider, layer, x), layer.result_bits)
    weights = sum(abs(w) for w in integers[1])
    word = layer.profile.modulus / 2.0**40
    bound = 21 * weights + word * (1 + layer.profile.degree) / 2
    assert max(abs(f - e) for f, e in zip(found, exact)) <= bound


DTYPES = ["float64", "float32", "float16", "bfloat16", "int8", "int64", "uint16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(parties, ask, dtype):
    client, provider, layer, kernel, bias = parties(profile="open")
    x = jnp.asarray(next(queries(12, 7.0)))
    x = np.abs(np.asarray(x)) if dtype == "uint16" else np.asarray(x)
    x = (
        np.asarray(jnp.asarray(x).astype(dtype))
        if dtype == "bfloat16"
        else x.astype(dtype)
    )
    expected = x.astype(np.float64) @ kernel + bias
    assert np.abs(ask(client, provider, layer, x) - expected).max() <= layer.error


def test_arrays_of_jax_and_lists(parties, ask):
    client, provider, layer, kernel, bias = parties(profile="open")
    for x in (jnp.arange(12) / 4, [0.25 * i for i in range(12)]):
        expected = np.arange(12) / 4 @ kernel + bias
        assert np.abs(ask(client, provider, layer, x) - expected).max() <= layer.error


def test_views(parties, ask):
    """Strided, reversed, read-only and foreign-endian arrays are read as they are."""
    client, provider, layer, kernel, bias = parties(profile="open")
    whole = np.random.default_rng(0).standard_normal((12, 24))
    frozen = whole[0, :12].copy()
    frozen.flags.writeable = False
    views = (
        whole[:, 1],
        whole[3, ::2],
        whole[2, 11::-1],
        frozen,
        whole[5, :12].astype(">f8"),
        np.asfortranarray(whole)[:, 7],
    )
    for x in views:
        expected = x.astype(float) @ kernel + bias
        assert np.abs(ask(client, provider, layer, x) - expected).max() <= layer.error


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.full(12, np.nan), ValueError, "must be finite, got NaN"),
        (np.full(12, np.inf), ValueError, "must be finite"),
        (np.full(12, -np.inf, np.float16), ValueError, "must be finite"),
        (np.full(12, 1e200), ValueError, r"\|x\| is .*takes at most 8"),
        (np.full(12, 8.0), ValueError, r"\|x\| is 27.7.*takes at most 8"),
        (np.zeros(11), ValueError, r"expected width 12, got shape \[11\]"),
        (np.zeros((12, 1)), ValueError, r"expected width 12, got shape \[.*1\]"),
        (np.zeros((2, 1, 12)), ValueError, r"expected width 12, got shape \[.*1, 12\]"),
        (np.float64(1), ValueError, r"expected width 12, got shape \[\]"),
        (np.zeros(12, complex), TypeError, "real numbers, got complex128"),
        (np.zeros(12, bool), TypeError, "real numbers, got bool"),
        (np.array(["a"] * 12), TypeError, "real numbers, got <U1"),
        (np.array([None] * 12), TypeError, "real numbers, got object"),
    ],
)
def test_queries_that_are_refused(parties, x, error, message):
    client, _, layer, _, _ = parties(profile="open")
    with np.errstate(over="ignore"), pytest.raises(error, match=message):
        client.encrypt(layer, x)


SCALES = [1e-25, 1e-6, 1e-2, 1.0, 1e4]


@pytest.mark.parametrize(("name", "scale"), itertools.product(PROFILES, SCALES))
def test_weights_and_inputs_of_every_size(client, name, scale):
    """What a provider offers is accepted by a client, and errs little for its reach."""
    generator = np.random.default_rng(1)
    profile = PROFILES[name]
    for norm in (1e-6, 1.0, 30.0):
        kernel = scale * generator.standard_normal((64, 6))
        for bias in (np.zeros(6), np.full(6, 3 * scale)):
            plan = packing.plan_layer(64, 6, profile)
            scales = choose_scales(
                kernel,
                bias,
                input_norm=norm,
                plan=plan,
                profile=profile,
                policy=Policy(),
            )
            layer = Layer(
                profile,
                plan,
                scales.result_bits,
                scales.query_bits,
                norm,
                scales.error,
                Policy(),
            )
            assert Layer.from_bytes(layer.to_bytes(), profile) == layer
            reach = norm * np.linalg.norm(kernel, axis=0).max() + np.abs(bias).max()
            assert layer.error < 1e-3 * reach
            assert (reach + layer.error) * 2.0**layer.result_bits < profile.modulus / 2


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("bias", [0.0, 1.0, -1e4])
def test_zero_kernel(client, ask, name, bias):
    own = client(name)
    settings = {"input_norm": 8.0, "profile": name, "policy": "logits"}
    provider = Provider(np.zeros((12, 5)), np.full(5, bias), **settings)
    provider.register(own.public_bundle())
    layer = own.read_layer(provider.layer.to_bytes())
    for x in queries(12, 8.0):
        found = ask(own, provider, layer, x)
        assert np.abs(found - bias).max() <= layer.error <= 1e-3 * max(1, abs(bias))


@pytest.mark.slow
def test_extreme_results_do_not_wrap(client, ask):
    """The largest results of both signs, of aligned rows, with the largest bias."""
    direction = np.ones(12) / np.sqrt(12)
    kernel = np.stack([direction, -direction], axis=1) * 50
    own = client("guarded")
    provider = Provider(kernel, np.array([300.0, -300.0]), input_norm=8.0)
    provider.register(own.public_bundle())
    layer = own.read_layer(provider.layer.to_bytes())
    found = ask(own, provider, layer, direction * 8 * (1 - 1e-12))
    assert np.abs(found - [700, -700]).max() <= layer.error


@pytest.mark.parametrize(
    ("kernel", "settings", "message"),
    [
        (np.zeros(3), {}, r"kernel needs shape \[d, k\], got \[3\]"),
        (np.zeros((3, 2)), {"bias": np.zeros(3)}, r"bias needs shape \[2\], got \[3\]"),
        (np.full((3, 2), np.nan), {}, "must be finite"),
        (np.zeros((3, 2)), {"bias": np.array([0, np.inf])}, "must be finite"),
        (np.zeros((3, 2)), {"input_norm": 0.0}, "input_norm must be positive"),
        (np.zeros((3, 2)), {"input_norm": np.nan}, "input_norm must be positive"),
        (np.zeros((3, 2)), {"input_norm": np.inf}, "input_norm must be positive"),
        (np.zeros((3, 2)), {"budget": 0}, "budget must be positive bits, got 0"),
        (np.zeros((3, 2)), {"profile": "loose"}, "unknown profile 'loose'"),
        (np.zeros((3, 2)), {"policy": "order"}, "an answer policy is"),
        (np.zeros((3, 2)), {"minimise": "cost"}, "minimise must be"),
        (np.zeros((3, 2)), {"tiles": 4}, "needs 1 to 3 tiles"),
        (np.zeros((0, 2)), {}, "width must be from 1"),
        (np.zeros((3, 0)), {}, "classes must be from 1"),
        (np.full((3, 2), 1e25), {}, "results reach .* scale inputs or weights down"),
        (np.ones((3, 2)), {"shared": (9, 200)}, "take shared_scales of all"),
        (np.ones((3, 2)), {"shared": (9, 90)}, "take shared_scales of all"),
    ],
)
def test_layers_that_are_refused(kernel, settings, message):
    settings = {"input_norm": 1.0, **settings}
    with pytest.raises(ValueError, match=message):
        Provider(kernel, **settings)


def with_number(client: Client, query: bytes, number: int) -> bytes:
    """The same ciphertext under another number."""
    start = 4 + 2 + 1 + 1 + 16
    changed = query[:start] + bytes([number]) * 16 + query[start + 16 :]
    return sign_anew(client, changed)


def test_guarded_answers_to_equal_queries_differ(parties):
    """The mask is new: differences of the words are uniform, those of results flood."""
    client, provider, layer, _, _ = parties(200, 40, "guarded", tiles=10)
    query = client.encrypt(layer, np.zeros(200))
    pending = client._pending[query[24:40]]
    words, classes, results = [], layer.plan.classes, []
    for number in (1, 2):
        answer = provider.answer(with_number(client, query, number))
        raw = memoryview(answer)[wire.HEADER_BYTES :]
        words.append(wire.unpack_integers(raw, (len(raw) // 5,), 5))
        client._pending[bytes([number]) * 16] = pending
        results.append(client.decrypt(answer))
    apart = (words[1] - words[0]) % 2**40
    for part in (apart[:classes], apart[classes:]):
        assert (part == 0).mean() < 0.01
    counts = np.bincount(apart[classes:] >> 32, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-9
    # Results differ by two floods of standard deviation R / sqrt 3.
    flood = 2.0 ** (provider._prepared.scales.flood_bits - layer.result_bits) / np.sqrt(
        3
    )
    apart = results[1] - results[0]
    assert 0.6 * flood < apart.std() / np.sqrt(2) < 1.5 * flood
    assert flood < layer.error


def test_open_answers_to_equal_queries_are_equal(parties):
    client, provider, layer, _, _ = parties(profile="open")
    query = client.encrypt(layer, np.ones(12))
    answers = [provider.answer(with_number(client, query, number)) for number in (1, 2)]
    assert answers[0][wire.HEADER_BYTES :] == answers[1][wire.HEADER_BYTES :]


def test_floods_cover_the_shift(parties):
    """R is 2^40 times the bound of everything an answer tells beside its result."""
    for settings in ((12, 5), (70, 1), (3, 2000)):
        *_, provider, layer, kernel, _ = parties(*settings, "guarded")
        scales, plan = provider._prepared.scales, layer.plan
        integers = np.abs(np.rint(np.ldexp(kernel, scales.kernel_bits)))
        totals = np.zeros(plan.answers * plan.rows)
        totals[: plan.classes] = integers.sum(axis=0)
        totals = totals.reshape(plan.answers, plan.rows).sum(axis=1)
        bounds = 21 * np.repeat(totals, plan.rows)[: plan.classes] + 21 * (2 * 4096 + 1)
        assert np.linalg.norm(bounds) <= 2.0 ** (scales.flood_bits - 40)


def test_layer_messages(parties):
    _, _, layer, _, _ = parties(profile="guarded", policy="rounded:8")
    assert Layer.from_bytes(layer.to_bytes(), layer.profile) == layer
    assert layer.policy == Policy("rounded", 8)
    for change in (
        {"input_norm": np.nan},
        {"input_norm": -1.0},
        {"input_norm": 1e300},
        {"error": np.nan},
        {"error": -1.0},
        {"error": np.inf},
        {"query_bits": 0},
        {"query_bits": layer.result_bits + 1},
        {"result_bits": 2000},
        {"query_bits": 101, "result_bits": 101},
    ):
        bad = dataclasses.replace(layer, **change).to_bytes()
        with pytest.raises(ProtocolError, match="do not fit a modulus of 101 bits"):
            Layer.from_bytes(bad, layer.profile)
    with pytest.raises(ProtocolError, match="expected profile 'open', got 'guard"):
        Layer.from_bytes(layer.to_bytes(), PROFILES["open"])
    bad = dataclasses.replace(layer, plan=layer.plan._replace(width=10**6))
    with pytest.raises(ProtocolError, match="layer: plan: width must be from 1"):
        Layer.from_bytes(bad.to_bytes(), layer.profile)
    bad = dataclasses.replace(layer, policy=Policy("rounded", 31))
    with pytest.raises(ProtocolError, match="BITS from 1"):
        Layer.from_bytes(bad.to_bytes(), layer.profile)


def test_a_layer_of_another_profile(client, parties):
    *_, layer, _, _ = parties(profile="open")
    with pytest.raises(KeyRoleError, match="profile 'compact', the layer of 'open'"):
        client("compact").encrypt(layer, np.zeros(12))


@pytest.mark.parametrize("count", [1, 3, 8, 19])
def test_several_queries_in_one_message(client, count):
    """As many answers, in order, with as many masks and as much of the budget."""
    generator = np.random.default_rng(count)
    kernel, bias = generator.normal(size=(40, 7)), generator.normal(size=7)
    x = generator.normal(size=(count, 40))
    settings = {"input_norm": 12.0, "tiles": 2}
    bits = Provider(kernel, bias, **settings).answer_bits
    provider = Provider(kernel, bias, **settings, budget=(count + 2) * bits)
    client = client("guarded")
    key = provider.register(client.public_bundle())
    provider.masks(key).prepare(count)
    layer = client.read_layer(provider.layer.to_bytes())
    found = client.decrypt(provider.answer(client.encrypt(layer, x)))
    assert found.shape == (count, 7)
    assert np.abs(found - (x @ kernel + bias)).max() <= layer.error
    assert len(provider.masks(key)) == 0
    with pytest.raises(ProtocolError, match=f"{3 * bits:,.0f} more are above"):
        provider.answer(client.encrypt(layer, x[[0, 0, 0]]))
    with pytest.raises(ValueError, match="holds 1 to 1024 queries, got 0"):
        client.encrypt(layer, x[:0])


NARROW = [np.float16, jnp.bfloat16]


@pytest.mark.parametrize(
    ("made", "norm"),
    cases(
        zip([np.float32, np.float64, *NARROW], [0.1, 1.0, 3.7, 0.1]),
        *itertools.product([np.float32, np.float64, *NARROW], [0.1, 1.0, 3.7]),
    ),
)
@pytest.mark.slow
def test_vectors_scaled_to_the_norm_are_taken(parties, made, norm):
    """As their own dtype rounds them, computed in it, and widened since."""
    client, _, layer, _, _ = parties(64, 3, "open", input_norm=norm)
    x = np.random.default_rng(0).standard_normal((200, 64)).astype(made)
    lengths = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    rounded = (norm * x.astype(np.float64) / lengths).astype(made)
    scale = np.asarray(norm, made) / np.sqrt(np.sum(x * x, axis=1, keepdims=True))
    inside = x * scale
    above = [
        np.sum(np.linalg.norm(one.astype(np.float64), axis=1) > norm)
        for one in (rounded, inside)
    ]
    assert max(above) > (
        20 if made is not np.float64 else 0
    )  # what a bare comparison refuses
    for one in (rounded, inside, jnp.asarray(rounded)):
        assert client.encrypt(layer, one)
    if made is not jnp.bfloat16:
        assert client.encrypt(layer, rounded.astype(np.float32))


@pytest.mark.parametrize("name", PROFILES)
def test_the_error_holds_within_the_margin(parties, ask, name):
    """Queries as long as any that are encrypted, along the heaviest class."""
    client, provider, layer, kernel, bias = parties(12, 5, name, input_norm=1.0)
    heaviest = np.argmax(np.linalg.norm(kernel, axis=0))
    for made in NARROW:
        x = kernel[:, heaviest] / np.linalg.norm(kernel[:, heaviest])
        x = (x * (1 + 0.9 * norm_margin(made))).astype(made)
        assert np.linalg.norm(x.astype(np.float64)) > 1
        expected = x.astype(np.float64) @ kernel + bias
        assert np.abs(ask(client, provider, layer, x) - expected).max() <= layer.error


def test_clearly_longer_queries_are_refused(parties):
    client, _, layer, *_ = parties(64, 3, "open", input_norm=1.0)
    x = np.full(64, 1 / 8)
    assert client.encrypt(layer, x * (1 + 2.0**-11))
    for made, factor in ((np.float64, 1.001), (np.float32, 1.001), (np.float16, 1.01)):
        with pytest.raises(ValueError, match=r"\|x\| is 1\.0\d+, the layer takes at m"):
            client.encrypt(layer, (x * factor).astype(made))


def test_the_margin_counts_in_everything_that_is_stated(parties):
    """The results of the longest queries stay below q / 2, the flood is as it was."""
    _, provider, layer, kernel, bias = parties(12, 5, "guarded", input_norm=1.0)
    longest = 1 + NORM_MARGIN
    assert norm_margin(jnp.bfloat16) == NORM_MARGIN
    reach = longest * np.linalg.norm(kernel, axis=0).max() + np.abs(bias).max()
    room = layer.profile.modulus / 2
    assert (reach + layer.error) * 2.0**layer.result_bits < room
    scales = provider._prepared.scales
    rounding = np.sqrt(12) * longest * 2.0 ** (-scales.kernel_bits - 1)
    assert layer.error > rounding


def test_a_result_in_full_is_an_equation_of_the_key(parties):
    """Why results are not shown in full: w0 + w1 s = result modulo 2^40, exactly."""
    client, provider, layer, _, _ = parties(profile="compact")
    plan, profile = layer.plan, layer.profile
    answer = provider.answer(client.encrypt(layer, np.ones(plan.width)))
    results = client.decrypt(answer)
    payload = memoryview(answer)[wire.HEADER_BYTES :]
    words = wire.unpack_integers(payload, (len(payload) // 5,), 5).astype(object)
    first, second = words[: plan.classes], words[plan.classes :][: plan.degree]
    key = inverse_transform(client._secret.residues, profile=profile)
    key = lift(np.asarray(key), profile)
    assert set(key) == {-1, 0, 1}

    def gap(shown):
        """Of the equations, in units of the modulus 2^40."""
        units = np.ldexp(np.float64(shown), layer.result_bits)
        units = np.rint(units / profile.modulus * 2**40).astype(int)
        found = []
        for number, place in enumerate(plan.positions[: plan.classes]):
            turned = np.concatenate([second[place::-1], -second[:place:-1]])
            whole = int(first[number] + turned @ key - int(units[number])) % 2**40
            found.append(min(whole, 2**40 - whole))
        return max(found)

    assert plan.answers == 1
    assert gap(results) <= 1
    assert gap(results.astype(np.float32)) > 100
