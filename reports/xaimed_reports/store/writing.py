"""Files that are whole or not there, and files that one process alone writes."""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, final

from xaimed_reports.store.jsonform import UnusableError


def resolved(path: Path) -> Path:
    """Where links lead. One that leads to itself stays as it is: `Path.resolve` would raise RuntimeError for it."""
    return Path(os.path.realpath(path))


@contextmanager
def aside(path: Path) -> Generator[Path]:
    """Where to write what is to become ``path``: a file beside it, renamed at the end, removed where an error comes.

    A reader sees the old content or the new one. What is no regular file (/dev/stdout, a pipe) is written as it is.
    """
    target = resolved(path)  # a link is kept, its target replaced
    if target.exists() and not target.is_file():
        yield target
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write by `aside`, a text with one line break at its end. An OSError names the file."""
    raw = content if isinstance(content, bytes) else f"{content.rstrip(chr(10))}\n".encode()
    try:
        with aside(path) as beside:
            beside.write_bytes(raw)
    except OSError as error:  # of a full disk names none
        error.filename = error.filename or str(path)
        raise


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """Keep other runs that ask for it out of a folder, which is made where missing, until the end or the process's.

    Raises UnusableError where another run is in it. The lock leaves no file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(place)
        raise UnusableError(
            f"{folder} is in use by another run; wait for its end, or give another folder"
        ) from error
    except OSError as error:  # a network's file system
        why = f"{folder} cannot be locked ({error.strerror}): start no other run that writes there"
        warnings.warn(why, stacklevel=3)
    try:
        yield
    finally:
        os.close(place)


@final
class Held:
    """A file that this process alone writes, as a context; made where it is missing.

    The lock dies with the process, however that ends, and leaves nothing behind.
    Raises UnusableError where another process holds the file, and OSError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file: IO[bytes] = path.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.file.close()
            raise UnusableError(
                f"{path.name}: another run is writing it; wait for its end, or give this one another name"
            ) from error

    def close(self) -> None:
        """Let others write."""
        with suppress(OSError):  # a full disk refuses again what it refused when it was written
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
