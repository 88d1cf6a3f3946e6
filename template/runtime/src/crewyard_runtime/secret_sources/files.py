"""Files of a directory, one for each variable, as Compose and Kubernetes mount secrets."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from crewyard_runtime.secret_sources.source import SecretsNotRead

LARGEST = 65_536  # bytes, as in the clouds' managers


class Directory:
    """The files of a directory, named like variables in any case. A directory that is not there has none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, Path] = {}
        self.place = f"the files of {directory}"
        try:
            found = sorted(file.name for file in directory.iterdir())
        except FileNotFoundError:
            self.place, found = "", []  # a laptop
        except OSError as error:
            problem = f"{directory} cannot be listed by uid {os.geteuid()}: {error.strerror}"
            raise SecretsNotRead("SECRETS_DIR", problem, "SECRETS_DIR=/run/secrets") from None
        for name in found:
            self._files.setdefault(name.upper(), directory / name)

    def names(self) -> Collection[str]:
        """The names of the files, in upper case; also of what turns out to be none."""
        return self._files.keys()

    def read(self, name: str) -> str:
        """The text of a file, without the white space around it. Raises SecretsNotRead."""
        try:
            return _text(self._files[name])
        except _NoSecret as error:
            raise SecretsNotRead(name, f"its file {self._files[name]} {error}") from None


class _NoSecret(Exception):
    pass


def _text(path: Path) -> str:
    content = _content(path)
    if len(content) > LARGEST:
        msg = f"has more than {LARGEST:,} bytes: put the secret itself there"
        raise _NoSecret(msg)
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        msg = "is no UTF-8 text: put the secret itself there"
        raise _NoSecret(msg) from None


def _content(path: Path) -> bytes:
    try:
        # Without waiting: a pipe would keep the start for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            kind = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(kind):
                raise _NoSecret(_what_it_is(kind))
            return file.read(LARGEST + 1)
    except PermissionError:
        msg = (
            f"cannot be read by uid {os.geteuid()}: give it to that user (chown), or let all read it (chmod 0444) in a "
            "directory that is closed to others"
        )
        raise _NoSecret(msg) from None
    except IsADirectoryError:
        raise _NoSecret(_what_it_is(stat.S_IFDIR)) from None
    except FileNotFoundError:
        msg = "is a link to nothing: make the secret, and mount it again"
        raise _NoSecret(msg) from None
    except OSError as error:
        msg = f"cannot be read: {error.strerror}"
        raise _NoSecret(msg) from None


def _what_it_is(kind: int) -> str:
    if stat.S_ISDIR(kind):
        return "is a directory, which Docker makes where a file to mount is missing: make the file, and start it again"
    return "is no file: put a file there"
