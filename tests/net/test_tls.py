"""Who is not who it says, or is asked by another name, is refused; and so is plain."""

import asyncio
import socket
import ssl
import subprocess
from datetime import timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from helix_jax.errors import KeyRoleError, PathError, ProtocolError, RunError
from helix_jax.net.certificate_files import pair_of, read_key
from helix_jax.net.certificates import make_server
from helix_jax.net.pins import PinError, check_pin, pin_of, read_pins
from helix_jax.net.plain_http import require_plain_allowed
from helix_jax.net.tls import (
    client_context,
    load_certificate,
    peer_certificate,
    peer_identity,
    read_certificate,
    server_context,
)
from tests.net.meetings import is_met, meet

OTHER_PIN = "sha256/" + "A" * 43 + "="


def serve(folder, **settings):
    return server_context(*pair_of(folder, "server"), **settings)


def ask(folder, name="", **settings):
    own = pair_of(folder, name) if name else (None, None)
    return client_context(folder / "authority.pem", *own, **settings)


def server_pin(folder):
    return pin_of(read_certificate(folder / "server.pem"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_both_sides_meet_by_tls_1_3(certificates, host):
    meeting = meet(serve(certificates), ask(certificates), host)
    assert is_met(meeting)
    assert meeting.client.version() == "TLSv1.3"
    assert meeting.received == b"ping"
    assert peer_identity(meeting.server) is None


@pytest.mark.parametrize("host", ["example.org", "127.0.0.2", "localhost.example.org"])
def test_a_server_of_another_name_is_refused(certificates, host):
    meeting = meet(serve(certificates), ask(certificates), host)
    assert isinstance(meeting.client, ssl.SSLCertVerificationError)
    assert "certificate is not valid for" in str(meeting.client)
    assert meeting.received == b""


def test_a_server_of_another_authority_is_refused(certificates, strangers):
    for client in (ask(strangers), client_context()):
        meeting = meet(serve(certificates), client)
        assert isinstance(meeting.client, ssl.SSLCertVerificationError)
        assert meeting.received == b""


def test_a_client_certificate_serves_as_no_server(certificates):
    meeting = meet(server_context(*pair_of(certificates, "ada")), ask(certificates))
    assert "unsuitable certificate purpose" in str(meeting.client)


def test_older_protocols_need_a_flag(certificates):
    old = ask(certificates)
    old.minimum_version, old.maximum_version = (ssl.TLSVersion.TLSv1_2,) * 2
    assert not is_met(meet(serve(certificates), old))
    meeting = meet(serve(certificates, allow_older=True), old)
    assert is_met(meeting)
    assert meeting.client.version() == "TLSv1.2"
    assert "GCM" in meeting.client.cipher()[0] or "CHACHA" in meeting.client.cipher()[0]
    older = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    older.load_cert_chain(*pair_of(certificates, "server"))
    assert not is_met(meet(older, ask(certificates)))
    assert is_met(meet(older, ask(certificates, allow_older=True)))


def test_no_session_is_resumed_and_no_key_logged(certificates, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    client = ask(certificates)
    meeting = meet(serve(certificates), client)
    assert is_met(meeting)
    assert not meeting.client.session.has_ticket
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("name", ["ada", "Bo of Basel"])
def test_a_client_is_whom_its_certificate_names(certificates, name):
    server = serve(certificates, client_authority=certificates / "authority.pem")
    meeting = meet(server, ask(certificates, name))
    assert is_met(meeting)
    assert peer_identity(meeting.server) == name
    shown, written = (
        peer_certificate(meeting.server),
        read_certificate(certificates / f"{name}.pem"),
    )
    assert shown.begins == written.not_valid_before_utc.timestamp()
    assert shown.ends == written.not_valid_after_utc.timestamp()


def test_a_client_without_a_right_certificate_is_refused(certificates, strangers):
    trusted = {"client_authority": certificates / "authority.pem"}
    stranger = client_context(
        certificates / "authority.pem", *pair_of(strangers, "ada")
    )
    server_as_client = ask(certificates, "server")
    for optional in (False, True):
        server = serve(certificates, require_client=not optional, **trusted)
        for wrong in (stranger, server_as_client):
            meeting = meet(server, wrong)
            assert isinstance(meeting.server, ssl.SSLCertVerificationError)
            assert not is_met(meeting)
        assert is_met(meet(server, ask(certificates))) is optional


def test_a_certificate_that_ended_on_the_way_is_refused(certificates, monkeypatch):
    server = serve(certificates, client_authority=certificates / "authority.pem")
    meeting = meet(server, ask(certificates, "ada"))
    ends = peer_certificate(meeting.server).ends
    monkeypatch.setattr("time.time", lambda: ends + 1)
    with pytest.raises(KeyRoleError, match="of 'ada' has expired; renew it"):
        peer_identity(meeting.server)


def test_ended_certificates_are_refused(certificates, monkeypatch, tmp_path):
    server, client = serve(certificates), ask(certificates)
    end = read_certificate(certificates / "server.pem").not_valid_after_utc.timestamp()
    monkeypatch.setattr("time.time", lambda: end)
    with pytest.raises(PathError, match=r"server\.pem is valid from .* not now"):
        serve(certificates)
    monkeypatch.undo()
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    make_ended(certificates, tmp_path / "ended.pem")
    expired.load_cert_chain(tmp_path / "ended.pem", certificates / "server.key")
    meeting = meet(expired, client)
    assert "certificate has expired" in str(meeting.client)
    assert is_met(meet(server, client))


def make_ended(folder, place):
    """A server's certificate of this authority that ended the day before."""
    old = read_certificate(folder / "server.pem")
    ended = old.not_valid_before_utc - timedelta(days=1)
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), old.serial_number
    )
    builder = builder.not_valid_before(ended - timedelta(days=1)).not_valid_after(ended)
    for one in old.extensions:
        builder = builder.add_extension(one.value, one.critical)
    signing = read_key(folder / "authority.key")
    made = builder.sign(signing, hashes.SHA256())
    place.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_a_pinned_key_is_taken_and_another_refused(certificates):
    pin = server_pin(certificates)
    for right in (pin, [OTHER_PIN, pin], f"{OTHER_PIN},{pin}"):
        assert is_met(meet(serve(certificates), ask(certificates, pin=right)))
    meeting = meet(serve(certificates), ask(certificates, pin=OTHER_PIN))
    assert isinstance(meeting.client, PinError)
    assert isinstance(meeting.client, ProtocolError)
    assert f"has the pin {pin}, expected {OTHER_PIN}; ask" in str(meeting.client)
    assert meeting.received == b""
    meeting = meet(serve(certificates), ask(certificates))
    check_pin(meeting.client, pin)
    with pytest.raises(PinError, match="expected"):
        check_pin(meeting.client, [OTHER_PIN])


@pytest.mark.parametrize("bad", ["x", "sha256/abc", "sha256/é", OTHER_PIN[:-4], "é"])
def test_a_malformed_pin_is_refused_with_what_one_is(bad):
    assert read_pins(OTHER_PIN) == (OTHER_PIN,)
    with pytest.raises(ValueError, match="pin: expected sha256/ and 44 characters of"):
        read_pins(f"{OTHER_PIN},{bad}")


def test_a_pin_is_no_substitute_for_a_name_or_an_authority(certificates, strangers):
    pin = server_pin(certificates)
    for client, host in (
        (ask(strangers, pin=pin), "localhost"),
        (ask(certificates, pin=pin), "example.org"),
    ):
        meeting = meet(serve(certificates), client, host)
        assert not isinstance(meeting.client, PinError)
        assert isinstance(meeting.client, ssl.SSLCertVerificationError)


def test_a_pin_is_what_openssl_makes_of_the_key(certificates):
    line = (
        f"openssl x509 -in {certificates / 'server.pem'} -pubkey -noout"
        " | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary"
        " | openssl enc -base64"
    )
    try:
        shown = subprocess.run(line, shell=True, check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no openssl here")
    assert server_pin(certificates) == f"sha256/{shown.stdout.decode().strip()}"


@pytest.mark.parametrize(
    "pin", ["", "AAAA", "sha256/AAAA", OTHER_PIN + "\n", OTHER_PIN + ",", []]
)
def test_malformed_pins(pin, certificates):
    with pytest.raises(
        ValueError, match=r"pin: (expected sha256/ and 44|none is given)"
    ):
        ask(certificates, pin=pin)


@pytest.mark.parametrize("client", ["httpx2", "httpx2 async", "asyncio"])
def test_clients_of_http_end_at_a_wrong_pin_before_they_send(certificates, client):
    """The context checks, whoever uses it; the request never leaves."""
    heard = []

    async def answer(reader, writer):
        line = await reader.readline()
        heard.append(line)
        if line:
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async def request(port, context):
        url = f"https://localhost:{port}/"
        if client == "asyncio":
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.readline()
            writer.close()
        elif client == "httpx2":
            await asyncio.to_thread(httpx2.get, url, verify=context, trust_env=False)
        else:
            async with httpx2.AsyncClient(verify=context, trust_env=False) as session:
                await session.get(url)

    async def both():
        listening = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(
            answer, sock=listening, ssl=serve(certificates)
        )
        async with server:
            port = listening.getsockname()[1]
            with pytest.raises((PinError, httpx2.ConnectError), match="has the pin"):
                await request(port, ask(certificates, pin=OTHER_PIN))
            await request(port, ask(certificates, pin=server_pin(certificates)))
        assert [line[:5] for line in heard if line] == [b"GET /"]  # of the second

    asyncio.run(asyncio.wait_for(both(), 30))


def test_a_key_that_others_may_read_is_refused(certificates, tmp_path):
    own = tmp_path / "server.key"
    own.write_bytes((certificates / "server.key").read_bytes())
    for mode in (0o640, 0o604, 0o660):
        own.chmod(mode)
        with pytest.raises(PathError, match="only its owner may read: chmod 600"):
            server_context(certificates / "server.pem", own)
    own.chmod(0o400)
    server_context(certificates / "server.pem", own)


def test_files_that_are_no_pair(certificates, tmp_path):
    server = pair_of(certificates, "server")
    other = pair_of(certificates, "ada")
    with pytest.raises(PathError, match=r"ada\.key is not the private key of .*server"):
        server_context(server.certificate, other.private_key)
    with pytest.raises(PathError, match="no such file"):
        server_context(tmp_path / "none.pem", server.private_key)
    with pytest.raises(PathError, match="no such file"):
        server_context(server.certificate, tmp_path / "none.key")
    with pytest.raises(PathError, match="holds no PEM certificate"):
        server_context(server.private_key, server.private_key)
    with pytest.raises(PathError, match="holds no PEM certificate"):
        serve(certificates, client_authority=server.private_key)
    with pytest.raises(ValueError, match="certificate and private_key need each other"):
        client_context(certificate=server.certificate)
    locked = tmp_path / "locked.key"
    locked.touch(mode=0o600)
    locked.write_bytes(
        read_key(server.private_key).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(PathError, match="is encrypted, and no password can"):
        server_context(server.certificate, locked)


def test_a_server_shows_a_new_certificate_without_a_new_start(certificates, tmp_path):
    for name in ("authority.pem", "authority.key"):
        (tmp_path / name).write_bytes((certificates / name).read_bytes())
    (tmp_path / "authority.key").chmod(0o600)
    new = make_server(tmp_path, ["localhost"], days=1)
    server, pin = serve(certificates), pin_of(read_certificate(new.certificate))
    assert not is_met(meet(server, ask(certificates, pin=pin)))
    ends = load_certificate(server, *new)
    assert ends == read_certificate(new.certificate).not_valid_after_utc.timestamp()
    assert is_met(meet(server, ask(certificates, pin=pin)))


def test_a_client_of_a_removed_authority_is_no_longer_taken(certificates, strangers):
    """Who signs clients is the one file, and never the system's authorities."""
    server = serve(certificates, client_authority=strangers / "authority.pem")
    assert not is_met(meet(server, ask(certificates, "ada")))
    known = client_context(certificates / "authority.pem", *pair_of(strangers, "ada"))
    assert is_met(meet(server, known))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
)
def test_plain_is_for_this_machine_and_whoever_says_so(host):
    require_plain_allowed(host, plain=True)
    with pytest.raises(RunError, match="no certificate is given"):
        require_plain_allowed(host, plain=False)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org", "", "127.1"],
)
def test_plain_goes_nowhere_else(host):
    with pytest.raises(RunError, match="is not only this machine"):
        require_plain_allowed(host, plain=True)
