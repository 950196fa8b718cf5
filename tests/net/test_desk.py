"""What a worker keeps in memory has an end; what lasts does not depend on it."""

import numpy as np
import pytest

from helix_jax.net import enrolment
from helix_jax.net.desk import Desk
from helix_jax.net.enrolment import Asking
from helix_jax.net.refusals import FORGOTTEN, Refusal
from helix_jax.net.settings_file import make_settings
from helix_jax.private import Client


@pytest.mark.slow
def test_keys_that_asked_long_ago_are_forgotten_and_may_come_back(
    planted, tmp_path, monkeypatch
):
    monkeypatch.setattr(enrolment, "KEYS", 2)
    head = {"path": str(planted.head_file), "profile": "open", "input_norm": 60.0}
    state = tmp_path / "state"
    state.mkdir(0o700)
    desk = Desk(make_settings({"state": str(state), "heads": {"planted": head}}))
    clients = [Client("open") for _ in range(3)]
    layer = clients[0].read_layer(desk.offer("planted", "ada"))

    def ask(client):
        query = client.encrypt(layer, planted.y[0])
        answer = desk.ask("planted", "answers", Asking("ada", client.key), query)
        return client.decrypt(answer)

    plain = planted.y[0] @ planted.kernel + planted.bias
    for client in clients:
        client.read_layer(desk.offer("planted", "ada"))
        desk.keys.learn(client.public_bundle(), "open")
        np.testing.assert_allclose(ask(client), plain, atol=planted.noise)
    with pytest.raises(Refusal) as refused:
        ask(clients[0])
    assert refused.value.code == FORGOTTEN
    np.testing.assert_allclose(ask(clients[1]), plain, atol=planted.noise)
    desk.keys.learn(clients[0].public_bundle(), "open")
    np.testing.assert_allclose(ask(clients[0]), plain, atol=planted.noise)
    # The one that asked last but one is there still, the other is not.
    np.testing.assert_allclose(ask(clients[1]), plain, atol=planted.noise)
    with pytest.raises(Refusal):
        ask(clients[2])
