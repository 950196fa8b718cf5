"""A worker: one process that computes for the service, one request at a time.

    python -m helix_jax.net.worker FD SERVICE

FD is the worker's end of a socket pair, SERVICE the id of the service's process. The
first frame holds the settings; then each request is a frame with "op" in its head,
answered by one frame: "ok", or "code" and "detail". Between requests it prepares masks
for the keys that asked recently. It ends with the service. Nothing is lost when it
dies: see `desk.py`.
"""

import logging
import select
import signal
import socket
import sys
import traceback
from typing import Any

import numpy as np

from helix_jax.net.desk import Desk
from helix_jax.net.enrolment import Asking
from helix_jax.net.family import end_with
from helix_jax.net.frames import Frame, place_of, receive, send
from helix_jax.net.refusals import code_of
from helix_jax.net.settings_file import make_settings
from helix_jax.private import Client, Provider
from helix_jax.runs.compiled import keep_compiled

LOG = logging.getLogger(__name__)


def serve(end: socket.socket) -> None:
    """Answer frames until the service ends."""
    first = receive(end)
    if first is None:
        return
    desk = None
    try:
        desk = Desk(make_settings(first.head["settings"]))
        about = desk.about()
        warm(desk)
        for name in desk.settings.indexes:
            if place_of(name.encode(), first.head["places"]) == first.head["place"]:
                desk.index(name).prepare()
        send(end, Frame({"ok": True, "about": about}))
    except Exception as error:
        send(end, _refused(error))
        return
    ready = select.poll()  # unlike select, takes sockets of any number
    ready.register(end, select.POLLIN)
    while True:
        while not ready.poll(0) and desk.prepare_one():
            pass
        request = receive(end)
        if request is None:
            return
        try:
            head, body = answer(desk, request.head, request.body)
            send(end, Frame({"ok": True, **head}, body))
        except Exception as error:
            send(end, _refused(error))


def answer(
    desk: Desk, head: dict[str, Any], body: bytes
) -> tuple[dict[str, Any], bytes]:
    """The answer to a request: a head and a body."""
    op = head["op"]
    if op == "key":
        return {"key": desk.keys.learn(body, head["profile"]).hex()}, b""
    if op == "spent":
        return {"spent": desk.spent(head["identity"])}, b""
    if op == "end_fit":
        desk.fits.end(bytes.fromhex(head["fit"]))
        return {}, b""
    if op == "index":
        return {"about": desk.index(head["index"]).about}, b""
    if op == "offer":
        return {}, desk.offer(head["head"], head["identity"])
    asking = Asking(head["identity"], bytes.fromhex(head["key"]))
    if op in ("answers", "transfers", "labels"):
        return {}, desk.ask(head["head"], op, asking, body)
    if op == "search":
        return {}, desk.search(head["index"], head["parts"], asking, body)
    fit = bytes.fromhex(head["fit"]), head["rows"], asking
    if op == "fit":
        return {}, desk.fits.open(*fit)
    if op == "next":
        return {"next": desk.fits.next_rows(*fit)}, b""
    if op == "rows":
        return {"next": desk.fits.absorb(*fit, head["chunk"], body)}, b""
    if op == "mean":
        return {}, desk.fits.mean(*fit)
    if op == "results":
        count, message = desk.fits.results(*fit, head["part"])
        return {"parts": count}, message
    raise ValueError(f"there is no operation {op!r}.")


def warm(desk: Desk) -> None:
    """Compile what queries need, with weights of ones and a key of its own.

    Without Pyfhel no key can be made; then the first queries compile.
    """
    for name in desk.settings.heads:
        provider = desk.provider(name, desk.settings.policy_of("", name))
        layer = provider.layer
        try:
            client = Client(layer.profile.name)
        except ImportError as error:
            LOG.warning("the first queries will compile: %s", error)
            return
        shape = layer.plan.width, layer.plan.classes
        twin = Provider(
            np.broadcast_to(np.float32(1.0), shape),
            input_norm=layer.input_norm,
            profile=layer.profile.name,
            policy="logits" if layer.policy.name == "label" else str(layer.policy),
            tiles=layer.plan.tiles,
            weights_bytes=0,
        )
        twin.register(client.public_bundle())
        if layer.profile.guarded and layer.plan.answers <= 8:
            twin.masks(client.key).prepare(1)
        offer = client.read_layer(twin.layer.to_bytes())
        for rows in (1, 9) if layer.plan.answers <= 8 else (1,):
            twin.answer(client.encrypt(offer, np.zeros((rows, shape[0]))))


def _refused(error: Exception) -> Frame:
    code = code_of(error)
    detail = str(error) if code != "failed" else traceback.format_exc()
    return Frame({"ok": False, "code": code, "detail": detail})


def main() -> None:
    """Serve the socket whose number is the first argument; end with the service."""
    end_with(int(sys.argv[2]))
    # Only the service decides when a worker ends: ^C and systemd signal all processes.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="worker %(process)d: %(message)s")
    logging.getLogger("jax").setLevel(logging.ERROR)
    keep_compiled("")
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
