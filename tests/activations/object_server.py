"""A bucket on loopback that speaks as much of the GCS and S3 protocols as is needed.

Conditions on writes and deletions are kept, as both clouds keep them.
"""

import http.server
import json
import threading
import urllib.parse

REFUSED = {  # buckets that cannot be used -> status, code
    "forbidden": (403, "AccessDenied"),
    "missing": (404, "NoSuchBucket"),
    "full": (507, "InsufficientStorage"),
    "quota": (403, "QuotaExceeded"),
    "busy": (503, "SlowDown"),
}


class ObjectServer(http.server.ThreadingHTTPServer):
    """Holds objects in memory: `objects` maps a key to (bytes, generation)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.generation = 0
        self.one = threading.Lock()
        self.refused = 0  # conditional writes that lost
        self.writes_left: int | None = None  # more are refused
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def parse_request(self):  # buckets of these names cannot be used
        if not super().parse_request():
            return False
        for name, (code, said) in REFUSED.items():
            if f"{name}-bucket" in self.path:
                self._body()
                self._answer(code, f"<Error><Code>{said}</Code></Error>".encode())
                return False
        return True

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _is_spent(self) -> bool:
        """Whether writes are refused from now on."""
        with self.server.one:
            left = self.server.writes_left
            if left:
                self.server.writes_left = left - 1
        if left == 0:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        return left == 0

    def _put(self, key: str, body: bytes | None, wanted: str | None) -> str | None:
        """Write or delete an object; None where it has not the wanted generation."""
        with self.server.one:
            _, found = self.server.objects.get(key, (b"", 0))
            if wanted is not None and str(found) != wanted:
                self.server.refused += 1
                return None
            if body is None:
                self.server.objects.pop(key, None)
                return ""
            self.server.generation += 1
            self.server.objects[key] = (body, self.server.generation)
            return str(self.server.generation)

    def _condition(self) -> str | None:
        """S3: the generation that the object must have, 0 for none."""
        if self.headers.get("If-None-Match") == "*":
            return "0"
        match = self.headers.get("If-Match")
        return None if match is None else match.strip('"')

    def _get(self, key: str) -> None:
        if key not in self.server.objects:
            self._answer(404)
            return
        body, generation = self.server.objects[key]
        tag = {"ETag": f'"{generation}"', "x_goog_generation": str(generation)}
        self._answer(200, body, **tag)

    def do_POST(self):  # GCS: /upload/storage/v1/b/BUCKET/o?name=KEY
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        key, wanted = query["name"][0], query.get("ifGenerationMatch", [None])[0]
        generation = self._put(key, self._body(), wanted)
        if generation is None:
            self._answer(412)
            return
        answer = json.dumps({"name": key, "generation": generation}).encode()
        self._answer(200, answer, Content_Type="application/json")

    def do_PUT(self):  # S3: /BUCKET/KEY
        key = urllib.parse.unquote(self.path).split("/", 2)[2]
        body = self._body()
        if self._is_spent():
            return
        generation = self._put(key, body, self._condition())
        if generation is None:
            self._answer(412)
        else:
            self._answer(200, ETag=f'"{generation}"')

    def do_DELETE(self):  # GCS: /storage/v1/b/BUCKET/o/KEY; S3: /BUCKET/KEY
        if self._is_spent():
            return
        parts = urllib.parse.urlparse(self.path)
        if parts.path.startswith("/storage/v1/"):
            key = urllib.parse.unquote(parts.path.split("/o/", 1)[1])
            query = urllib.parse.parse_qs(parts.query)
            wanted = query.get("ifGenerationMatch", [None])[0]
        else:
            key = urllib.parse.unquote(parts.path).split("/", 2)[2]
            wanted = self._condition()
        self._answer(412 if self._put(key, None, wanted) is None else 204)

    def _list(self, query: dict[str, list[str]]) -> None:
        """GCS: keys from startOffset to endOffset; S3: those of a prefix."""
        keys = sorted(self.server.objects)
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
                for key in keys
                if key.startswith(prefix)
            )
            end = "<IsTruncated>false</IsTruncated>"
            body = f"<ListBucketResult>{end}{found}</ListBucketResult>"
            self._answer(200, body.encode(), Content_Type="application/xml")
            return
        low, high = (query.get(end, [""])[0] for end in ("startOffset", "endOffset"))
        items = [{"name": k} for k in keys if low <= k and (not high or k < high)]
        body = json.dumps({"items": items}).encode()
        self._answer(200, body, Content_Type="application/json")

    def do_GET(self):  # GCS: /storage/v1/b/BUCKET/o/KEY; S3: /BUCKET/KEY
        parts = urllib.parse.urlparse(self.path)
        path, query = parts.path, urllib.parse.parse_qs(parts.query)
        if path.endswith("/o") or "list-type" in query:
            self._list(query)
        elif path.startswith("/storage/v1/"):
            self._get(urllib.parse.unquote(path.split("/o/", 1)[1]))
        else:
            self._get(urllib.parse.unquote(path).split("/", 2)[-1])

    def do_HEAD(self):  # S3 asks for the bucket's region, and checks before deleting
        key = urllib.parse.unquote(self.path).split("/", 2)[2:]
        if not key:
            self._answer(200, x_amz_bucket_region="us-east-1")
        elif key[0] not in self.server.objects:
            self._answer(404)
        else:
            found = str(self.server.objects[key[0]][1])
            self._answer(200 if self._condition() in (None, found) else 412)
