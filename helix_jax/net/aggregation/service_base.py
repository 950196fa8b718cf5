"""What services other than the provider's have, for `make_app` and `serve_service`."""

from typing import NamedTuple

from helix_jax.net.audit import Audit
from helix_jax.net.limits import Meters
from helix_jax.net.metrics import Metrics
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.state import State


class Workers(NamedTuple):
    """What metrics say of a service's processes: this one has none."""

    ready: bool = True
    places: tuple = ()


class ServiceBase:
    """A service that computes in its own process; see `service.Service`.

    Attributes:
      settings, state, meters, metrics, audit, pool: of the service.
      draining: no new work is taken.
    """

    def __init__(self, settings: ServiceSettings):
        self.settings, self.draining = settings, False
        self.state = State(settings.state)
        self.audit, self.metrics = Audit(self.state.folder), Metrics()
        self.meters = Meters(self.state, settings.limits_of, settings.memory_bytes)
        self.pool = Workers()

    async def close(self) -> None:
        """Leave the state whole."""
        self.meters.write()
        self.state.close()
        self.audit.close()
