"""What code printed, as much of it as is handed back: it may print without end."""

import codecs
import os
import select
import subprocess
import time

MOST = 19_500  # characters that are handed back; the sandbox's notes have the rest of 20,000
HEAD = 10_000
TAIL = MOST - HEAD
CHUNK = 65_536  # bytes


class BoundedText:
    """The beginning and the end of a text that comes in pieces; holds no more than 20,000 characters and a piece."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._head = ""
        self._tail = ""
        self._characters = 0

    def add(self, piece: bytes, last: bool = False) -> None:
        """Take the next bytes, of UTF-8; what is none of it becomes U+FFFD."""
        text = self._decoder.decode(piece, last)
        self._characters += len(text)
        room = MOST - len(self._head) if len(self._head) < MOST and not self._tail else 0
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-TAIL:]

    def text(self) -> str:
        """All of it, or its beginning and its end with a note in between, of how many characters were cut."""
        self.add(b"", last=True)
        if not self._tail:
            return self._head
        end = (self._head[HEAD:] + self._tail)[-TAIL:]
        return f"{self._head[:HEAD]}\n[{self._characters - HEAD - len(end)} characters were cut here.]\n{end}"


def read_output(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[str, bool]:
    """What the process prints to its end, and whether that did not come within `seconds`; then it is killed."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    output, end = BoundedText(), time.monotonic() + seconds
    ended = False
    try:
        while not ended and (left := end - time.monotonic()) > 0:
            if poll.poll(left * 1_000):
                piece = os.read(pipe, CHUNK)
                output.add(piece)
                ended = not piece
    finally:
        if not ended:
            process.kill()
    return output.text(), not ended
