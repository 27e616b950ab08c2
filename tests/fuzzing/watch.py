"""Who opens what: Python's audit events for this process, inotify for everybody on one folder. Linux only."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_ALL = 0x00000FFF  # every event of inotify(7)


class FolderWatch:
    """Notices every access to a folder's entries by any code of any process, native code too."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or self._libc.inotify_add_watch(self._descriptor, bytes(folder), _ALL) < 0:
            raise OSError(ctypes.get_errno(), f"inotify refuses {folder}")

    def seen(self) -> list[str]:
        """What was touched since the last call; an entry's name, or the empty string for the folder itself."""
        names = []
        while True:
            try:
                content = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return names
            at = 0
            while at < len(content):
                _, _, _, length = struct.unpack_from("iIII", content, at)
                names.append(content[at + 16 : at + 16 + length].rstrip(b"\0").decode())
                at += 16 + length


class Audit:
    """Files that Python code opened, and programs it started, while on."""

    def __init__(self) -> None:
        self.is_on = False
        self.opened: list[tuple[str, bool]] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_on:
            return
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            flags = arguments[2]
            writes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self.opened.append((os.fsdecode(arguments[0]), writes))
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod"):
            self.opened += [(os.fsdecode(a), True) for a in arguments[:2] if isinstance(a, (str, bytes))]
        elif event in ("os.exec", "os.system", "socket.connect") or (
            event == "subprocess.Popen" and "sandboxed.py" not in str(arguments[1])
        ):
            self.opened.append((f"{event} {arguments[:2]}", True))
