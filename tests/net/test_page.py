"""The page at `/`: what it shows, to whom, and what it asks for, in a real browser."""

import asyncio
import json
import re
import time
from typing import NamedTuple

import httpx2
import pytest

from helix_jax.net.app import make_app
from helix_jax.net.certificate_files import pair_of
from helix_jax.net.identities import Identities
from helix_jax.net.page import page_doors, parts
from helix_jax.net.page.status import coarse
from helix_jax.net.pins import pin_of
from helix_jax.net.service import Service
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.state_file import FILE
from helix_jax.net.tls import client_context, read_certificate

from .browsers import browsing
from .services import serving

REQUESTS = 120
SHIFT = """
let sum = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value;
}).observe({type: "layout-shift", buffered: true});
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(sum))));
"""


class Shown(NamedTuple):
    """A service with TLS.

    Attributes:
      url: of it.
      token: of "ada".
      http: a client with that token.
    """

    url: str
    token: str
    http: httpx2.Client


@pytest.fixture(scope="module")
def shown(planted, certificates, tmp_path_factory):
    """A service that has answered REQUESTS requests of ada."""
    state = tmp_path_factory.mktemp("shown") / "state"
    state.mkdir(0o700)
    identities = Identities(state / FILE)
    token = identities.issue("ada", 3600.0)
    identities.close()
    certificate, private_key = pair_of(certificates, "server")
    words = (
        *(f"--certificate={certificate}", f"--private_key={private_key}"),
        f"--client_authority={certificates / 'authority.pem'}",
        *(f"--heads=planted={planted.head_file}", f"--rows=public={planted.rows_file}"),
    )
    trusted = client_context(certificates / "authority.pem")
    with serving(state, *words, tls=True) as one:
        url = one.url.replace("127.0.0.1", "localhost")
        own = {"authorization": f"Bearer {token}"}
        with httpx2.Client(
            base_url=url, verify=trusted, headers=own, trust_env=False, timeout=60
        ) as http:
            for _ in range(REQUESTS):
                http.get("/v1/fits/" + 32 * "0")
            yield Shown(url, token, http)


@pytest.fixture(scope="module")
def browser(shown, certificates):
    """A browser that knows the service's key."""
    with browsing(pin_of(read_certificate(certificates / "server.pem"))) as one:
        yield one


def wait_for_figures(shown):
    """Until the numbers of the last seconds are those of after the requests."""
    while "<figure>" not in shown.http.get("/").text:
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("width", "dark"), [(420, False), (420, True), (1250, True), (1400, False)]
)
def test_a_person_sees_what_is_served(shown, browser, width, dark):
    wait_for_figures(shown)
    browser.complaints()
    browser.requested()
    browser.open(f"{shown.url}/", width=width, dark=dark)
    text = browser.text("#served")
    for word in ("planted", "24 to 3", "rounded:12", "public", "240", "guarded"):
        assert word in text
    assert "1 of 1" in browser.text("#load")
    assert "/v1/fits/{fit}" in browser.text("#latency")
    assert browser.run("return document.querySelectorAll('rect').length") >= 16
    wide = browser.run("return document.documentElement.scrollWidth")
    assert wide <= width, "it must be read without scrolling sideways"
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 60) is dark
    assert browser.ask("POST", "execute/async", {"script": SHIFT, "args": []}) == 0
    assert browser.complaints() == []
    asked = browser.requested()
    assert f"{shown.url}/page.js" in asked
    assert [one for one in asked if not one.startswith((shown.url, "data:,"))] == []


def test_a_token_shows_its_account_and_is_kept_nowhere(shown, browser):
    browser.open(f"{shown.url}/")
    browser.requested()
    browser.type("#token", shown.token)
    browser.click("#ask button")
    browser.wait("return document.querySelector('#account dl') !== null")
    text = browser.text("#account")
    for word in ("ada", "planted", "rounded:12", "no limit", "fits per day, at most"):
        assert word in text
    assert browser.requested() == [f"{shown.url}/v1/account"]
    kept = "return [localStorage.length, sessionStorage.length, document.cookie]"
    assert browser.run(kept) == [0, 0, ""]
    assert shown.token not in browser.run("return document.documentElement.outerHTML")
    assert browser.run("return document.querySelector('#token').value") == ""
    assert browser.complaints() == []
    browser.click("#forget")
    assert browser.text("#account") == ""
    browser.open(f"{shown.url}/")
    assert browser.text("#account") == ""


def test_a_wrong_token_is_said_to_be(shown, browser):
    browser.open(f"{shown.url}/")
    browser.type("#token", "helix_0123456789abcdef_" + 43 * "A")
    browser.click("#ask button")
    browser.wait("return document.querySelector('#account .wrong') !== null")
    assert "A valid token or client certificate" in browser.text("#account")
    (only,) = browser.complaints()  # the browser's own, of every refusal
    assert "401" in only
    assert not browser.run("return again")


def test_who_is_known_by_the_connection_has_an_account_at_once(browser, served):
    browser.open(f"{served.url}/")
    browser.wait("return document.querySelector('#account dl') !== null")
    assert "anonymous" in browser.text("#account")


def test_numbers_are_shown_anew(shown, browser):
    browser.open(f"{shown.url}/")
    browser.complaints()
    before = browser.text("#load")
    browser.run("document.querySelector('#load').textContent = 'old'; refresh();")
    browser.wait(
        "return document.querySelector('#load').innerText === arguments[0]", before
    )
    assert browser.complaints() == []


def test_without_a_script_the_page_says_the_same(shown, browser):
    wait_for_figures(shown)
    browser.develop("Network.enable")
    browser.develop("Network.setBlockedURLs", urls=["*/page.js"])
    try:
        browser.open(f"{shown.url}/")
        assert "planted" in browser.text("#served")
        assert "/v1/fits/{fit}" in browser.text("#latency")
        assert browser.run("return document.querySelector('#ask button').disabled")
        assert browser.run("return typeof refresh") == "undefined"
    finally:
        browser.develop("Network.setBlockedURLs", urls=[])


def test_a_certificate_is_an_account_at_once(shown, certificates):
    own = client_context(
        certificates / "authority.pem", *pair_of(certificates, "Bo of Basel")
    )
    with httpx2.Client(base_url=shown.url, verify=own, trust_env=False) as http:
        assert 'data-known="true"' in http.get("/").text
        assert http.get("/v1/account").json()["identity"] == "Bo of Basel"
    assert 'data-known="false"' in shown.http.get("/").text


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/v1/status"])
def test_the_page_allows_nothing_from_elsewhere(shown, path):
    headers = shown.http.get(path).headers
    policy = dict(
        one.split(" ", 1) for one in headers["content-security-policy"].split("; ")
    )
    assert policy.pop("img-src") == "data:"  # an empty icon
    assert set(policy.values()) == {"'none'", "'self'"}
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_the_status_names_no_client_and_no_exact_count(shown):
    wait_for_figures(shown)
    answer = shown.http.get("/v1/status", headers={"authorization": ""})
    found = answer.json()
    assert "ada" not in answer.text
    assert found["workers"] == {"all": 1, "serving": 1, "restarts": 0}
    (route,) = found["latency"]["routes"]
    assert route == "/v1/fits/{fit}"
    spread = found["latency"]["routes"][route]
    assert spread["requests"] == coarse(spread["requests"]) >= 10
    assert all(share % 5 == 0 for share in spread["shares_percent"])
    edges = found["latency"]["edges_seconds"]
    assert spread["p50_seconds"] in edges
    assert len(spread["shares_percent"]) == len(edges) + 1


def test_a_service_may_keep_its_load_to_itself(tmp_path):
    async def ask(settings):
        service = Service(settings)  # no worker of which is started
        app = make_app(service, lambda request: None, page_doors())
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://localhost"
        ) as http:
            found = await http.get("/v1/status"), await http.get("/")
        await service.close()
        return found

    settings = ServiceSettings(state=str(tmp_path / "one"), show_load=False)
    status, page = asyncio.run(ask(settings))
    assert (status.status_code, status.json()["error"]) == (404, "not_found")
    assert page.text.count("This service does not show its load.") == 2
    assert "No worker serves at this moment" in page.text
    status, page = asyncio.run(ask(ServiceSettings(state=str(tmp_path / "two"))))
    assert status.json()["state"] == "starting"
    assert "0 of 2" in page.text


@pytest.mark.parametrize(
    ("count", "shown_as"),
    [(0, 0), (9, 0), (10, 10), (19, 10), (20, 20), (99, 50), (12345.0, 10000)],
)
def test_counts_are_rounded_down_to_few(count, shown_as):
    assert coarse(count) == shown_as


@pytest.mark.parametrize(
    ("found", "model"),
    [
        ({"fingerprint": {"model": "some/model"}}, "some/model"),
        ({"fingerprint": {"model": "/srv/models/own"}}, "own"),
        ({}, "not said"),
    ],
)
def test_rows_name_their_model_and_no_folder(found, model):
    rows = {"rows": 1000, "width": 8, "precision": 12, "share": 0.25, "profile": "open"}
    text = parts.served({"rows": {"public": rows | found}})
    assert f'<td data-name="Model">{model}</td>' in text
    assert "/srv" not in text


def test_indexes_are_shown_with_their_model():
    index = {"profile": "guarded", "policy": "rounded:12", "rows": 100_000}
    text = parts.served({"indexes": {"news": index | {"model": {"name": "mpnet"}}}})
    for cell in ("news", "mpnet", "100,000", "rounded:12", "guarded"):
        assert f">{cell}</td>" in text


@pytest.mark.slow
def test_names_of_files_and_settings_are_no_markup():
    head = {
        **{"kind": "probe", "classes": ["<b>", "&amp;"], "width": 3, "results": 2},
        **{"policy": '"><script>', "answer_bits": 2.0, "profile": "open"},
    }
    text = parts.served({"heads": {"<img src=x>": head}})
    assert not re.search(r"<(img|b|script)", text)
    assert "&amp;amp;" in text
    spread = {
        **{"requests": 100, "p50_seconds": 0.002, "p99_seconds": None},
        "shares_percent": 16 * [5],
    }
    status = {"latency": {"routes": {"/v1/<x>": spread}}}
    assert "99 of 100 within more than 10.24 s" in parts.latency(
        json.loads(json.dumps(status))
    )
    assert "<x>" not in parts.latency(status)
