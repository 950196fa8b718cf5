"""Is the service on this machine ready? For containers and supervisors.

    python -m helix_jax.health_check https://127.0.0.1:8443

exits with status 0 if GET /health/ready is answered with 200 within five seconds, and
with 1 otherwise. It imports nothing but the standard library, since it is started every
few seconds. It queries only this machine and sends no token, and so accepts any
certificate: a container does not know the name by which others reach it.
"""

import http.client
import ssl
import sys
from urllib.parse import urlsplit

DEFAULT = "https://127.0.0.1:8443"
_HOSTS = ("127.0.0.1", "::1", "localhost")
_SECONDS = 5.0


def is_ready(url: str) -> bool:
    """Whether the service at a URL of this machine takes requests.

    Raises:
      ValueError: it is not a URL of this machine.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or host not in _HOSTS or not parts.port:
        raise ValueError(
            f"health check: expected http(s)://HOST:PORT with HOST one of "
            f"{', '.join(_HOSTS)}, got {url!r}."
        )
    if parts.scheme == "http":
        asked = http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asked = http.client.HTTPSConnection(
            host, parts.port, timeout=_SECONDS, context=context
        )
    try:
        asked.request("GET", "/health/ready")
        return asked.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


if __name__ == "__main__":
    sys.exit(not is_ready(*(sys.argv[1:] or [DEFAULT])))
