"""Certificates of one's own: taken by openssl, for one purpose each, never replaced."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from experiments.certificates import CertificatesConfig, run
from helix_jax.errors import PathError, RunError
from helix_jax.net.certificate_files import pair_of
from helix_jax.net.certificates import make_authority, make_client, make_server
from helix_jax.net.pins import pin_of
from helix_jax.net.tls import read_certificate

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "purpose", "taken"),
    [
        ("server", "sslserver", True),
        ("server", "sslclient", False),
        ("ada", "sslclient", True),
        ("ada", "sslserver", False),
        ("authority", "sslserver", False),
    ],
)
def test_openssl_takes_each_for_its_purpose_alone(certificates, name, purpose, taken):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    words = ["-x509_strict", "-purpose", purpose, "-verify_hostname", "localhost"]
    if purpose == "sslclient":
        words = words[:3]
    authority = certificates / "authority.pem"
    verified = subprocess.run(
        ["openssl", "verify", *words, "-CAfile", authority, f"{name}.pem"],
        cwd=certificates,
        check=False,
        capture_output=True,
    )
    assert (verified.returncode == 0) is taken, verified.stderr


def test_openssl_refuses_what_a_client_signs(certificates, tmp_path):
    """The authority's own signature is the last: path_length is zero."""
    client, place = pair_of(certificates, "ada"), tmp_path / "authority"
    shutil.copy(client.certificate, place.with_suffix(".pem"))
    shutil.copy(client.private_key, place.with_suffix(".key"))
    made = make_server(tmp_path, ["localhost"], days=1)
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    chain = ["-CAfile", certificates / "authority.pem", "-untrusted", f"{place}.pem"]
    verified = subprocess.run(
        ["openssl", "verify", *chain, made.certificate],
        check=False,
        capture_output=True,
    )
    assert verified.returncode
    assert b"invalid CA certificate" in verified.stderr


def test_keys_are_their_owners_alone(certificates):
    assert stat.S_IMODE(certificates.stat().st_mode) == 0o700
    keys = list(certificates.glob("*.key"))
    assert len(keys) == 4
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_server_has_the_names_that_were_given(tmp_path):
    make_authority(tmp_path, days=2)
    made = make_server(tmp_path, ["A.example.org", "192.0.2.7", "2001:db8::1"], days=1)
    names = read_certificate(made.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["a.example.org"]
    found = names.value.get_values_for_type(x509.IPAddress)
    assert [str(one) for one in found] == ["192.0.2.7", "2001:db8::1"]


def test_nothing_outlives_its_authority(tmp_path):
    make_authority(tmp_path, days=2)
    ends = [
        read_certificate(path).not_valid_after_utc
        for path in (
            tmp_path / "authority.pem",
            make_client(tmp_path, "a", days=50).certificate,
        )
    ]
    assert ends[0] == ends[1]


def test_nothing_is_written_over(tmp_path):
    make_authority(tmp_path, days=2)
    make_server(tmp_path, ["localhost"], days=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=r"authority\.pem exists and is never"):
        make_authority(tmp_path, days=2)
    with pytest.raises(RunError, match=r"server\.pem exists and is never"):
        make_server(tmp_path, ["localhost"], days=1)
    after = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


def test_a_certificate_made_anew_keeps_the_key_that_is_there(tmp_path):
    """So that pins hold, and what an authority has signed."""
    make_authority(tmp_path, days=2)
    made = make_server(tmp_path, ["localhost"], days=1)
    old, pin = made.certificate, pin_of(read_certificate(made.certificate))
    (tmp_path / "authority.pem").unlink()
    kept = old.rename(tmp_path / "old.pem")
    authority = make_authority(tmp_path, days=2)
    again = make_server(tmp_path, ["localhost"], days=2)
    assert pin_of(read_certificate(again.certificate)) == pin
    if shutil.which("openssl"):
        for one in (kept, again.certificate):
            words = ["openssl", "verify", "-x509_strict", "-CAfile"]
            subprocess.run([*words, authority.certificate, one], check=True)
    again.certificate.unlink()
    again.private_key.unlink()
    other = make_server(tmp_path, ["localhost"], days=1)
    assert pin_of(read_certificate(other.certificate)) != pin


def test_keys_that_cannot_be_taken(tmp_path):
    make_authority(tmp_path, days=2)
    key = tmp_path / "server.key"
    key.touch(mode=0o600)
    with pytest.raises(PathError, match=r"server\.key is not an unencrypted private"):
        make_server(tmp_path, ["localhost"], days=1)
    other = ed25519.Ed25519PrivateKey.generate()
    key.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(PathError, match="is not an elliptic-curve key"):
        make_server(tmp_path, ["localhost"], days=1)
    key.chmod(0o644)
    with pytest.raises(PathError, match="only its owner may read"):
        make_server(tmp_path, ["localhost"], days=1)
    assert not (tmp_path / "server.pem").exists()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("", "printable text of 1 to 64"),
        ("a\nb", "printable text"),
        (" a", "without blanks at its ends"),
        ("a" * 65, "of 1 to 64 characters"),
        ("0123456789abcdef", "looks like the id of a token"),
        ("../a", "cannot name the files"),
        (".a", "cannot name the files"),
        ("server", "cannot name the files"),
    ],
)
def test_names_that_no_client_can_have(name, wrong, tmp_path):
    with pytest.raises(RunError, match=wrong):
        make_client(tmp_path, name, days=1)


def test_what_cannot_be_made(tmp_path):
    with pytest.raises(PathError, match="no such file"):
        make_server(tmp_path, ["localhost"], days=1)
    with pytest.raises(RunError, match="days must be 1 to 3650, got 0"):
        make_authority(tmp_path, days=0)
    make_authority(tmp_path, days=1)
    with pytest.raises(RunError, match="needs a name or an address"):
        make_server(tmp_path, [], days=1)
    for wrong in ("*.example.org", "a b", "https://a", "a..b", "ü.example.org"):
        with pytest.raises(RunError, match="is no host name of letters"):
            make_server(tmp_path, [wrong], days=1)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "authority.key").chmod(0o644)
    with pytest.raises(PathError, match="only its owner may read"):
        make_server(tmp_path, ["localhost"], days=1)


def test_the_program_makes_all_and_then_more_clients(tmp_path, capsys):
    folder = tmp_path / "certificates"
    assert run(CertificatesConfig(folder=str(folder), clients=("a", "b"))) == {}
    shown = capsys.readouterr().out
    assert pin_of(read_certificate(folder / "server.pem")) in shown
    assert {path.name for path in folder.glob("*.pem")} == {
        f"{name}.pem" for name in ("authority", "server", "a", "b")
    }
    run(CertificatesConfig(folder=str(folder), make="client", clients=("c",)))
    assert (folder / "c.key").exists()


def test_the_program_makes_nothing_where_one_thing_is_wrong(tmp_path):
    for wrong in ({"clients": ("a", "../b")}, {"names": ("localhost", "a b")}):
        with pytest.raises(RunError):
            run(CertificatesConfig(folder=str(tmp_path / "new"), **wrong))
        assert not (tmp_path / "new").exists()
    make_authority(tmp_path, days=1)
    (tmp_path / "client.pem").touch()
    with pytest.raises(RunError, match=r"authority\.pem exists"):
        run(CertificatesConfig(folder=str(tmp_path)))
    (tmp_path / "authority.pem").unlink()
    (tmp_path / "authority.key").unlink()
    with pytest.raises(RunError, match=r"client\.pem exists"):
        run(CertificatesConfig(folder=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["client.pem"]


def test_make_certificates_goes_by_the_program(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("no make here")
    line = ["make", "--dry-run", "certificates", f"CERTIFICATES={tmp_path}"]
    shown = subprocess.run(
        [*line, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"-m experiments.certificates --folder={tmp_path}" in shown.stdout
