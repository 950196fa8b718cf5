"""Connections without TLS: for a trial on one machine, if the user asks for it."""

import ipaddress

from helix_jax.errors import RunError


def require_plain_allowed(host: str, plain: bool) -> None:
    """Refuse a connection without TLS, except for a trial on one machine.

    Args:
      host: name or address to listen at, or to connect to.
      plain: whether the user asked for no TLS.

    Raises:
      RunError: the user has not, or the host is not this machine alone.
    """
    if not plain:
        raise RunError(
            f"{host}: no certificate is given, and nothing is sent without TLS; give "
            "one, or --plain_http for a trial on one machine."
        )
    if not is_loopback(host):
        raise RunError(
            f"--plain_http: {host} is not only this machine, and traffic to it "
            "could be read and changed; use localhost, 127.0.0.1 or ::1, or give a "
            "certificate."
        )


def is_loopback(host: str) -> bool:
    """Whether a name or an address is a loopback one."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
