"""A disk of a few megabytes, to be filled: a file system in memory, in a mount namespace of its own.

The namespace lives in a process that does nothing, and ends with its owner: nothing stays mounted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

__all__ = ["Disk", "DiskUnavailable"]

FILLING = "filling"
BLOCK = bytes(1 << 16)


class DiskUnavailable(RuntimeError):
    """This machine lets nobody mount anything; the message has its words."""


class Disk:
    """A small file system, seen only by what runs through `within`.

    Parameters
    ----------
    folder
        Where it is mounted; made if need be.
    megabytes
        Its size.

    Raises
    ------
    DiskUnavailable
        Where no namespace or no mount is to be had.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            raise DiskUnavailable("unshare and nsenter (util-linux) are not on the PATH")
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = f"mount -t tmpfs -o size={megabytes}m disk '{folder}' && echo mounted && read _"
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", *user, "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"mounted\n":
            raise DiskUnavailable(self._keeper.communicate()[1].decode(errors="replace").strip())
        entry = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.within = ["nsenter", "--target", str(self._keeper.pid), "--mount", *entry]
        #: The same folder, seen from outside.
        self.view = Path(f"/proc/{self._keeper.pid}/root{folder.absolute()}")

    @property
    def free_bytes(self) -> int:
        """What is left on it."""
        state = os.statvfs(self.view)
        return state.f_bavail * state.f_frsize

    def fill(self) -> None:
        """Take all that is free."""
        with (self.view / FILLING).open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for block in (BLOCK, BLOCK[:4096], b"\0"):
                with contextlib.suppress(OSError):
                    while file.write(block):
                        pass

    def clear(self) -> None:
        """Give back what `fill` took."""
        (self.view / FILLING).unlink(missing_ok=True)

    def close(self) -> None:
        """End the namespace; the disk goes when the last process that entered it ends."""
        self._keeper.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
