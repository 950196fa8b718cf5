"""One session on the aggregator's machine: its state machine, kept by a journal.

    message -> file on the disk -> Aggregator.receive -> line in the journal -> yes
    round   -> Aggregator.close_round                 -> line in the journal -> answers

Nobody is told what is not in the journal, and the state of a started aggregator is made
by replaying it: signatures are deterministic, so a silo that asks again after a restart
gets the same bytes. Two lists of survivors could come only from a journal that was
restored from an old copy; silos sign one list each and refuse the second.

Everything here blocks, and is called by threads of a server, one at a time.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from helix_jax.errors import ProtocolError
from helix_jax.net.aggregation.agreement import Agreement
from helix_jax.net.aggregation.journal import FAILED, SUMMED, Journal
from helix_jax.net.aggregation.round_state import RoundState
from helix_jax.net.refusals import Refusal
from helix_jax.private.aggregation import messages
from helix_jax.private.aggregation.aggregator import ROUNDS
from helix_jax.private.aggregation.bodies import pack_words
from helix_jax.private.aggregation.messages import Kind

LOG = logging.getLogger(__name__)


class Rounds:
    """A session that silos send their messages to.

    Args:
      agreement: of all parties.
      signing_key: of the aggregator's identity, 32 bytes.
      folder: of the journal, of this session alone; one process has it at a time.

    Raises:
      KeyRoleError: the key is not that of the session's aggregator.
      ProtocolError: the folder cannot be used, or its journal is damaged.
    """

    def __init__(self, agreement: Agreement, signing_key: bytes, folder: Path):
        self.agreement = agreement
        self._signing_key = signing_key
        self._journal = Journal(folder)
        self._journal.sweep()
        self._lock = threading.Lock()
        self._state: RoundState | None = None
        if self.begun:
            LOG.info("%s goes on: %s", self._name, self.describe())

    def expect(self, kind: Kind, silo: int, size: int) -> Path | None:
        """Where to write an incoming message, before any of it is read.

        Args:
          kind: the round.
          silo: who sends it.
          size: bytes of the message.

        Returns:
          A path that is free; None if the silo's message is there, so that the new
          one is only compared with it.

        Raises:
          Refusal: it has no such size, the round is over or still to come, or the
            silo is out.
        """
        least, most = messages.message_bytes(self.agreement.session, kind)
        if size > most:
            raise Refusal("too_large", f"{kind.name} of {size} bytes, at most {most}")
        if size < least:
            raise Refusal("malformed", f"{kind.name} of {size} bytes, at least {least}")
        with self._known() as state:
            if (kind, silo) in state.digests:
                return None
            self._require_open(state, kind, silo)
            return self._journal.new_file(kind, silo)

    def take(self, kind: Kind, silo: int, file: Path | None, digest: str) -> None:
        """Take a whole message; when this returns it will not be lost.

        Args:
          kind: the round.
          silo: who sent it.
          file: where it was written, on the disk; removed if it is not kept. None for
            a message that is there already.
          digest: SHA-256 of it, hex.

        Raises:
          Refusal: the silo has sent another, the round has closed, or the message is
            not what this silo can send now; nothing is changed.
        """
        kept = False
        try:
            with self._known() as state:
                kept = self._take(state, kind, silo, file, digest)
        finally:
            if file is not None and not kept:
                file.unlink(missing_ok=True)

    def close(self, kind: Kind, *, due: bool) -> bool:
        """Close a round if all have answered, or if it is due; whether it has closed.

        Args:
          kind: the round; any but the open one is left alone.
          due: its time is over; the session ends if too few have answered.
        """
        with self._known() as state:
            if state.kind != kind or (state.aggregator.waiting_for and not due):
                return False
            gone = sorted(state.aggregator.waiting_for)
            stay = state.aggregator.present - set(gone)
            try:
                answers = state.aggregator.close_round()
            except ProtocolError as wrong:
                LOG.error("%s ends without a total: %s", self._name, wrong)
                self._journal.fail(kind)
                state.ended = FAILED
                return True
            if kind is ROUNDS[-1]:
                survivors = state.aggregator.survivors
                self._journal.end(pack_words(state.aggregator.total()), survivors)
                state.ended, state.survivors = SUMMED, survivors
            else:
                self._journal.close(kind, stay)
            state.answers[kind] = answers
            state.closed += 1
            LOG.info("%s: %s closed without %s", self._name, kind.name, gone or "none")
            return True

    def answer(self, kind: Kind, silo: int) -> bytes | None:
        """What a silo is told after a round; None while it is open.

        Raises:
          Refusal: the round closed without the silo, or the session has failed.
        """
        with self._known() as state:
            if state.ended == FAILED:
                raise Refusal("ended", "the session has failed")
            if kind in state.answers:
                if silo not in state.answers[kind]:
                    raise Refusal("late", f"{kind.name} closed without silo {silo}")
                return state.answers[kind][silo]
            if state.ended:  # answers are not kept when it is over
                raise Refusal("late", "the session is over")
            self._require_in(state, silo)
            return None

    def total(self, silo: int) -> Path | None:
        """The file of the total, for a silo that is in it; None before it is there.

        Raises:
          Refusal: the silo is not in it, or the session has failed.
        """
        with self._known() as state:
            if state.ended == FAILED:
                raise Refusal("ended", "the session has failed")
            if not state.ended:
                return None
            if silo not in state.survivors:
                raise Refusal("forbidden", f"silo {silo} is not in the total")
            return self._journal.total_path

    @property
    def open_round(self) -> Kind | None:
        """The round that is open; None when the session is over."""
        with self._known() as state:
            return state.kind

    @property
    def begun(self) -> bool:
        """Whether a silo has sent anything."""
        with self._known() as state:
            return bool(state.digests)

    def describe(self) -> dict[str, object]:
        """For people and parties: the round, the silos that stayed, whether it ended.

        It names the silos that have not answered: participants may know them.
        """
        with self._known() as state:
            names = dict(zip(self.agreement.session.numbers, self.agreement.names))
            waiting = state.aggregator.waiting_for if state.kind else frozenset()
            return {
                "round": state.kind.name.lower() if state.kind else None,
                "ended": state.ended or None,
                "waiting_for": [names[k] for k in sorted(waiting)],
                "survivors": [names[k] for k in sorted(state.survivors)],
            }

    def _take(
        self, state: RoundState, kind: Kind, silo: int, file: Path | None, digest: str
    ) -> bool:
        """Whether the file is kept; if not, the same message came before."""
        there = state.digests.get((kind, silo))
        if there is not None:
            if there != digest:
                raise Refusal("conflict", f"silo {silo} sent another {kind.name}")
            return False
        self._require_open(state, kind, silo)
        if file is None:
            raise Refusal("conflict", f"silo {silo}: {kind.name} is no longer kept")
        data = self._journal.message(file)
        if messages.sender_of(data) != silo:
            raise Refusal("forbidden", f"silo {silo} sent a message of another")
        try:
            state.aggregator.receive(data)
        except ProtocolError as wrong:
            raise Refusal("malformed", str(wrong)) from wrong
        self._journal.take(kind, silo, file, digest)
        state.digests[kind, silo] = digest
        return True

    def _require_open(self, state: RoundState, kind: Kind, silo: int) -> None:
        if state.ended == FAILED:
            raise Refusal("ended", "the session has failed")
        if state.ended or ROUNDS.index(kind) < state.closed:
            raise Refusal("late", f"{kind.name} has closed")
        self._require_in(state, silo)
        if kind != state.kind:
            raise Refusal("early", f"{kind.name} is not open yet")

    def _require_in(self, state: RoundState, silo: int) -> None:
        if silo not in state.aggregator.present:
            raise Refusal("late", f"silo {silo} was left out of an earlier round")

    @contextlib.contextmanager
    def _known(self) -> Iterator[RoundState]:
        """The state, for one call; rebuilt if the last call broke off.

        So memory is never ahead of the disk: a line that could not be written leaves
        nothing behind, and the same call may be made again.
        """
        with self._lock:
            if self._state is None:
                self._state = RoundState(
                    self.agreement, self._signing_key, self._journal
                )
            try:
                yield self._state
            except Refusal:
                raise
            except BaseException:
                self._state = None
                raise

    @property
    def _name(self) -> str:
        return f"session {self.agreement.digest[:16]}"
