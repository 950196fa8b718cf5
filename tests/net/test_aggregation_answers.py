"""Several providers asked through a service of sums: real processes over TLS."""

import contextlib
import dataclasses

import numpy as np
import pytest

from helix_jax.errors import RunError
from helix_jax.net import ServiceError, connect
from helix_jax.net.aggregation.sum_settings import read_sum_settings
from helix_jax.net.aggregation.summed_layer import summed_layer
from helix_jax.net.identities import Identities
from helix_jax.private import Provider, shared_scales
from tests.net.sums import Program, write_secret

WIDTH, CLASSES, NORM = 24, 6, 10.0
NAMES = "north", "south"


@pytest.fixture(scope="module")
def heads():
    """The kernel and bias of each provider."""
    pytest.importorskip("Pyfhel")
    generator = np.random.default_rng(5)
    return {
        name: (
            generator.normal(size=(WIDTH, CLASSES)) * size,
            generator.normal(size=CLASSES),
        )
        for name, size in zip(NAMES, (1.0, 3.0))
    }


@pytest.fixture(scope="module")
def layers(heads):
    """What each provider offers at the scales that are best for it alone."""
    settings = {"input_norm": NORM, "policy": "logits"}
    return {name: Provider(*own, **settings).layer for name, own in heads.items()}


def issue(state, name):
    """A token of a service whose state is this folder."""
    state.mkdir(mode=0o700, exist_ok=True)
    with contextlib.closing(Identities(state / "state.db")) as identities:
        return identities.issue(name, 3600)


@pytest.fixture(scope="module")
def relay(heads, layers, tmp_path_factory, certificates):
    """Programs of two providers and of the service of sums; its address, a token."""
    folder = tmp_path_factory.mktemp("sums")
    query_bits, result_bits = shared_scales(list(layers.values()))
    tls = (
        f'certificate = "{certificates / "server.pem"}"\n'
        f'private_key = "{certificates / "server.key"}"\nport = 0\n'
    )
    programs = []
    for name, (kernel, bias) in heads.items():
        np.savez(folder / f"{name}.npz", kernel=kernel, bias=bias)
        write_secret(folder / f"{name}.token", issue(folder / name, "sums"))
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\nstate = "{name}"\nworkers = 1\n{tls}'
            f'[heads.own]\npath = "{name}.npz"\npolicy = "logits"\n'
            f"input_norm = {NORM}\nquery_bits = {query_bits}\n"
            f"result_bits = {result_bits}\n"
        )
        programs.append(Program("serve", f"--config={folder / name}.toml"))
    summands = "".join(
        f'[sums.both.{name}]\nurl = "{program.wait_for(name).split()[-1]}"\n'
        f'head = "own"\ntoken_file = "{name}.token"\n'
        f'authority = "{certificates / "authority.pem"}"\n'
        for name, program in zip(NAMES, programs)
    )
    token = issue(folder / "relay", "ada")
    (folder / "relay.toml").write_text(
        f'name = "sums"\nstate = "relay"\n{tls}{summands}'
    )
    programs.append(Program("sum_relay", f"--config={folder / 'relay.toml'}"))
    url = programs[-1].wait_for("sums is served").split()[-1]
    yield url, token, programs
    for program in programs:
        program.kill()


@pytest.mark.slow
def test_the_client_opens_the_sum_of_the_providers_and_nothing_else(
    relay, heads, certificates
):
    url, token, programs = relay
    authority = certificates / "authority.pem"
    x = np.random.default_rng(6).normal(size=(3, WIDTH))
    wanted = sum(x @ kernel + bias for kernel, bias in heads.values())
    with connect(url, token=token, authority=authority, patience_seconds=5) as sums:
        assert sums.about()["heads"]["both"]["providers"] == 2
        found = sums.classify("both", x)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        for kernel, bias in heads.values():
            assert np.abs(found - (x @ kernel + bias)).max() > 1
        programs[1].kill()  # a sum without one of them is none
        with pytest.raises(ServiceError) as refused:
            sums.classify("both", x)
        assert refused.value.code in ("lost", "unreachable")
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    with (
        connect(url, token=other, authority=authority) as stranger,
        pytest.raises(ServiceError, match="unauthorized"),
    ):
        stranger.account()


def test_scales_that_leave_no_room_are_refused_with_those_to_set(layers):
    query_bits, result_bits = shared_scales(list(layers.values()))
    words = f"query_bits = {query_bits} and result_bits = {result_bits}"
    with pytest.raises(RunError, match=words):
        summed_layer(layers, dict.fromkeys(layers, False))
    same = dict.fromkeys(("north", "south"), layers["north"])
    with pytest.raises(RunError, match="leave no room"):
        summed_layer(same, {"north": True, "south": False})
    found = summed_layer(same, dict.fromkeys(same, True))
    assert found.binding == layers["north"].binding
    assert found.error == 2 * layers["north"].error


def test_layers_that_cannot_be_added_are_named(layers):
    other = dataclasses.replace(layers["south"], input_norm=2.0)
    told = {"north": True, "south": True}
    with pytest.raises(
        RunError, match=r"north has 24 x 6 .* south has .*input_norm 2,"
    ):
        summed_layer({"north": layers["north"], "south": other}, told)
    with pytest.raises(RunError, match="two providers or more, got 1"):
        summed_layer({"north": layers["north"]}, {"north": True})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no sum"),
        ("[sums.a.b]\nurl = 'https://x'", "sums.a.b: missing head"),
        ("[sums.a.b]\nurl = 3", r"sums.a.b.url: expected str, got 3"),
        ("[sums.a.b]\nport = 3", r"sums.a.b.port: there is no such setting"),
        ("[sums]\na = 3", r"sums.a: expected a table"),
        ("[sums.a.b]\nurl='u'\nhead='h'\n[heads.c]\npath='p'", "cannot have heads"),
        (
            "[sums.a.b]\nurl='u/'\nhead='h'\n[sums.a.c]\nurl='u'\nhead='h'",
            "the same head of one service is listed twice",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(tmp_path, text, said):
    (tmp_path / "sums.toml").write_text(text)
    with pytest.raises(RunError, match=said):
        read_sum_settings(tmp_path / "sums.toml")
