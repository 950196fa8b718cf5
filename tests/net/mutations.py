"""Messages and requests that are not quite what they should be."""

import json

from hypothesis import strategies as some

from helix_jax.net.connections import HEAD_TOO_LARGE
from helix_jax.net.refusals import CODES
from helix_jax.private.wire import HEADER_BYTES

from .asking import Asker

_TOLD = {
    json.dumps(
        {"error": name, "message": code.message}, separators=(",", ":")
    ).encode(): code.status
    for name, code in CODES.items()
}
# Of the parser of HTTP itself, before there is a request; no body for HEAD.
_OF_HTTP = {b"Invalid HTTP request received.", HEAD_TOO_LARGE, b""}


def changed_bytes(body: bytes) -> some.SearchStrategy[bytes]:
    """Other bytes: some set anew, cut off, added, or all made up."""
    places = some.one_of(
        some.integers(0, min(HEADER_BYTES, len(body)) - 1),
        some.integers(0, len(body) - 1),
    )
    edits = some.lists(some.tuples(places, some.integers(0, 255)), max_size=4)
    extremes = some.sampled_from((bytes(4), b"\xff" * 4, b"\x00\x00\x00\x80"))
    cut = some.one_of(some.just(len(body)), places)
    more = some.one_of(some.just(b""), some.binary(max_size=64))

    def change(edits, size, end, more) -> bytes:
        made = bytearray(body)
        for place, value in edits:
            made[place] = value
        if size is not None:  # one of the integers in the header
            place, value = size
            made[place : place + 4] = value
        return bytes(made[:end]) + more

    sizes = some.none() | some.tuples(some.integers(56, HEADER_BYTES - 4), extremes)
    changed = some.builds(change, edits, sizes, cut, more)
    return some.one_of(changed, some.binary(max_size=200)).filter(body.__ne__)


_SEGMENTS = some.one_of(
    some.sampled_from(
        "v1 heads fits rows keys answers labels planted mean .. %00".split()
    ),
    some.sampled_from(("%2e%2e%2f", "%ff%fe", "%", "%zz", "9" * 40, 32 * "a", "")),
    some.text(some.characters(min_codepoint=33, max_codepoint=126), max_size=12),
)
_FIT = "v1/fits/" + 32 * "a"
_ROUTES = [
    route.split()
    for route in (
        "GET v1",
        "GET metrics",
        "GET health/ready",
        "GET v1/account",
        "PUT v1/keys/" + 32 * "0",
        "GET v1/heads/planted",
        "POST v1/heads/planted/answers",
        "POST v1/heads/labelled/labels",
        f"PUT {_FIT}",
        f"GET {_FIT}",
        f"PUT {_FIT}/rows/0",
        f"GET {_FIT}/results/0",
    )
]
_SELDOM = some.integers(0, 4).map(lambda drawn: drawn == 0)
_METHODS = "GET PUT POST DELETE HEAD OPTIONS PATCH TRACE CONNECT PROPFIND BREW".split()
_VALUES = some.one_of(
    some.sampled_from(("[", "]:1", "a:b:c", "", "\xff", "127.0.0.1", 9000 * "x")),
    some.text(some.characters(min_codepoint=32, max_codepoint=255), max_size=40),
)
_NAMES = some.sampled_from(
    "Host Authorization Accept Cookie Range Expect Upgrade Origin X-Forwarded-For "
    "Content-Type Content-Encoding If-Match Via".split()
)
_LENGTHS = some.sampled_from(("-1", "1e3", "+5", "0x10", "", "9" * 30, "3, 3", " 3"))


@some.composite
def changed_request(draw, ask: Asker) -> bytes:
    """A request to the byte, whose end the service can see, and its answer's, too."""
    method, path = draw(some.sampled_from(_ROUTES))
    method = draw(some.sampled_from(_METHODS) if draw(_SELDOM) else some.just(method))
    segments = path.split("/")
    for _ in range(draw(some.integers(0, 2))):
        place = draw(some.integers(0, len(segments)))
        segments[place : place + draw(some.integers(0, 1))] = [draw(_SEGMENTS)]
    target = "/" + "/".join(segments)
    body = draw(some.binary(max_size=30))
    headers = draw(some.lists(some.tuples(_NAMES, _VALUES), max_size=4))
    length = draw(_LENGTHS) if draw(_SELDOM) else str(len(body))
    if draw(some.booleans()):
        token = ask.head("GET", "/", 0).decode().split("Authorization: ")[1].split()
        headers.append(("Authorization", " ".join(token[:2])))
    lines = [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {length}", "Connection: close"]
    head = f"{method} {target} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + body


def require_constant(answer: bytes) -> int:
    """The status of an answer, which says what is known of its code and no more.

    Raises:
      AssertionError: it says anything else, or is a failure.
    """
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status < 400 or status == _TOLD.get(body) or body in _OF_HTTP, answer
    assert status != 500, answer
    return status
