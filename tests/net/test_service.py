"""A provider and a client as processes that share a loopback address alone."""

import asyncio
import json
import signal

import numpy as np
import pytest

from helix_jax.net import ServiceError, connect_async
from helix_jax.private import Client

from .services import serving, start_service, stop_service
from .sums import wait_until


@pytest.mark.slow
def test_classifies_as_in_the_clear(served, planted):
    plain = planted.y[:11] @ planted.kernel + planted.bias
    with served.connect() as provider:
        found = provider.classify("planted", planted.y[:11])
        one = provider.classify("planted", planted.y[0])
    assert found.shape == (11, 3)
    assert one.shape == (3,)
    np.testing.assert_allclose(found, plain, atol=planted.noise)
    np.testing.assert_allclose(one, plain[0], atol=planted.noise)


@pytest.mark.slow
def test_fits_as_in_the_clear(served, planted):
    with served.connect() as provider:
        fitted = provider.fit("public", planted.x, ids=planted.ids)
    x, y = (rows - rows.mean(axis=0) for rows in (planted.x, planted.y))
    found = np.asarray(fitted.moments.cov_xy)
    np.testing.assert_allclose(
        found, x.T @ y / len(x), atol=6 * float(fitted.noise.max())
    )
    np.testing.assert_allclose(fitted.moments.mean_y, planted.y.mean(axis=0), atol=1e-2)


def test_other_texts_are_refused_before_anything_is_sent(served, planted):
    with served.connect() as provider, pytest.raises(ValueError, match="same texts"):
        provider.fit("public", planted.x, ids=planted.ids[::-1])


def test_names_that_are_not_served_are_named(served, planted):
    with served.connect() as provider:
        with pytest.raises(ValueError, match="no heads 'other'; there are planted"):
            provider.classify("other", planted.y[0])
        with pytest.raises(ValueError, match="no rows 'other'; there are public"):
            provider.fit("other", planted.x)


def test_every_query_is_charged_once(served, planted):
    with served.connect() as provider:
        before = provider.account()["heads"]["planted"]["bits"]
        provider.classify("planted", planted.y[:5])
        after = provider.account()["heads"]["planted"]["bits"]
        bits = provider.about()["heads"]["planted"]["answer_bits"]
    assert after - before == pytest.approx(5 * bits)


@pytest.mark.slow
def test_after_sigterm_the_state_is_whole_and_known(planted, tmp_path):
    words = (
        f"--heads=planted={planted.head_file}",
        f"--rows=public={planted.rows_file}",
    )
    one = start_service(tmp_path / "state", *words)
    with one.connect() as provider:
        provider.classify("planted", planted.y[:3])
        spent = provider.account()["heads"]["planted"]["bits"]
    assert stop_service(one.process) == 0
    two = start_service(tmp_path / "state", *words)
    with two.connect() as provider:
        assert provider.account()["heads"]["planted"]["bits"] == spent
    assert stop_service(two.process, signal.SIGINT) == 0


def test_an_unreachable_service_is_said_to_be(planted):
    from helix_jax.net import connect

    with (
        connect("http://127.0.0.1:9", plain_http=True, patience_seconds=0.3) as nobody,
        pytest.raises(ServiceError, match="cannot be reached"),
    ):
        nobody.about()


@pytest.mark.slow
def test_fits_that_nobody_goes_on_with_are_given_up(planted, tmp_path):
    settings, state = tmp_path / "provider.toml", tmp_path / "state"
    words = f"--rows=public={planted.rows_file}", f"--config={settings}"
    fit = "0" * 32

    async def begin(url):
        provider, client = connect_async(url, plain_http=True), Client()
        ask, key = provider.transport.ask, client.key.hex()
        await ask("PUT", f"/v1/keys/{key}", client.public_bundle())
        asked = json.dumps({"rows": "public", "key": key}).encode()
        await ask("PUT", f"/v1/fits/{fit}", asked)
        await provider.close()

    async def look(url):
        provider = connect_async(url, plain_http=True)
        try:
            await provider.transport.ask("GET", f"/v1/fits/{fit}")
        finally:
            await provider.close()

    settings.write_text("")
    with serving(state, *words) as one:
        asyncio.run(begin(one.url))
        asyncio.run(look(one.url))
    settings.write_text("fit_hours = 1e-6")
    with serving(state, *words) as one:
        wait_until(lambda: not (state / "fits" / fit).exists(), "the folder to go")
        with pytest.raises(ServiceError, match="not_found"):
            asyncio.run(look(one.url))
