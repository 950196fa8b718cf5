"""What an aggregator knows of a session in memory: made by replaying its journal.

Signatures are deterministic, so that a replay gives the same bytes.
"""

from collections.abc import Mapping

from helix_jax.net.aggregation.agreement import Agreement
from helix_jax.net.aggregation.journal import CLOSED, FAILED, SUMMED, TAKEN, Journal
from helix_jax.private.aggregation.aggregator import ROUNDS, Aggregator
from helix_jax.private.aggregation.messages import Kind


class RoundState:
    """A session between two calls.

    Args:
      agreement: of all parties.
      signing_key: of the aggregator's identity.
      journal: that is replayed.

    Attributes:
      aggregator: the protocol's state machine; a new one where the session is over.
      closed: how many rounds have.
      ended: "", FAILED or SUMMED.
      survivors: silos in the total, where there is one.
      digests: SHA-256 of the messages that were taken, by round and silo.
      answers: of closed rounds, by silo; none of a session that was over before.

    Raises:
      ProtocolError: the journal, or a message that it names, is damaged.
    """

    def __init__(self, agreement: Agreement, signing_key: bytes, journal: Journal):
        self.aggregator = Aggregator(agreement.session, signing_key)
        self.closed = 0  # rounds
        self.ended = ""  # or FAILED or SUMMED
        self.survivors: frozenset[int] = frozenset()
        self.digests: dict[tuple[Kind, int], str] = {}
        self.answers: dict[Kind, Mapping[int, bytes]] = {}
        events = journal.read()
        over = bool(events) and events[-1].what in (FAILED, SUMMED)
        for event in events:
            if event.what == TAKEN:
                self.digests[event.kind, event.silos[0]] = event.digest
                if not over:
                    self.aggregator.receive(journal.message(event.file))
            elif event.what == CLOSED:
                self.closed += 1
                if not over:
                    self.answers[event.kind] = self.aggregator.close_round()
            else:
                self.ended, self.survivors = event.what, frozenset(event.silos)

    @property
    def kind(self) -> Kind | None:
        """The round that is open."""
        return None if self.ended else ROUNDS[self.closed]
