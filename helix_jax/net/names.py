"""Valid names of clients, in tokens, certificates, logs and the ledger alike.

Also what certificates are made for by default; nothing here needs an extra.
"""

import re

from helix_jax.errors import RunError

AUTHORITY, SERVER = "authority", "server"  # files of certificates, so no clients
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
MOST_DAYS = 3650  # that a certificate holds
_TOKEN_ID = re.compile(r"[0-9a-f]{16}")
_MOST = 64  # characters, as in a certificate's common name


def is_token_id(text: str) -> bool:
    """Whether a text is the id of a token, which no client may have as its name."""
    return _TOKEN_ID.fullmatch(text) is not None


def check_name(identity: str) -> None:
    """Refuse what cannot name a client.

    Raises:
      RunError: it is not printable text of 1 to 64 characters without blanks at its
        ends, or it looks like the id of a token.
    """
    right = isinstance(identity, str) and identity.isprintable()
    if not right or not 0 < len(identity) <= _MOST or identity != identity.strip():
        raise RunError(
            f"a client's name is printable text of 1 to {_MOST} characters, without "
            f"blanks at its ends, got {identity!r}."
        )
    if is_token_id(identity):
        raise RunError(f"{identity!r} looks like the id of a token; take another name.")
