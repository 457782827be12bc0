"""A real schema registry with Confluent's interface for tests: Apicurio as a process, state in memory."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Self

from benchmarks.brokers.local import _cache, java
from benchmarks.brokers.node import HOST, BrokerDied, BrokerUnavailable, free_ports

__all__ = ["LocalRegistry"]

#: The last line whose distribution is published as an archive; it needs Java 17.
VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:zip:all"
COMPATIBLE = "apis/ccompat/v7"
POLL_SECONDS = 0.2


def registry_folder() -> Path:
    """Folder of the registry, fetched by Maven the first time (142 MB) and kept in the user's cache.

    Raises
    ------
    BrokerUnavailable
        When it is not there and Maven is missing or fails.
    """
    cache = _cache()
    folder = cache / f"apicurio-{VERSION}"
    if folder.is_dir():
        return folder
    if shutil.which("mvn") is None:
        raise BrokerUnavailable("Maven (mvn) is not on the PATH, and it fetches the schema registry")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        target = Path(scratch, "registry")
        fetch = [
            "mvn",
            "-q",
            "-B",
            "dependency:unpack",
            f"-Dartifact={ARTIFACT}",
            f"-DoutputDirectory={target}",
        ]
        done = subprocess.run(
            fetch, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise BrokerUnavailable(f"Maven could not fetch the schema registry: {done.stdout[-500:]}")
        with contextlib.suppress(OSError):  # another run was first: its folder is as good
            target.rename(folder)
    return folder


class LocalRegistry:
    """One registry, alive while the context is, and no longer than the process that started it.

    Attributes
    ----------
    url : str
        Of the interface that Confluent's clients speak.
    """

    def __init__(self) -> None:
        self._java, self._folder = java(), registry_folder()
        (self._port,) = free_ports(1)
        self.url = f"http://{HOST}:{self._port}/{COMPATIBLE}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process does
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        (program,) = self._folder.glob("*-runner.jar")
        settings = [f"-Dquarkus.http.host={HOST}", f"-Dquarkus.http.port={self._port}"]
        small = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._process = subprocess.Popen(
            [self._java, *small, *settings, "-jar", program],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        # `read` ends when the pipe closes, which the kernel does when our process ends, however it ends
        watch = ["sh", "-c", f"trap '' INT TERM; read _; kill -9 {self._process.pid} 2>/dev/null"]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 120.0
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                words = self._log.read()[-2000:].decode(errors="replace")
                self.__exit__()
                raise BrokerDied(f"the schema registry did not start\n{words}")
            time.sleep(POLL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._process, self._watchdog):
            if process is not None:
                process.kill()
                process.communicate()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
