"""Errors that a user can act on; each message names both sides and the remedy."""


class HelixError(Exception):
    """Base class of these errors; wrong arguments are ValueError or TypeError."""


class ExtraError(HelixError, ImportError):
    """A package that is needed belongs to an extra that is not installed."""


class PathError(HelixError, ValueError):
    """A path cannot be used: which one, why, and what to do."""


class LockError(HelixError, RuntimeError):
    """The lock of a folder was lost: another process found it abandoned."""


class ProcessError(HelixError, RuntimeError):
    """The processes of a run did not meet, differ, or one of them was lost."""


class FingerprintError(HelixError, ValueError):
    """Two things made from different inputs were combined."""


class StoreError(HelixError, ValueError):
    """An activation store is missing, damaged, incomplete or does not match."""


class ArtefactError(HelixError, ValueError):
    """An artefact folder is missing, damaged, or of another kind."""


class CheckpointError(HelixError, ValueError):
    """A model folder is missing files, damaged, or not what its config says."""


class UnsupportedError(CheckpointError):
    """A model folder is intact, but the JAX engine does not support it."""


class MeshError(HelixError, ValueError):
    """A mesh of devices does not fit the devices, or the model."""


class CorpusError(HelixError, ValueError):
    """A text source is missing, empty, or lacks what was requested."""


class RunError(HelixError, ValueError):
    """A program cannot run, or resume, with these flags and what they name."""


class ProtocolError(HelixError, ValueError):
    """A message of the other party, or a party's saved state, is not acceptable."""


class AnsweredError(ProtocolError):
    """A message that may be answered only once was answered before."""


class BudgetError(ProtocolError):
    """A request exceeds the party's total budget."""


class KeyRoleError(HelixError, ValueError):
    """A key was used by, or for, a party that it does not belong to."""
