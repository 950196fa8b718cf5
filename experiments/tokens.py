r"""Which clients may use a provider's service, by token?

    python -m experiments.tokens --state=DIR --issue=NAME --days=30 --out=FILE
    python -m experiments.tokens --state=DIR --list
    python -m experiments.tokens --state=DIR --revoke=ID_OR_NAME
    python -m experiments.tokens --state=DIR --revoke_certificate=NAME

A token is shown once, here, or written to a file of mode 0600: only its hash is kept.
The service may be running; new and revoked tokens count from the next request on.
Revoking a name ends all its tokens, but not its certificates: --revoke_certificate
refuses those made before now. The ledger counts by name: a new token of the same name
has no new budget.

Cost: two seconds.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from helix_jax.errors import RunError
from helix_jax.net.names import check_name
from helix_jax.reports import Table, print_tables
from helix_jax.runs import option
from helix_jax.runs.prepare import prepare_config
from helix_jax.runs.program import start_program
from helix_jax.secret_files import make_secret, require_private_folder

if __name__ != "__main__":  # of an extra, and flags are read without
    from helix_jax.net.identities import Identities, Issued

STATE_FILE = "state.db"
_DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class TokensConfig:
    """Flags of the program."""

    state: str = option(
        "", "folder of the service's state", names="path", required=True
    )
    issue: str = option("", "name of a client to issue a token for")
    days: float = option(30.0, "validity in days", above=0, most=3650)
    out: str = option("", "new file to write the token to", names="path")
    list: bool = option(False, "list all tokens, and revoked certificates")
    revoke: str = option("", "token to revoke by id, or all tokens of a name")
    revoke_certificate: str = option(
        "", "name of a client whose certificates made until now are revoked"
    )

    def check(self) -> None:
        """Refuse no action, or more than one."""
        names = ("issue", "list", "revoke", "revoke_certificate")
        asked = [f"--{name}" for name in names if getattr(self, name)]
        if len(asked) != 1:
            said = " and ".join(asked) or "none"
            flags = ", ".join(f"--{name}" for name in names)
            raise RunError(f"expected one of {flags}, got {said}.")
        if self.out and not self.issue:
            raise RunError("--out: only --issue writes a file.")
        if self.issue:
            check_name(self.issue)
        if self.out and Path(self.out).exists():
            raise RunError(f"--out: {self.out} exists and is never overwritten.")


def run(config: TokensConfig) -> None:
    """Do the one requested action."""
    config = prepare_config(config)
    config.check()
    state = Path(config.state)
    if not config.issue and not (state / STATE_FILE).is_file():
        raise RunError(f"--state: {state} holds no {STATE_FILE}; nothing was issued.")
    require_private_folder(state, "--state")
    identities = Identities(state / STATE_FILE)
    if config.issue:
        _issue(identities, config)
    elif config.list:
        _list(identities)
    elif config.revoke:
        count = identities.revoke(config.revoke)
        print(f"revoked: {count} {'token' if count == 1 else 'tokens'}.")
    else:
        identities.revoke_certificate(config.revoke_certificate)
        print(f"certificates of {config.revoke_certificate!r} made so far are revoked.")


def _issue(identities: Identities, config: TokensConfig) -> None:
    token = identities.issue(config.issue, config.days * _DAY)
    if not config.out:
        print(token)
        return
    place, written = Path(config.out), False
    try:
        written = make_secret(place, f"{token}\n".encode(), "a token's file")
    finally:
        if not written:  # nobody has seen it
            identities.revoke(token.split("_")[1])
    if not written:
        raise RunError(f"--out: {place} exists and is never overwritten.")
    print(f"a token for {config.issue!r} is in {place}.")


def _list(identities: Identities) -> None:
    now, head = time.time(), ["id", "name", "issued (UTC)", "until (UTC)", "state"]
    rows = [
        [one.id, one.identity, _date(one.made), _date(one.until), _state(one, now)]
        for one in identities.all()
    ]
    revoked = [
        [name, _date(until)]
        for name, until in identities.revoked_certificates().items()
    ]
    tables = [Table("Tokens", head, rows)]
    if revoked:
        head = ["name", "those made until (UTC)"]
        tables.append(Table("Revoked certificates", head, revoked))
    print_tables(tables)


def _state(one: Issued, now: float) -> str:
    if one.revoked is not None:
        return f"revoked {_date(one.revoked)}"
    return "valid" if now < one.until else "expired"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


if __name__ == "__main__":
    start_program(TokensConfig, run)
