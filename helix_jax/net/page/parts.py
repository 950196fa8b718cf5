"""The sections of the page, as HTML; what comes from settings and files is escaped."""

from collections.abc import Sequence
from html import escape
from typing import Any

from helix_jax.net.metrics import BUCKETS

_BAR, _TALL, _BASE = 20, 64, 16  # units of a chart: width, height, room for words
_MARKS = (0, 4, 8, 12, 15)  # bars that are labelled


def served(about: dict[str, Any]) -> str:
    """Tables of heads, rows and indexes, as `Service.capabilities` names them."""
    heads = [
        (
            name,
            _what(one),
            _model(one),
            f"{one['width']} to {one['results']:,}",
            one["policy"],
            f"{one['answer_bits']:,.1f}",
            one["profile"],
        )
        for name, one in about.get("heads", {}).items()
    ]
    rows = [
        (
            name,
            _model(one),
            f"{one['rows']:,}",
            one["width"],
            f"{one['precision']} bits",
            f"{100 * one['share']:g} %",
            one["profile"],
        )
        for name, one in about.get("rows", {}).items()
    ]
    indexes = [
        (name, _model(one), f"{one['rows']:,}", one["policy"], one["profile"])
        for name, one in about.get("indexes", {}).items()
    ]
    return "".join(
        (
            _table(
                "Heads: linear layers that answer encrypted states",
                (
                    "Head",
                    "What",
                    "Model",
                    "Width",
                    "Policy",
                    "Bits per answer",
                    "Profile",
                ),
                heads,
            ),
            _table(
                "Rows: states of public texts to fit maps to",
                ("Rows", "Model", "Texts", "Width", "Precision", "Share", "Profile"),
                rows,
            ),
            _table(
                "Indexes: searched by encrypted queries",
                ("Index", "Model", "Rows", "Policy", "Profile"),
                indexes,
            ),
        )
    )


def load(status: dict[str, Any]) -> str:
    """The numbers of `Status`."""
    workers = status["workers"]
    facts = (
        ("State", status["state"]),
        ("Requests under way", _count(status["under_way"])),
        ("Waiting for a worker", _count(status["waiting"])),
        ("Workers serving", f"{workers['serving']} of {workers['all']}"),
        ("Workers replaced", f"{workers['restarts']:,}"),
        ("Bytes received", _bytes(status["bytes"]["up"])),
        ("Bytes sent", _bytes(status["bytes"]["down"])),
        ("Answers given again", _count(status["repeated"])),
    )
    listed = "".join(f"<div><dt>{a}</dt><dd>{b}</dd></div>" for a, b in facts)
    return f"<dl>{listed}</dl>"


def latency(status: dict[str, Any]) -> str:
    """A histogram of each route."""
    routes = status["latency"]["routes"]
    if not routes:
        return "<p>No route has had ten requests since the start.</p>"
    return "".join(_figure(route, one) for route, one in routes.items())


def _figure(route: str, one: dict[str, Any]) -> str:
    p50, p99 = (_at_most(one[f"{name}_seconds"]) for name in ("p50", "p99"))
    words = f"half within {p50}"
    if one["requests"] >= 100:
        words += f", 99 of 100 within {p99}"
    return (
        f"<figure>{_chart(one['shares_percent'], f'{route}: {words}')}<figcaption>"
        f"<code>{escape(route)}</code> {one['requests']:,} or more requests, {words}"
        "</figcaption></figure>"
    )


def _chart(shares: Sequence[int], words: str) -> str:
    """Bars of percent, one for each bucket."""
    top = max(shares) or 1
    bars = "".join(
        f'<rect x="{_BAR * i + 1}" y="{_TALL - height:.1f}" width="{_BAR - 2}" '
        f'height="{height:.1f}"/>'
        for i, height in enumerate(_TALL * share / top for share in shares)
    )
    names = [*(_seconds(edge) for edge in BUCKETS), "more"]
    marks = "".join(
        f'<text x="{_BAR * i + _BAR / 2:g}" y="{_TALL + 13}">{names[i]}</text>'
        for i in _MARKS
    )
    width, height = _BAR * len(shares), _TALL + _BASE
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
        f'{bars}<path d="M0 {_TALL}H{width}"/>{marks}</svg>'
    )


def _table(
    caption: str, names: Sequence[str], lines: Sequence[Sequence[object]]
) -> str:
    """A table whose cells carry their column's name; empty without lines."""
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{escape(name)}">{escape(str(cell))}</td>'
            for name, cell in zip(names, line, strict=True)
        )
        + "</tr>"
        for line in lines
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _what(head: dict[str, Any]) -> str:
    if head.get("kind") == "lm_head":
        return f"output head of {head['vocabulary']:,} words"
    names = [str(one) for one in head.get("classes") or ()]
    listed = ", ".join(names[:6]) + (", ..." if names[6:] else "")
    return f"classifier: {listed}" if listed else "linear layer"


def _model(one: dict[str, Any]) -> str:
    """The model that a fingerprint names, without a folder's path."""
    fingerprints = one.get("fingerprints") or {}
    states = one.get("fingerprint") or fingerprints.get("states") or {}
    found = one.get("model") or states.get("model")
    if isinstance(found, dict):  # of an index
        found = found.get("name") or found.get("model")
    found = str(found or "not said")
    return found.rsplit("/", 1)[-1] if found.startswith("/") else found


def _count(count: int) -> str:
    return f"{count:,} or more" if count else "fewer than 10"


def _bytes(count: int) -> str:
    if not count:
        return "fewer than 10"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:g} {unit} or more"
    return f"{count} or more"


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms"


def _at_most(value: float | None) -> str:
    return f"more than {_seconds(BUCKETS[-1])}" if value is None else _seconds(value)
