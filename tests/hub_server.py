"""A small hub on loopback: data set repositories served from folders.

It answers the requests that `huggingface_hub` and `datasets` make for reading: what a
repository holds at a revision, and the bytes of a file. A repository is a folder
ROOT/OWNER/NAME; every commit has the same content, and COMMITS[repo] is the newest.
"""

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from pathlib import Path

_INFO = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/?]+))?")
_TREE = re.compile(r"/api/datasets/([^/]+/[^/]+)/tree/([^/?]+)(?:/([^?]*))?")
_PATHS = re.compile(r"/api/datasets/([^/]+/[^/]+)/paths-info/([^/?]+)")
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(urllib.parse.unquote(urllib.parse.urlparse(self.path).path))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._body = self.rfile.read(length)
        self.do_GET()

    def log_message(self, *args) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def _answer(self, path: str) -> None:
        # A revision may hold a slash (refs/convert/parquet), quoted as %2F.
        quoted = urllib.parse.urlparse(self.path).path
        for pattern, answer in (
            (_FILE, self._file),
            (_TREE, self._tree),
            (_PATHS, self._paths),
            (_INFO, self._info),
        ):
            if match := pattern.fullmatch(quoted):
                parts = [urllib.parse.unquote(p or "") for p in match.groups()]
                repository = self.server.root / parts[0]
                commit = self.server.commits.get(parts[0])
                if commit is None:
                    return self._error("RepoNotFound")
                if len(parts) > 1 and re.fullmatch(r"[0-9a-f]{40}", parts[1]):
                    commit = parts[1]
                return answer(repository, commit, *parts[1:])
        return self._error("EntryNotFound")

    def _info(self, repository: Path, commit: str, revision: str) -> None:
        name = f"{repository.parent.name}/{repository.name}"
        siblings = [{"rfilename": entry["path"]} for entry in _entries(repository)]
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

    def _tree(self, repository: Path, commit: str, revision: str, folder: str) -> None:
        folder = folder.strip("/")
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        found = [
            entry
            for entry in _entries(repository, folders=True)
            if (inner := entry["path"].removeprefix(f"{folder}/" if folder else ""))
            and (not folder or entry["path"].startswith(f"{folder}/"))
            and (deep or "/" not in inner)
        ]
        if folder and not found:
            return self._error("EntryNotFound")
        return self._json(found)

    def _paths(self, repository: Path, commit: str, revision: str) -> None:
        content = self._body.decode()
        if "json" in self.headers.get("Content-Type", ""):
            wanted = json.loads(content)["paths"]
        else:
            wanted = urllib.parse.parse_qs(content)["paths"]
        entries = _entries(repository, folders=True)
        self._json([entry for entry in entries if entry["path"] in wanted])

    def _file(self, repository: Path, commit: str, revision: str, name: str) -> None:
        path = repository / name
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

    def _json(self, record) -> None:
        data = json.dumps(record).encode()
        self._send(200, data, {"Content-Type": "application/json"})

    def _error(self, code: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        if commit:
            headers["X-Repo-Commit"] = commit
        self._send(404, b"{}", headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entries(repository: Path, folders: bool = False) -> list[dict]:
    entries = []
    for path in sorted(repository.rglob("*")):
        name = path.relative_to(repository).as_posix()
        oid = hashlib.sha1(name.encode()).hexdigest()
        if path.is_file():
            size = path.stat().st_size
            entries.append({"type": "file", "oid": oid, "size": size, "path": name})
        elif folders:
            entries.append({"type": "directory", "oid": oid, "size": 0, "path": name})
    return entries


@contextlib.contextmanager
def serve(root: Path, commits: dict[str, str]):
    """Serve the repositories under root; gives (endpoint, list of requests)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.root, server.commits, server.requests = root, commits, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests
    finally:
        server.shutdown()
        server.server_close()
