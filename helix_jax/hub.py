"""Repositories of the Hugging Face hub: files fetched to its cache, folders pushed.

Everything goes through `huggingface_hub`, so that its rules hold for tokens (HF_TOKEN,
or what `hf auth login` saved), for the cache (HF_HOME) and offline (HF_HUB_OFFLINE).
Whatever the hub answers becomes one error that says what to do.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from helix_jax.errors import HelixError

START = "hub:"  # marks a hub name where a folder could stand
_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def split_name(
    given: str, *, raises: type[HelixError], who: str = "this"
) -> tuple[str, str]:
    """ "owner/name" or "owner/name/sub/folder" as the repository and what is inside.

    Args:
      given: with or without `hub:` before it.
      raises: class of the error.
      who: what the name is for, for the message.

    Raises:
      HelixError: of class `raises`; not of this form.
    """
    parts = given.removeprefix(START).split("/")
    name, inside = "/".join(parts[:2]), parts[2:]
    if not _NAME.fullmatch(name) or not {"", ".", ".."}.isdisjoint(inside):
        raise raises(
            f"{given!r} is no name of {who} on the hub; write OWNER/NAME, or "
            "OWNER/NAME/FOLDER for one of several in a repository."
        )
    return name, "/".join(inside)


def fetch(
    name: str,
    *,
    revision: str | None,
    patterns: Sequence[str],
    raises: type[HelixError],
    subfolders: bool = False,
    hint: str = ".",
) -> Path:
    """The cache folder of a model repository with the files that match.

    Args:
      name: "owner/name", or "name" of a repository without an owner.
      revision: branch, tag or commit; None is the main branch.
      patterns: of the names of files.
      raises: class of the error.
      subfolders: whether files in folders of the repository may match.
      hint: end of the message where there is no such repository.

    Raises:
      HelixError: of class `raises`; it is not available, and why.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = f"{name!r} (revision {revision or 'main'})"
    try:
        with _said(name, revision, raises, hint):
            folder = snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=None if subfolders else ["*/*"],
            )
    except LocalEntryNotFoundError as error:
        raise raises(
            f"{asked} is not in the local cache and the hub cannot be reached; connect "
            f"once (and unset HF_HUB_OFFLINE), or name a local folder{hint}"
        ) from error
    return Path(folder)


def push(
    files: Mapping[str, bytes | Path],
    name: str,
    *,
    message: str,
    revision: str | None = None,
    private: bool | None = None,
    raises: type[HelixError],
) -> str:
    """Make a model repository if it is missing, and commit files to it, all at once.

    Args:
      files: path in the repository -> content, or a file of this machine.
      name: "owner/name".
      message: of the commit.
      revision: an existing branch; None is the main one.
      private: whether a new repository is; None is the owner's default.
      raises: class of the error.

    Returns:
      The commit, 40 hex digits; unchanged files make no new one.

    Raises:
      HelixError: of class `raises`; the hub refuses it, and why.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with _said(name, revision, raises, ".", writing=True):
        api.create_repo(name, private=private, exist_ok=True)
        done = api.create_commit(
            name,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=message,
            revision=revision,
        )
    return done.oid


@contextlib.contextmanager
def _said(
    name: str,
    revision: str | None,
    raises: type[HelixError],
    hint: str,
    *,
    writing: bool = False,
) -> Iterator[None]:
    """One error for whatever the hub, or the network, answers."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    asked = f"{name!r} (revision {revision or 'main'})"
    others: tuple[type[Exception], ...] = (HTTPError, OSError)
    if writing:  # of the card's front matter, or of the upload of a large file
        others += (ValueError, RuntimeError)
    try:
        yield
    except LocalEntryNotFoundError:
        raise
    except GatedRepoError as error:
        raise raises(
            f"{asked} is gated: accept its terms on its page and set HF_TOKEN to a "
            "token of that account."
        ) from error
    except RevisionNotFoundError as error:
        raise raises(
            f"{name!r} has no revision {revision!r}; name a branch, tag or commit."
        ) from error
    except OfflineModeIsEnabled as error:
        raise raises(
            f"{asked} needs the hub, which HF_HUB_OFFLINE forbids; unset it."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        if writing:
            raise raises(_denied(name)) from error
        raise raises(
            f"{asked} is neither a folder here nor on the hub; check the name, or set "
            f"HF_TOKEN where it is private{hint}"
        ) from error
    except others as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if writing and status in (401, 403):
            raise raises(_denied(name)) from error
        told = "did not accept" if writing else "did not deliver"
        raise raises(
            f"the hub {told} {asked}: {type(error).__name__}: {_line(error)}"
        ) from error


def _denied(name: str) -> str:
    return (
        f"the hub does not let you write to {name!r}; set HF_TOKEN to a token with "
        f"write access to {name.partition('/')[0]!r}, or run `hf auth login`."
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
