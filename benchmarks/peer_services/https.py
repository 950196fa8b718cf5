"""HTTPS on loopback for the peers: both ends, with keep-alive."""

import json
import socket
import ssl
import sys

import httpx
import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI, certificate: str, private_key: str) -> None:
    """Serve until the process is ended; its first line of output names the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=600,
    )
    json.dump({"port": listening.getsockname()[1]}, sys.stdout)
    print(flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def connection(authority: str, port: int) -> httpx.Client:
    """A client's connection to a server whose certificate an authority signed."""
    return httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        verify=ssl.create_default_context(cafile=authority),
        timeout=120,
        limits=httpx.Limits(keepalive_expiry=None),
    )
