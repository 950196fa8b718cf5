"""A headless Chromium, driven by ChromeDriver's own HTTP."""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

WAIT_SECONDS = 60.0
_SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"),
    *("--disable-component-update", "--disable-sync", "--no-proxy-server"),
)


class Browser:
    """One window."""

    def __init__(self, http: httpx2.Client, session: str):
        self._http, self._session = http, session

    def ask(self, method: str, what: str, body: Any = None) -> Any:
        """A command of WebDriver; its value."""
        answer = self._http.request(
            method, f"/session/{self._session}/{what}", json=body
        )
        value = answer.json()["value"]
        assert answer.is_success, value
        return value

    def develop(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self.ask("POST", "goog/cdp/execute", body)

    def open(self, url: str, *, width: int = 1400, dark: bool = False) -> None:
        """Go to a page, and wait until it is there.

        The page that is left is marked: one of the same address is not taken for it.
        """
        self.run("window.isLeft = true")
        self.develop(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.develop("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("POST", "url", {"url": url})
        self.wait("return !window.isLeft && document.readyState === 'complete'")

    def run(self, script: str, *words: Any) -> Any:
        """The value of a function's body in the page."""
        return self.ask("POST", "execute/sync", {"script": script, "args": words})

    def text(self, selector: str) -> str:
        """What a person reads in an element."""
        return self.run(
            "return document.querySelector(arguments[0]).innerText", selector
        )

    def wait(self, script: str, *words: Any) -> Any:
        """Run a script until its value is true; the value."""
        end = time.monotonic() + WAIT_SECONDS
        while not (found := self.run(script, *words)):
            assert time.monotonic() < end, f"never true: {script}\n{self.text('body')}"
            time.sleep(0.02)
        return found

    def element(self, selector: str) -> str:
        """An element, for commands about it."""
        body = {"using": "css selector", "value": selector}
        (found,) = self.ask("POST", "element", body).values()
        return f"element/{found}"

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.ask("POST", f"{self.element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Click on something."""
        self.ask("POST", f"{self.element(selector)}/click", {})

    def complaints(self) -> list[str]:
        """What the console said since it was asked before."""
        return [
            one["message"] for one in self.ask("POST", "se/log", {"type": "browser"})
        ]

    def requested(self) -> list[str]:
        """The addresses that were asked for since this was asked before.

        Without those of the browser's own pages, such as that of a new tab.
        """
        lines = self.ask("POST", "se/log", {"type": "performance"})
        events = [json.loads(line["message"])["message"] for line in lines]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
            and not event["params"]["documentURL"].startswith("chrome")
        ]

    def screenshot(self) -> bytes:
        """The whole page, as PNG."""
        taken = self.develop("Page.captureScreenshot", captureBeyondViewport=True)
        return b64decode(taken["data"])


@contextlib.contextmanager
def browsing(pin: str) -> Iterator[Browser]:
    """A browser that takes a server's certificate by the pin of its key alone.

    Args:
      pin: "sha256/...".
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver: the page is not seen in a browser")
    with tempfile.TemporaryDirectory() as folder:
        switches = [
            *_SWITCHES,
            f"--user-data-dir={folder}",
            f"--ignore-certificate-errors-spki-list={pin.removeprefix('sha256/')}",
        ]
        wanted = {
            "goog:chromeOptions": {"binary": chromium, "args": switches},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, text=True
        )
        try:
            lines = iter(process.stdout.readline, "")
            found = (re.search(r"started successfully on port (\d+)", x) for x in lines)
            port = next(one[1] for one in found if one)
            url = f"http://127.0.0.1:{port}"
            with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
                body = {"capabilities": {"alwaysMatch": wanted}}
                begun = http.post("/session", json=body).json()["value"]
                assert "sessionId" in begun, begun
                try:
                    yield Browser(http, begun["sessionId"])
                finally:
                    http.delete(f"/session/{begun['sessionId']}")
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)
            process.stdout.close()
