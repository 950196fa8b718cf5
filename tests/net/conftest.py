"""Certificates of two authorities, made once for all tests of the network."""

import pytest

from helix_jax.net.certificates import make_authority, make_client, make_server
from helix_jax.net.names import LOCAL_NAMES

from .services import plant, serving
from .town import found


def make_certificates(folder):
    """An authority, a server of this machine and two clients."""
    make_authority(folder, days=30)
    make_server(folder, LOCAL_NAMES, days=10)
    for name in ("ada", "Bo of Basel"):
        make_client(folder, name, days=10)
    return folder


@pytest.fixture(scope="session")
def certificates(made_once):
    """A folder with an authority, a server and the clients "ada" and "Bo of Basel"."""
    return made_once("certificates", make_certificates)


@pytest.fixture(scope="session")
def strangers(made_once):
    """The same of another authority."""
    return made_once("strangers", make_certificates)


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A head and rows, in the clear and in files."""
    pytest.importorskip("Pyfhel")
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def served(planted, tmp_path_factory):
    """One service for all tests that leave it as it was."""
    words = f"--heads=planted={planted.head_file}", f"--rows=public={planted.rows_file}"
    with serving(tmp_path_factory.mktemp("served") / "state", *words) as one:
        yield one


@pytest.fixture(scope="session")
def town(planted, certificates, tmp_path_factory):
    """One service with TLS and tokens for all tests that leave it serving."""
    one = found(tmp_path_factory.mktemp("town"), planted, certificates)
    yield one
    one.phoenix.kill()
