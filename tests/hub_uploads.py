"""The requests of `huggingface_hub` that write, for the hub on loopback.

Repositories are made, files come in a commit or, large ones, by the LFS protocol before
it; whoever writes shows TOKEN.
"""

import base64
import hashlib
import json
import re
import shutil
import urllib.parse
from pathlib import Path

import yaml

TOKEN = "hf_writer"
_REPO = r"([^/]+/[^/]+)"
_WRITES = {
    "create": r"/api/repos/create()()",
    "validate": r"/api/validate-yaml()()",
    "preupload": rf"/api/models/{_REPO}/preupload/([^/?]+)",
    "batch": rf"/{_REPO}\.git/info/lfs/objects/batch()",
    "commit": rf"/api/models/{_REPO}/commit/([^/?]+)",
    "large": r"/lfs/([0-9a-f]{64})()",
}


class Uploads:
    """Of a handler whose server has `uploads`, a folder, and `repositories`, a dict."""

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self._body = self.rfile.read(length)
        self.answer_write()

    def answer_write(self) -> bool:
        """Answer a request that writes; whether it was one."""
        path = urllib.parse.urlparse(self.path).path
        for kind, pattern in _WRITES.items():
            if match := re.fullmatch(pattern, path):
                name, rest = map(urllib.parse.unquote, match.groups())
                shown = self.headers.get("Authorization")
                if kind != "large" and shown != f"Bearer {TOKEN}":
                    self._error("Unauthorized", status=401)
                else:
                    getattr(self, f"_{kind}")(name, rest)
                return True
        return False

    def _create(self, _: str, __: str) -> None:
        asked = json.loads(self._body)
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"http://{self.headers['Host']}/{name}"}
        if name in self.server.repositories:
            return self._json(url, status=409)
        empty = self.server.uploads / name / "empty"
        empty.mkdir(parents=True)
        made = self.server.new_repository({"0" * 40: empty}, {"main": "0" * 40})
        self.server.repositories[name] = made
        return self._json(url)

    def _validate(self, _: str, __: str) -> None:
        text = json.loads(self._body)["content"]
        head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        fields = yaml.safe_load(head[1]) if head else None
        if not isinstance(fields, dict) or "license" not in fields:
            return self._error("BadRequest", status=400)
        return self._json({"errors": [], "warnings": []})

    def _preupload(self, name: str, _: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith("tensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self._body)["files"]
        ]
        self._json({"files": files})

    def _batch(self, name: str, _: str) -> None:
        host = f"http://{self.headers['Host']}"
        objects = [
            {**one, "actions": {"upload": {"href": f"{host}/lfs/{one['oid']}"}}}
            for one in json.loads(self._body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _large(self, oid: str, _: str) -> None:
        assert hashlib.sha256(self._body).hexdigest() == oid
        (self.server.uploads / oid).write_bytes(self._body)
        self._json({})

    def _commit(self, name: str, branch: str) -> None:
        repository = self.server.repositories[name]
        if branch not in repository.branches:
            return self._error("RevisionNotFound")
        commit = hashlib.sha1(self._body).hexdigest()
        folder = self.server.uploads / name / commit
        parent = repository.commits[repository.branches[branch]]
        shutil.copytree(parent, folder, dirs_exist_ok=True)
        for line in self._body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                content = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                content = (self.server.uploads / item["value"]["oid"]).read_bytes()
            else:
                continue
            _write(folder / item["value"]["path"], content)
        repository.commits[commit] = folder
        repository.branches[branch] = commit
        url = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        return self._json({"commitUrl": url, "commitOid": commit})


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
