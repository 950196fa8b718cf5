"""A small hub on loopback: model or data set repositories served from folders.

It answers the requests that `huggingface_hub`, `datasets` and `transformers` make for
reading: what a repository holds at a revision, and the bytes of a file; those for
writing are in `hub_uploads`. Those libraries read the hub's address when they are
imported, so the loading is another process's.
"""

import contextlib
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .hub_uploads import Uploads

_REPO = r"([^/]+/[^/]+)"
# Request -> (repository, revision or None, the rest).
_PATTERNS = {
    "file": rf"/(?:datasets/)?{_REPO}/resolve/([^/]+)/(.+)",
    "tree": rf"/api/(?:models|datasets)/{_REPO}/tree/([^/?]+)(?:/([^?]*))?",
    "paths": rf"/api/(?:models|datasets)/{_REPO}/paths-info/([^/?]+)()",
    "info": rf"/api/(?:models|datasets)/{_REPO}(?:/revision/([^/?]+))?()",
}


class Repository(NamedTuple):
    """What a repository holds.

    Attributes:
      commits: commit -> the folder with its files.
      branches: branch or tag -> commit; "main" is the newest.
      gated: whether everyone may see its names and nobody its files.
    """

    commits: Mapping[str, Path]
    branches: Mapping[str, str]
    gated: bool = False


class _Handler(Uploads, http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._body = self.rfile.read(length)
        if self.server.uploads is None or not self.answer_write():
            self.do_GET()

    def log_message(self, *args) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def _answer(self) -> None:
        # Matched before it is unquoted: a revision may hold a slash, as in
        # refs/convert/parquet, which is quoted as %2F.
        path = urllib.parse.urlparse(self.path).path
        for kind, pattern in _PATTERNS.items():
            if match := re.fullmatch(pattern, path):
                name, revision, rest = (
                    urllib.parse.unquote(part or "") for part in match.groups()
                )
                repository = self.server.repositories.get(name)
                if repository is None:
                    return self._error("RepoNotFound")
                commit = repository.branches.get(revision or "main", revision)
                folder = repository.commits.get(commit)
                if folder is None:
                    return self._error("RevisionNotFound")
                if repository.gated and kind == "file":
                    return self._error("GatedRepo", status=403)
                return getattr(self, f"_{kind}")(name, commit, folder, rest)
        return self._error("EntryNotFound")

    def _info(self, name: str, commit: str, folder: Path, rest: str) -> None:
        siblings = [{"rfilename": entry["path"]} for entry in _entries(folder)]
        self._json(
            {
                "id": name,
                "sha": commit,
                "siblings": siblings,
                "private": False,
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
        )

    def _tree(self, name: str, commit: str, folder: Path, rest: str) -> None:
        inside = f"{rest.strip('/')}/".lstrip("/")
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        found = [
            entry
            for entry in _entries(folder, folders=True)
            if entry["path"].startswith(inside)
            and (deep or "/" not in entry["path"].removeprefix(inside))
        ]
        if inside and not found:
            return self._error("EntryNotFound")
        return self._json(found)

    def _paths(self, name: str, commit: str, folder: Path, rest: str) -> None:
        content = self._body.decode()
        if "json" in self.headers.get("Content-Type", ""):
            wanted = json.loads(content)["paths"]
        else:
            wanted = urllib.parse.parse_qs(content)["paths"]
        entries = _entries(folder, folders=True)
        self._json([entry for entry in entries if entry["path"] in wanted])

    def _file(self, name: str, commit: str, folder: Path, rest: str) -> None:
        path = folder / rest
        if not path.is_file():
            return self._error("EntryNotFound", commit)
        data = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        status = 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            stop = min(int(wanted[2]) + 1 if wanted[2] else len(data), len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data, status = data[start:stop], 206
        return self._send(status, data, headers)

    def _json(self, record, status: int = 200) -> None:
        data = json.dumps(record).encode()
        self._send(status, data, {"Content-Type": "application/json"})

    def _error(self, code: str, commit: str | None = None, status: int = 404) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        if commit:
            headers["X-Repo-Commit"] = commit
        self._send(status, b"{}", headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entries(folder: Path, folders: bool = False) -> list[dict]:
    entries = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        oid = hashlib.sha1(name.encode()).hexdigest()
        if path.is_file():
            size = path.stat().st_size
            entries.append({"type": "file", "oid": oid, "size": size, "path": name})
        elif folders:
            entries.append({"type": "directory", "oid": oid, "size": 0, "path": name})
    return entries


@contextlib.contextmanager
def serve(repositories: Mapping[str, Repository], uploads: Path | None = None):
    """Serve repositories by their names; gives (endpoint, list of requests).

    Args:
      repositories: what there is; a dict of dicts where others can be pushed.
      uploads: folder for what is pushed; None for a hub that is only read.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.repositories, server.requests = repositories, []
    server.uploads, server.new_repository = uploads, Repository
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests
    finally:
        server.shutdown()
        server.server_close()


def load_in_process(
    script: str,
    endpoint: str,
    home: Path,
    requests: list,
    *,
    offline: bool = False,
    token: str = "",
) -> list:
    """Run a script against a hub; a record for each of the requests.

    Args:
      script: reads the requests as JSON from its first argument and prints, for each,
        "RECORD" and a record as JSON.
      endpoint: address of the hub.
      home: folder of the cache.
      requests: JSON-able.
      offline: without asking the hub.
      token: of whoever asks; empty for nobody.
    """
    environment = os.environ | {
        "HF_TOKEN": token,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1" if offline else "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(requests)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    records = re.findall(r"^RECORD (.*)$", run.stdout, re.MULTILINE)
    assert len(records) == len(requests)
    return [json.loads(record) for record in records]
