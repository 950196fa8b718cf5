"""What a provider serves, and to which clients: a record that `settings_file` reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from helix_jax.private.policies import PRECISION, SHARE

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """A linear layer.

    Attributes:
      path: a probe's folder, an .npz file with kernel [d, k] and bias [k], or
        "lm_head:MODEL" for the output head of a model.
      policy: of the answers; empty for the profile's own.
      profile: of the parameters.
      budget: bits that one client may have; None for no limit.
      input_norm: largest |x|_2 of a query; None for twice the largest norm of the
        served rows of the same width.
      minimise: "time" or "traffic".
      query_bits, result_bits: scales shared by several providers whose answers are
        added; None for the best scales of this head alone.
    """

    path: str
    policy: str = ""
    profile: str = "guarded"
    budget: float | None = None
    input_norm: float | None = None
    minimise: str = "time"
    query_bits: int | None = None
    result_bits: int | None = None

    @property
    def shared(self) -> tuple[int, int] | None:
        """The shared scales; None for the head's own."""
        if self.query_bits is None or self.result_bits is None:
            return None
        return self.query_bits, self.result_bits


@dataclasses.dataclass(frozen=True)
class RowsSettings:
    """Rows of public texts that clients fit maps to.

    Attributes:
      path: a store of activations, or an .npz file with y [n, d] and ids [n]; a pattern
        with * must match exactly one path.
      profile: of the parameters.
      precision: bits that one number of the result carries.
      share: share of the rows' bits that one client may have.
    """

    path: str
    profile: str = "guarded"
    precision: int = PRECISION
    share: float = SHARE


@dataclasses.dataclass(frozen=True)
class IndexSettings:
    """An index that clients search.

    Attributes:
      path: its folder, made by experiments.index.
      policy: of the scores; empty for the profile's own.
      profile: of the parameters.
      decoys: number of decoys proposed to clients.
      budget: bits of scores that one client may have; None for no limit.
      text_budget: the same for texts.
      weights_bytes: memory for transformed weights.
    """

    path: str
    policy: str = ""
    profile: str = "guarded"
    decoys: int = 9
    budget: float | None = None
    text_budget: float | None = None
    weights_bytes: float = 2e9


@dataclasses.dataclass(frozen=True)
class ClientSettings:
    """The special settings of one client.

    Attributes:
      policies: head -> policy.
      budgets: head -> bits.
      limits: name of a field of Limits -> value.
    """

    policies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    budgets: Mapping[str, float] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of one client.

    Attributes:
      requests_per_second: on average; bursts may have twice as many.
      requests_at_once: requests in progress.
      uploads_at_once: messages of rows in progress.
      fits_per_day: begun.
      open_fits: begun and not ended; each takes some 100 MB of the state's disk.
      bytes_per_day: both ways together.
      keys: registered.
    """

    requests_per_second: float = 100.0
    requests_at_once: int = 16
    uploads_at_once: int = 2
    fits_per_day: int = 50
    open_fits: int = 8
    bytes_per_day: float = 1e11
    keys: int = 1000


@dataclasses.dataclass(frozen=True)
class ServiceSettings:
    """All settings of a provider's service.

    Attributes:
      name: shown to clients.
      state: folder of what must outlive the process.
      host, port: where it listens.
      certificate, private_key: PEM files of TLS.
      client_authority: PEM file of the authority that signs clients' certificates
        (mutual TLS).
      plain_http: no TLS, on loopback only.
      anonymous: clients need neither token nor certificate, on loopback only.
      workers: processes that compute.
      worker_threads: processor threads of each worker; 0: all.
      operation_seconds: time after which a worker counts as lost.
      body_seconds: time within which a request must arrive completely.
      fit_hours: time after which an unfinished fit is given up; its folder holds sums
        of some 130 kB per column.
      waiting: most requests that may wait for a worker.
      memory_bytes: memory for requests and answers in progress.
      body_bytes: most bytes of one request.
      show_load: whether everybody sees coarse numbers of the load, see page/status.py.
      heads, rows, indexes: what is served, by name.
      limits: of every client.
      clients: identity -> settings that differ for this client.
    """

    name: str = "helix_jax"
    state: str = "state"
    host: str = "127.0.0.1"
    port: int = 8443
    certificate: str = ""
    private_key: str = ""
    client_authority: str = ""
    plain_http: bool = False
    anonymous: bool = False
    workers: int = 2
    worker_threads: int = 1
    operation_seconds: float = 120.0
    body_seconds: float = 60.0
    fit_hours: float = 48.0
    waiting: int = 256
    memory_bytes: float = 512e6
    body_bytes: float = 64e6
    show_load: bool = True
    heads: Mapping[str, HeadSettings] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, RowsSettings] = dataclasses.field(default_factory=dict)
    indexes: Mapping[str, IndexSettings] = dataclasses.field(default_factory=dict)
    limits: Limits = dataclasses.field(default_factory=Limits)
    clients: Mapping[str, ClientSettings] = dataclasses.field(default_factory=dict)

    def limits_of(self, identity: str) -> Limits:
        """The limits of a client."""
        own = self.clients.get(identity)
        return (
            dataclasses.replace(self.limits, **dict[str, Any](own.limits))
            if own
            else self.limits
        )

    def policy_of(self, identity: str, head: str) -> str:
        """The policy of a head's answers to a client; empty for the profile's own."""
        own = self.clients.get(identity)
        return (own.policies.get(head) if own else None) or self.heads[head].policy

    def budget_of(self, identity: str, head: str) -> float | None:
        """Bits of a head that a client may have."""
        own = self.clients.get(identity)
        given = own.budgets.get(head) if own else None
        return self.heads[head].budget if given is None else given
