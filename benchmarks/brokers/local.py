"""Apache Kafka as a process of this machine's Java: no container, no root, and free to be killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from benchmarks.brokers.node import (
    CLUSTER_ID,
    HOST,
    RECIPE,
    STARTED,
    VERSION,
    BrokerDied,
    BrokerUnavailable,
    Ports,
    server_properties,
)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream-allocator"


def kafka_jars() -> Path:
    """Folder of the broker's jars, fetched by Maven the first time and kept in the user's cache.

    Raises
    ------
    BrokerUnavailable
        When they are not there and Maven is missing or fails.
    """
    cache = _cache()
    jars = cache / f"kafka-{VERSION}"
    if jars.is_dir():
        return jars
    if shutil.which("mvn") is None:
        raise BrokerUnavailable("Maven (mvn) is not on the PATH, and it fetches the jars of Apache Kafka")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        target = Path(scratch, "libs")
        fetch = ["mvn", "-q", "-B", "-f", str(RECIPE / "pom.xml"), f"-Dkafka.version={VERSION}"]
        fetch += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        done = subprocess.run(fetch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise BrokerUnavailable(f"Maven could not fetch the jars of Apache Kafka: {done.stdout[-500:]}")
        with contextlib.suppress(OSError):  # another run was first: its folder is as good
            target.rename(jars)
    return jars


def java() -> str:
    """The machine's Java, 17 or later, or `BrokerUnavailable`."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if program is None:
        raise BrokerUnavailable("Java is not on the PATH")
    answer = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', answer)
    if version is None or int(version[1]) < 17:
        raise BrokerUnavailable(
            f"Apache Kafka {VERSION} needs Java 17 or later; {program} says {answer[:60]!r}"
        )
    return program


class LocalKafka:
    """One Apache Kafka broker as a process, on the loopback interface, made to be mistreated.

    Ports and data stay the same between `start` and `start`, so that clients find it again; `close`
    (or leaving the `with` block) removes the data. The broker dies with the process that started it,
    even when that one is killed.

    Parameters
    ----------
    directory
        Folder for data and log, kept afterwards; by default a temporary one.
    ports
        Where it listens; by default on free ports.
    settings
        Further entries of server.properties, over those of `server_properties`.
    heap
        The JVM's heap, as for -Xmx.
    within
        Command that runs the broker's own, such as one that enters a namespace.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        heap: str = "512m",
        within: Sequence[str] = (),
    ) -> None:
        self._java, self._classpath = java(), f"{kafka_jars()}/*"
        self._temporary = tempfile.TemporaryDirectory(prefix="kafka-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".").absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / "broker.log"
        self._properties = self.directory / "server.properties"
        ports = ports or Ports.free()
        self.bootstrap_servers = f"{HOST}:{ports.client}"
        lines = server_properties(ports) | {"log.dirs": str(self.directory / "data")} | dict(settings or {})
        self._formatted = (self.directory / "data" / "meta.properties").exists()
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        # the JVM keeps what it has loaded when it first ends in an orderly way; later starts cost 40% less
        program = Path(self._java).resolve()
        tag = hashlib.sha256(f"{program} {program.stat().st_mtime_ns}".encode()).hexdigest()[:8]
        self._classes = _cache() / f"kafka-{VERSION}-{tag}.jsa"
        self._draft = self._classes.with_suffix(f".{os.getpid()}-{id(self)}")
        self._heap = heap
        self._within = list(within)
        self._seen = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running broker, or None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout: float = 60.0) -> Self:
        """Start the broker (on the data of its last run, if any) and wait until it serves clients.

        Raises
        ------
        BrokerDied
            When it ends, or is not up in `timeout` seconds.
        """
        self.launch()
        self.wait_until_started(timeout)
        return self

    def launch(self) -> None:
        """Start the broker and return at once: a node of a cluster is not up before others are."""
        if self.pid is not None:
            raise RuntimeError("the broker is running already")
        with self.log.open("ab") as log:
            self._seen = log.tell()
            if not self._formatted:
                tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
                tool.append("--ignore-formatted")
                if subprocess.run(self._command("64m", *tool), stdout=log, stderr=log).returncode:
                    raise BrokerDied(f"the storage cannot be formatted\n{self._last_words()}")
                self._formatted = True
            known = self._classes.exists()
            archive = f"SharedArchiveFile={self._classes}" if known else f"ArchiveClassesAtExit={self._draft}"
            self._process = subprocess.Popen(
                self._command(self._heap, f"-XX:{archive}", "kafka.Kafka", str(self._properties)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        # `read` ends when the pipe closes, which the kernel does when our process ends, however it ends
        watch = ["sh", "-c", f"trap '' INT TERM; read _; kill -9 {self._process.pid} 2>/dev/null"]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)

    def wait_until_started(self, timeout: float = 60.0) -> None:
        """Wait until a launched broker serves clients; kill it, and raise `BrokerDied`, when it does not."""
        deadline = time.monotonic() + timeout
        while STARTED not in self.words():
            if self.pid is None or time.monotonic() > deadline:
                words = self._last_words()
                self.kill()
                raise BrokerDied(f"the broker did not start in {timeout:.0f} s\n{words}")
            time.sleep(0.05)

    def words(self) -> str:
        """What it has logged since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._seen)
            return log.read().decode(errors="replace")

    def stop(self, timeout: float = 30.0) -> None:
        """End it in an orderly way (SIGTERM); kill it when that takes more than `timeout` seconds."""
        if self._process is None:
            return
        if self.pid is not None:
            self.resume()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
                if self._draft.exists():
                    self._draft.rename(self._classes)
        self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would. Nothing happens where it does not run."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers, as when a machine hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and remove its data where the folder was a temporary one."""
        self.kill()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self.pid is None:
            raise RuntimeError("the broker is not running")
        self._process.send_signal(number)

    def _command(self, heap: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={RECIPE}/image/etc/kafka/docker/log4j2.yaml"
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [*self._within, self._java, f"-Xmx{heap}", *quick, "-cp", self._classpath, logging, *arguments]

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
