"""Who is not known is served nothing: a real service's TLS, tokens, certificates."""

import http.client
import ssl
import time
from urllib.parse import urlsplit

import pytest

from helix_jax.health_check import is_ready
from helix_jax.net import ServiceError, connect
from helix_jax.net.certificate_files import pair_of
from helix_jax.net.identities import Identities
from helix_jax.net.pins import pin_of
from helix_jax.net.tls import client_context, read_certificate
from tests.net.services import serving

DAY = 86400.0


@pytest.fixture(scope="module")
def service(planted, certificates, tmp_path_factory):
    """A provider at every address of this machine, with TLS and mutual TLS."""
    server = pair_of(certificates, "server")
    words = (
        f"--certificate={server.certificate}",
        f"--private_key={server.private_key}",
        f"--client_authority={certificates / 'authority.pem'}",
        "--host=0.0.0.0",
        f"--heads=trec={planted.head_file}",
        f"--rows=texts={planted.rows_file}",
    )
    state = tmp_path_factory.mktemp("identity") / "state"
    with serving(state, *words, tls=True) as served:
        port = urlsplit(served.url).port
        yield served._replace(url=f"https://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def identities(service):
    """The tokens of the service, by another process than its own."""
    return Identities(service.state / "state.db")


def ask(service, folder, **options):
    options = {"authority": folder / "authority.pem", **options}
    return connect(service.url, patience_seconds=0, **options)


def shown(folder, name):
    certificate, key = pair_of(folder, name)
    return {"certificate": certificate, "private_key": key}


def refused(connection):
    """The code by which a client is refused."""
    with connection, pytest.raises(ServiceError) as error:
        connection.account()
    return error.value.code


def test_a_client_is_who_its_token_or_certificate_says(
    service, identities, certificates
):
    token = {"token": identities.issue("carl", DAY)}
    ada = shown(certificates, "ada")
    for options, name in ((token, "carl"), (ada, "ada"), ({**ada, **token}, "carl")):
        with ask(service, certificates, **options) as connection:
            assert connection.account()["identity"] == name


def test_who_shows_nothing_or_nonsense_is_refused(service, identities, certificates):
    token = identities.issue("carl", DAY)
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (None, "x", "helix_", other, token + "A", "a" * 5000):
        assert refused(ask(service, certificates, token=wrong)) == "unauthorized"
    # A wrong token is not made good by a right certificate.
    both = ask(service, certificates, token=other, **shown(certificates, "ada"))
    assert refused(both) == "unauthorized"


def test_what_is_revoked_is_refused_on_an_open_connection(
    service, identities, certificates
):
    token = identities.issue("dora", DAY)
    with ask(service, certificates, token=token) as connection:
        assert connection.account()["identity"] == "dora"
        identities.revoke("dora")
        with pytest.raises(ServiceError, match="unauthorized"):
            connection.account()
    bo = shown(certificates, "Bo of Basel")
    with ask(service, certificates, **bo) as connection:
        assert connection.account()["identity"] == "Bo of Basel"
        identities.revoke_certificate("Bo of Basel")
        with pytest.raises(ServiceError, match="unauthorized"):
            connection.account()


def test_an_ended_token_is_refused(service, identities, certificates):
    token = identities.issue("emil", 1e-3)
    while identities.find(token) is not None:
        time.sleep(1e-3)
    assert refused(ask(service, certificates, token=token)) == "unauthorized"


def test_a_client_of_another_authority_is_refused(service, certificates, strangers):
    stranger = ask(service, certificates, **shown(strangers, "ada"))
    assert refused(stranger) in ("unreachable", "untrusted")
    with ask(service, certificates, **shown(certificates, "ada")) as connection:
        assert connection.account()["identity"] == "ada"


def test_a_client_sends_nothing_to_a_service_that_it_does_not_trust(
    service, identities, certificates, strangers
):
    token, port = identities.issue("fred", DAY), urlsplit(service.url).port
    lines = (service.state / "audit.jsonl").read_text().count("\n")
    authority = certificates / "authority.pem"
    for url, options in (
        (service.url, {"authority": strangers / "authority.pem"}),
        (service.url, {"authority": None}),
        (service.url, {"authority": authority, "pin": f"sha256/{'A' * 43}="}),
        (f"https://127.0.0.2:{port}", {"authority": authority}),
    ):
        untrusted = connect(url, token=token, patience_seconds=0, **options)
        assert refused(untrusted) == "untrusted"
    assert (service.state / "audit.jsonl").read_text().count("\n") == lines
    pin = pin_of(read_certificate(certificates / "server.pem"))
    with ask(service, certificates, token=token, pin=pin) as connection:
        assert connection.account()["identity"] == "fred"


def test_older_protocols_and_plain_requests_are_refused(service, certificates):
    parts = urlsplit(service.url)
    old = client_context(certificates / "authority.pem", allow_older=True)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = http.client.HTTPSConnection(parts.hostname, parts.port, context=old)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls.request("GET", "/v1")
    plain = http.client.HTTPConnection(parts.hostname, parts.port)
    plain.request("GET", "/v1")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()
    assert is_ready(service.url)


@pytest.mark.slow
def test_no_log_holds_a_token(service, identities, certificates):
    token = identities.issue("gerd", DAY)
    with ask(service, certificates, token=token) as connection:
        connection.account()
    written = (service.state / "audit.jsonl").read_text()
    assert '"gerd"' in written
    assert token.split("_", 2)[2] not in written
