"""Flags that name answer policies of an encrypted layer."""

from helix_jax.errors import RunError
from helix_jax.private.policies import Policy


def check_policies(flag: str, *policies: str) -> None:
    """Raise unless a flag names answer policies that exist."""
    if not policies:
        raise RunError(f"--{flag} is empty; name one or more answer policies.")
    for policy in policies:
        try:
            Policy.parse(policy)
        except ValueError as error:
            raise RunError(f"--{flag}={policy}: {error}") from error
