"""A provider's service: who may ask for what, and which worker does it.

HTTP is in `app.py` and `doors.py`, computing in `desk.py`, dispatch to the workers in
`dispatch.py`; this file handles names, owners and repeated answers.
"""

import asyncio
import contextlib
import json
import shutil
import sqlite3
from typing import Any

from helix_jax.net.account import account
from helix_jax.net.audit import Audit
from helix_jax.net.capabilities import provider_fields
from helix_jax.net.dispatch import Dispatch
from helix_jax.net.frames import Frame
from helix_jax.net.limits import Meters
from helix_jax.net.message_names import fit_of, key_of, profile_of, sixteen_bytes
from helix_jax.net.metrics import Metrics
from helix_jax.net.pool import Pool
from helix_jax.net.recent import RecentAnswers
from helix_jax.net.refusals import Refusal
from helix_jax.net.settings import ServiceSettings
from helix_jax.net.state import KnownFit, State

MOST_PARTS = 1024  # of an index, in one request


class Service:
    """Everything that requests share.

    Attributes:
      settings, state, pool, meters, metrics, audit: of the service.
      draining: whether no new work is accepted.
    """

    def __init__(self, settings: ServiceSettings):
        self.settings = settings
        self.state = State(settings.state)
        self.audit = Audit(self.state.folder)
        self.metrics = Metrics()
        self.pool = Pool(settings)
        self.meters = Meters(self.state, settings.limits_of, settings.memory_bytes)
        self._dispatch = Dispatch(self.pool, self.state, settings.operation_seconds)
        self.draining = False
        self._recent = RecentAnswers(self.metrics.repeated.inc)
        self._sweeper: asyncio.Task | None = None
        self._indexes: dict[str, dict[str, Any]] = {}

    async def start(self) -> None:
        """Start the workers.

        Raises:
          Refusal: they cannot serve; says why.
        """
        for fit in self.state.ended_fits():  # left by a service that was killed
            shutil.rmtree(self.state.folder / "fits" / fit.hex(), ignore_errors=True)
        await self.pool.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Give up abandoned fits, now and every hour."""
        while True:
            for fit in self.state.abandoned_fits(3600 * self.settings.fit_hours):
                # Retried in an hour.
                with contextlib.suppress(Refusal, sqlite3.OperationalError):
                    head = {"op": "end_fit", "fit": fit.hex()}
                    await self._dispatch.run(head, bound=fit)
                    self.state.end_fit(fit)
                    self.audit.write(event="a fit was given up", fit=fit.hex())
            await asyncio.sleep(3600)

    async def close(self) -> None:
        """End the workers and leave the state complete."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.pool.close()
        self.meters.write()
        self.state.close()
        self.audit.close()

    def capabilities(self) -> dict[str, Any]:
        """What a client must know before it asks; JSON-able."""
        return {**provider_fields(self.settings), **self.pool.about}

    async def account(self, identity: str) -> dict[str, Any]:
        """What a client has used, and may use; JSON-able."""
        told = await self._dispatch.run({"op": "spent", "identity": identity})
        used, served = self.meters.of(identity).used_bytes, self.pool.about["heads"]
        return account(self.settings, identity, told.head["spent"], used, served)

    async def put_key(self, identity: str, name: str, bundle: bytes) -> None:
        """Register a client's key."""
        key = sixteen_bytes(name)
        profile = profile_of(bundle)
        owner = self.state.owner(key)
        if owner != identity:
            # Only a client with the whole bundle learns whose key it is.
            head = {"op": "key", "profile": profile}
            learnt = await self._dispatch.run(head, bundle)
            if learnt.head["key"] != name:
                raise Refusal("malformed", f"the bundle is of key {learnt.head['key']}")
            most = self.settings.limits_of(identity).keys
            self.state.add_key(key, identity, profile, bundle, most=most)

    async def offer(self, identity: str, head: str) -> bytes:
        """The layer of a head, under this client's policy."""
        _require(head, self.settings.heads)
        found = await self._dispatch.run(
            {"op": "offer", "head": head, "identity": identity}
        )
        return found.body

    async def ask(self, identity: str, head: str, what: str, message: bytes) -> bytes:
        """Answer a message to a head."""
        _require(head, self.settings.heads)
        key = key_of(message)
        labels = self.settings.policy_of(identity, head) == "label"
        request = {"op": what, "head": head}
        return await self._once(
            identity,
            f"{what} {head}",
            key,
            request,
            message,
            bound=key if labels else None,
        )

    async def index(self, name: str) -> dict[str, Any]:
        """The public description of an index; JSON-able."""
        _require(name, self.settings.indexes)
        if name not in self._indexes:
            head = {"op": "index", "index": name}
            found = await self._dispatch.run(head, bound=name.encode())
            self._indexes[name] = found.head["about"]
        return self._indexes[name]

    async def search(
        self, identity: str, name: str, parts: list[str], message: bytes
    ) -> bytes:
        """The answers of parts of an index to one message."""
        _require(name, self.settings.indexes)
        if len(parts) > MOST_PARTS:
            raise Refusal("too_large", f"{len(parts)} parts of an index")
        head = {"op": "search", "index": name, "parts": parts}
        what = json.dumps([name, parts])
        return await self._once(
            identity, what, key_of(message), head, message, bound=name.encode()
        )

    async def begin_fit(
        self, identity: str, name: str, rows: str, key_name: str
    ) -> bytes:
        """Begin a fit, or find it again; returns its offer."""
        fit, key = fit_of(identity, name), sixteen_bytes(key_name)
        _require(rows, self.settings.rows)
        self._dispatch.require_own_key(identity, key)
        limits = self.settings.limits_of(identity)
        known = self.state.begin_fit(
            fit,
            identity,
            rows,
            key,
            most=limits.fits_per_day,
            open_fits=limits.open_fits,
        )
        return (await self._of_fit(fit, known, {"op": "fit"})).body

    async def fit_state(self, identity: str, name: str) -> dict[str, Any]:
        """How far a fit has come; JSON-able."""
        fit, known = self._own_fit(identity, name)
        found = await self._of_fit(fit, known, {"op": "next"})
        return {"rows": known.rows, "next": found.head["next"]}

    async def put_rows(
        self, identity: str, name: str, chunk: int, message: bytes
    ) -> int:
        """Take a message of rows; returns the number of the next."""
        fit, known = self._own_fit(identity, name)
        head = {"op": "rows", "chunk": chunk}
        return (await self._of_fit(fit, known, head, message)).head["next"]

    async def mean(self, identity: str, name: str) -> bytes:
        """The means of a fit."""
        fit, known = self._own_fit(identity, name)
        return (await self._of_fit(fit, known, {"op": "mean"})).body

    async def results(self, identity: str, name: str, part: int) -> tuple[int, bytes]:
        """How many messages of results there are, and one of them."""
        fit, known = self._own_fit(identity, name)
        found = await self._of_fit(fit, known, {"op": "results", "part": part})
        return found.head["parts"], found.body

    async def end_fit(self, identity: str, name: str) -> None:
        """Forget a fit for good."""
        fit = fit_of(identity, name)
        if self.state.fit(fit) is None:
            raise Refusal("not_found", f"fit {name} for {identity}")
        self.state.end_fit(fit)
        await self._dispatch.run({"op": "end_fit", "fit": fit.hex()}, bound=fit)

    async def _once(
        self,
        identity: str,
        what: str,
        key: bytes,
        head: dict[str, Any],
        message: bytes,
        *,
        bound: bytes | None,
    ) -> bytes:
        """The answer to a message; a repeated message gets the same answer."""
        self._dispatch.require_own_key(identity, key)
        own = {**head, "identity": identity, "key": key.hex()}

        async def make() -> bytes:
            return (await self._dispatch.run(own, message, key=key, bound=bound)).body

        name = RecentAnswers.name(identity, what, message)
        return await self._recent.once(name, make)

    async def _of_fit(
        self, fit: bytes, known: KnownFit, head: dict[str, Any], body: bytes = b""
    ) -> Frame:
        own = {
            **head,
            "fit": fit.hex(),
            "rows": known.rows,
            "identity": known.identity,
            "key": known.key.hex(),
        }
        return await self._dispatch.run(own, body, key=known.key, bound=fit)

    def _own_fit(self, identity: str, name: str) -> tuple[bytes, KnownFit]:
        fit = fit_of(identity, name)
        known = self.state.fit(fit)
        if known is None or known.ended:
            raise Refusal("not_found", f"fit {name} for {identity}: {known}")
        if known.rows not in self.settings.rows:
            raise Refusal("not_found", f"rows {known.rows} are no longer served")
        return fit, known


def _require(name: str, served: Any) -> None:
    if name not in served:
        raise Refusal("not_found", f"{name!r} is not served")
