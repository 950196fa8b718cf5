"""Tickets bind keys to identities; messages are their owners'; budgets outlive all."""

import os
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from helix_jax.errors import KeyRoleError, ProtocolError
from helix_jax.private import (
    Admission,
    Client,
    FitClient,
    FitProvider,
    Ledger,
    Provider,
)
from helix_jax.private.internals import sign_anew

X = np.linspace(-1, 1, 12)
KERNEL = np.random.default_rng(5).standard_normal((12, 5))
KEY = bytes(range(16))


@pytest.fixture(scope="module")
def other(client):
    return Client("guarded")


def serve(**settings):
    return Provider(KERNEL, input_norm=8.0, **settings)


def test_a_ticket_says_who_holds_a_key():
    admission = Admission()
    ticket = admission.issue("Ada of London", KEY, seconds=60)
    read = admission.read(ticket, KEY)
    assert read.identity == "Ada of London"
    assert 0 < read.until - time.time() <= 60
    with pytest.raises(KeyRoleError, match="for the client key 000102"):
        admission.read(ticket, bytes(16))
    with pytest.raises(KeyRoleError, match="not issued by this provider's admission"):
        Admission().read(ticket, KEY)
    for place in range(len(ticket)):
        changed = bytearray(ticket)
        changed[place] ^= 1
        with pytest.raises((KeyRoleError, ProtocolError)):
            admission.read(bytes(changed), KEY)
    for wrong in (b"", ticket[:-1], ticket + b"x", ticket[:60], None):
        with pytest.raises((KeyRoleError, ProtocolError)):
            admission.read(wrong, KEY)


def test_tickets_end():
    admission = Admission()
    ticket = admission.issue("a", KEY, seconds=1e-6)
    with pytest.raises(KeyRoleError, match="it has expired"):
        admission.read(ticket, KEY)


@pytest.mark.parametrize(
    ("identity", "key", "seconds", "wrong"),
    [
        ("", KEY, 1, "1 to 1000 bytes"),
        ("é" * 600, KEY, 1, "got 1200"),
        ("a\nb", KEY, 1, "printable"),
        ("a", KEY[:8], 1, "named by 16 bytes"),
        ("a", KEY, 0, "seconds must be positive"),
        ("a", KEY, float("nan"), "seconds must be positive"),
    ],
)
def test_tickets_that_cannot_be(identity, key, seconds, wrong):
    with pytest.raises(ValueError, match=wrong):
        Admission().issue(identity, key, seconds=seconds)


def test_a_signing_key_in_a_file(tmp_path):
    path, made = tmp_path / "deep" / "admission.key", []
    threads = [
        threading.Thread(target=lambda: made.append(Admission(path))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.name for one in made}) == 1 == len(list(path.parent.iterdir()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ticket = made[0].issue("a", KEY, seconds=60)
    assert Admission(path).read(ticket, KEY).identity == "a"
    path.chmod(0o640)
    with pytest.raises(ProtocolError, match="only its owner may read: chmod 600"):
        Admission(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ProtocolError, match="5 bytes instead of 32"):
        Admission(path)


@pytest.mark.slow
def test_keys_of_one_identity_share_its_budget(client, other, tmp_path):
    """Through two keys, two processes of the provider, and a restart."""
    admission, own = Admission(), client("guarded")
    bits = serve().answer_bits
    settings = {"budget": 3 * bits, "admission": admission}
    provider = serve(ledger=Ledger(tmp_path / "ledger.db"), **settings)
    layer = own.read_layer(provider.layer.to_bytes())
    with pytest.raises(KeyRoleError, match=own.key.hex()):
        provider.register(own.public_bundle())
    for one, identity in ((own, "a"), (other, "a")):
        ticket = admission.issue(identity, one.key, seconds=60)
        provider.register(one.public_bundle(), ticket)
        assert one.decrypt(provider.answer(one.encrypt(layer, X))).shape == (5,)
    query = own.encrypt(layer, X)
    provider.answer(query)
    assert provider.spent("a") == pytest.approx(3 * bits)
    with pytest.raises(KeyRoleError, match="belongs to 'a' here, the ticket is of 'b'"):
        provider.register(
            own.public_bundle(), admission.issue("b", own.key, seconds=60)
        )
    # The same weights in another dtype are the same secret.
    again = Provider(
        KERNEL.astype(np.float64, order="F"),
        input_norm=8.0,
        ledger=Ledger(tmp_path / "ledger.db"),
        **settings,
    )
    again.register(own.public_bundle(), admission.issue("a", own.key, seconds=60))
    with pytest.raises(ProtocolError, match=r"given to client 'a'"):
        again.answer(query)
    with pytest.raises(ProtocolError, match=r"client 'a' has had .* are allowed"):
        again.answer(own.encrypt(layer, X))
    fresh = Client("guarded")
    again.register(fresh.public_bundle(), admission.issue("b", fresh.key, seconds=60))
    again.answer(fresh.encrypt(layer, X))


def test_63_queries_are_lost_with_the_machine_at_most(client, tmp_path, monkeypatch):
    boot, path = tmp_path / "boot_id", tmp_path / "ledger.db"
    monkeypatch.setattr("helix_jax.private.ledger_file._BOOT", boot)
    boot.write_text("first")
    own, provider = client("guarded"), serve(ledger=Ledger(path))
    provider.register(own.public_bundle())
    provider.answer(own.encrypt(own.read_layer(provider.layer.to_bytes()), X))
    boot.write_text("second")
    again = serve(ledger=Ledger(path))
    lost = again.spent(f"key {own.key.hex()}") / again.answer_bits - 1
    assert lost == pytest.approx(63)


def test_nobody_spends_what_is_another_s(client, other):
    """A key's name is public: under it a stranger asks, and who changes a message."""
    own = client("guarded")
    provider = serve(budget=serve().answer_bits)
    for one in (own, other):
        provider.register(one.public_bundle())
    layer = own.read_layer(provider.layer.to_bytes())
    query = own.encrypt(layer, X)
    forged = other.encrypt(layer, X)
    forged = sign_anew(other, forged[:8] + own.key + forged[24:])
    renumbered = query[:24] + os.urandom(16) + query[40:]
    payload = query[:90] + bytes([query[90] ^ 1]) + query[91:]
    for changed in (forged, renumbered, payload):
        with pytest.raises(KeyRoleError, match=f"owner of .* {own.key.hex()}"):
            provider.answer(changed)
    assert provider.spent(f"key {own.key.hex()}") == 0
    provider.answer(query)


def test_a_ticket_is_needed_as_long_as_its_holder_asks(client, monkeypatch):
    admission, own = Admission(), client("guarded")
    provider = serve(admission=admission)
    provider.register(own.public_bundle(), admission.issue("a", own.key, seconds=1000))
    layer = own.read_layer(provider.layer.to_bytes())
    late = admission.issue("a", own.key, seconds=3000)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 2000)
    with pytest.raises(KeyRoleError, match="has expired; register it with another"):
        provider.answer(own.encrypt(layer, X))
    provider.register(own.public_bundle(), late)
    provider.answer(own.encrypt(layer, X))


def test_budgets_are_of_weights_that_are_hidden():
    with pytest.raises(ValueError, match="'open' hide none"):
        serve(profile="open", budget=10.0)
    with pytest.raises(ValueError, match="budget must be positive bits, got nan"):
        serve(budget=float("nan"))
    assert serve(profile="open").answer_bits == 0
    with pytest.raises(ProtocolError, match="has no admission to read it by"):
        serve().register(Client("guarded").public_bundle(), b"ticket")


def test_a_fit_is_its_ticket_s(client, other):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)), rng.standard_normal((64, 3))
    own, admission, ledger = client("guarded"), Admission(), Ledger()
    provider = FitProvider(y, admission=admission, ledger=ledger, share=0.5)
    with pytest.raises(KeyRoleError, match="admitted here with a ticket"):
        provider.register(own.public_bundle())
    ticket = admission.issue("a", own.key, seconds=60)
    provider.register(own.public_bundle(), ticket)
    provider.register(own.public_bundle(), ticket)
    with pytest.raises(KeyRoleError, match="the ticket is of 'b'"):
        provider.register(
            own.public_bundle(), admission.issue("b", own.key, seconds=60)
        )
    fit = FitClient(own, provider.offer.to_bytes(), x)
    message = next(fit.chunks())
    forged = sign_anew(other, message)
    with pytest.raises(KeyRoleError, match="rows: it is not signed by the owner"):
        provider.absorb(forged)
    assert provider.identity == "a"
    named = FitProvider(y, admission=admission, identity="c")
    with pytest.raises(KeyRoleError, match="belongs to 'c' here"):
        named.register(own.public_bundle(), ticket)


FORK = """
import os, signal, numpy as np
from helix_jax.errors import ProtocolError
from helix_jax.private import Client, FitClient, FitProvider, Provider
x = np.random.default_rng(0).standard_normal((40, 4))
client = Client("compact")
provider = Provider(x[:4, :3], input_norm=9.0, profile="compact")
bundle = client.public_bundle()
provider.register(bundle)
layer = client.read_layer(provider.layer.to_bytes())
query = client.encrypt(layer, x[0][:4])
fit = FitProvider(x[:, :2], profile="compact")
fit.register(bundle)
side = FitClient(client, fit.offer.to_bytes(), x)
rows = next(side.chunks())
unread = provider.answer_pieces(client.encrypt(layer, x[0][:4]))
tries = [
    lambda: provider.answer(query),
    lambda: next(unread) and next(unread),
    lambda: provider.register(bundle),
    lambda: client.encrypt(layer, x[0][:4]),
    lambda: client.decrypt(b""),
    lambda: fit.absorb(rows),
    lambda: fit.mean_message(),
    lambda: next(FitClient(client, fit.offer.to_bytes(), x).chunks()),
]
if not (child := os.fork()):
    signal.alarm(60)  # what hangs ends
    told = 0
    for one in tries:
        try:
            one()
        except ProtocolError as wrong:
            told += "make a new one in a forked child" in str(wrong)
    os._exit(told)
print(len(tries), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
client.encrypt(layer, x[0][:4])
"""


@pytest.mark.slow
def test_what_was_made_before_a_fork_is_refused_after_it():
    pytest.importorskip("Pyfhel")
    words = [sys.executable, "-W", "ignore", "-c", FORK]
    run = subprocess.run(words, capture_output=True, text=True, timeout=300)
    made, told = run.stdout.split()
    assert (run.returncode, told) == (0, made), run.stderr
