"""A server of S3 by moto, in a process of its own.

Its `moto_server` is that of the tests' own environment, or $MOTO_SERVER: versions
before 5.2.5 take the right key for a wrong one.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from helix_jax.storage import list_keys, open_folder, read_many

ROOT = Path(__file__).parents[2]


class Moto:
    """A running server; its buckets go with it."""

    def __init__(self):
        own = Path(sys.executable).with_name("moto_server")
        program = shutil.which(os.environ.get("MOTO_SERVER", own))
        if program is None:
            pytest.skip("needs moto_server: pip install 'moto[server]>=5.2.5'")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = [program, "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self):
        for _ in range(300):
            with contextlib.suppress(OSError):
                self.ask("/bucket", method="PUT")
                return self
            time.sleep(0.2)
        raise TimeoutError("moto_server does not listen")

    def __exit__(self, *error):
        self._server.terminate()
        self._server.wait()

    def ask(self, path, data=None, method=None, service="s3"):
        """One request, as nobody; the answer's body."""
        scope = f"Credential=x/20250101/us-east-1/{service}/aws4_request"
        request = urllib.request.Request(self.url + path, data, method=method)
        signed = f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"
        request.add_header("Authorization", signed)
        if path.startswith("/moto-api"):  # a form is not read there
            request.add_header("Content-Type", "text/plain")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def make_key(self):
        """A key that may do everything; from then on others may do nothing."""

        def act(**words):
            words |= {"Version": "2010-05-08", "UserName": "user"}
            return self.ask("/", urllib.parse.urlencode(words).encode(), service="iam")

        act(Action="CreateUser")
        every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [every]})
        act(Action="PutUserPolicy", PolicyName="all", PolicyDocument=policy)
        made = act(Action="CreateAccessKey")
        names = ("AccessKeyId", "SecretAccessKey")
        key = tuple(re.search(f"<{one}>(.+?)</{one}>", made)[1] for one in names)
        self.ask("/moto-api/reset-auth", b"0", method="POST")
        return key


def bucket_environment(url, key=("nobody", "nothing")):
    """The variables of a process whose s3:// is a server on loopback."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key[0],
        "AWS_SECRET_ACCESS_KEY": key[1],
        "AWS_REGION": "us-east-1",  # moto fails where a client asks for it
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def objects(place, monkeypatch, url):
    """What lies there."""
    for name, value in bucket_environment(url).items():
        monkeypatch.setenv(name, value)
    folder = open_folder(place)
    keys = list_keys(folder)
    return dict(zip(keys, read_many(folder, keys)))
