"""The agreement of a sum's parties, as a file that each of them can read.

    {"aggregation": 1, "identifier": HEX, "aggregator": HEX,
     "silos": [{"name": "north", "key": HEX}, ...], "threshold": 3, "colluders": 1,
     "moments": {"dx": 768, "dy": 768, "silos": 3, "row_bits": 24, "value_bits": 10}}

The parties compare `Session.digest` over a channel that they trust: it covers all but
the names. A name only says by which identity of the transport a silo connects: a
message is believed for its signature, so a wrong name can keep a silo out but not speak
for it.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from helix_jax.errors import ProtocolError
from helix_jax.paths import local_path, os_errors
from helix_jax.private.aggregation.fixed_point import MomentsFormat
from helix_jax.private.aggregation.session import Session, new_session

VERSION = 1
_MOST_BYTES = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Agreement:
    """A session of a sum of moments, and the names of its silos.

    Attributes:
      session: what the protocol is bound to.
      layout: how moments become integers; its content is the session's.
      names: of the silos, in the session's order.
    """

    session: Session
    layout: MomentsFormat
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse invalid names, and a session of something else."""
        wrong = [name for name in self.names if not _NAME.fullmatch(name)]
        if wrong or len(set(self.names)) < len(self.names):
            raise ValueError(
                "Agreement: silos need different names of up to 64 letters, digits, "
                f"dots, hyphens and underscores, got {', '.join(map(repr, self.names))}"
                "."
            )
        session, layout = self.session, self.layout
        if (session.content, session.length) != (layout.content, layout.length) or (
            len(self.names) != len(session.members)
        ):
            raise ValueError(
                f"Agreement: a session of {len(session.members)} silos and vectors of "
                f"{session.length} does not belong to {len(self.names)} names and "
                f"{layout}."
            )

    @property
    def digest(self) -> str:
        """What the parties compare, and the service finds it by; 64 hex characters."""
        return self.session.digest.hex()

    def number_of(self, name: str) -> int | None:
        """The number of the silo of this name, from 1; None if there is none."""
        return self.names.index(name) + 1 if name in self.names else None

    def to_json(self) -> str:
        """The text of the file."""
        session = self.session
        silos = [
            {"name": name, "key": key.hex()}
            for name, key in zip(self.names, session.members)
        ]
        record = {
            "aggregation": VERSION,
            "identifier": session.identifier.hex(),
            "aggregator": session.aggregator.hex(),
            "silos": silos,
            "threshold": session.threshold,
            "colluders": session.colluders,
            "moments": dataclasses.asdict(self.layout),
        }
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Agreement":
        """Read the text of the file.

        Raises:
          ProtocolError: it is not an agreement, or one under which nothing is promised.
        """
        try:
            record = json.loads(text)
            if record["aggregation"] != VERSION:
                raise ProtocolError(
                    f"agreement: expected version {VERSION}, got "
                    f"{record['aggregation']!r}. All parties need the same helix_jax."
                )
            layout = MomentsFormat(**_numbers(record["moments"]))
            session = Session(
                bytes.fromhex(record["identifier"]),
                bytes.fromhex(record["aggregator"]),
                tuple(bytes.fromhex(silo["key"]) for silo in record["silos"]),
                **_numbers({k: record[k] for k in ("threshold", "colluders")}),
                length=layout.length,
                content=layout.content,
            )
            return cls(session, layout, tuple(silo["name"] for silo in record["silos"]))
        except ProtocolError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise ProtocolError(
                f"agreement: it lacks a field or holds a wrong one ({wrong}). Take the "
                "file that was agreed on, or make one with experiments.sum_session."
            ) from wrong


def new_agreement(
    aggregator: bytes,
    silos: Mapping[str, bytes],
    layout: MomentsFormat,
    *,
    threshold: int | None = None,
    colluders: int | None = None,
) -> Agreement:
    """An agreement on a new sum; see `new_session`.

    Args:
      aggregator: verifying key.
      silos: name -> verifying key, in order.
      layout: of the moments.
      threshold: silos that must stay; None for two thirds and one.
      colluders: silos that may collude with the aggregator; None for as many as the
        threshold allows.

    Raises:
      ValueError: nothing would be promised under these parameters.
    """
    session = new_session(
        aggregator,
        list(silos.values()),
        length=layout.length,
        content=layout.content,
        threshold=threshold,
        colluders=colluders,
    )
    return Agreement(session, layout, tuple(silos))


def read_agreement(path: str | os.PathLike) -> Agreement:
    """Read the file of an agreement.

    Raises:
      ProtocolError: it cannot be read, or is not an agreement.
    """
    path = local_path(path, "the agreement")
    with os_errors(path, "be read", ProtocolError), open(path, "rb") as stream:
        text = stream.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ProtocolError(f"{path} is not an agreement: over {_MOST_BYTES} bytes.")
    return Agreement.from_json(text)


def parse_key(text: str) -> bytes:
    """A verifying key from 64 hex characters.

    Raises:
      ValueError: they are not such a key.
    """
    if not _KEY.fullmatch(text):
        raise ValueError(f"expected a key of 64 hex characters, got {text[:80]!r}.")
    return bytes.fromhex(text)


def _numbers(record: Mapping[str, Any]) -> dict[str, int]:
    for name, value in record.items():
        if type(value) is not int:
            raise TypeError(f"{name} needs to be a whole number, got {value!r}")
    return dict(record)
