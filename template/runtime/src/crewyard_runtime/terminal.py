"""What a terminal shows of data that somebody else wrote, for every command that prints for people."""

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 132  # columns; the ids of runs are wide
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: object) -> str:
    """The text without the characters by which a model's answer could drive the terminal: they are shown as `\\x1b`."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text))


def moment(at: datetime | None) -> str:
    """A time as the reader's clock shows it, to the second; empty for none."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""


def console() -> "Console":
    """Where tables are printed: standard output, never narrower than a run's id needs, and nothing in it is markup."""
    from rich.console import Console

    made = Console(markup=False, highlight=False)
    made.width = max(made.width, NARROWEST)
    return made


def print_table(columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    """Print rows under their columns. The first column is never cut: it is what other commands take."""
    from rich.table import Table

    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    console().print(table)


def command_name() -> str:
    """How the user called this command."""
    name = Path(sys.argv[0]).name
    return "python -m crewyard_runtime" if name == "__main__.py" else name


def readable_log(line: str) -> str:
    """A line of a JSON log as time, level, message and run; any other line as it is."""
    try:
        entry = json.loads(line)
        at = datetime.fromisoformat(entry["timestamp"]).astimezone().strftime("%H:%M:%S")
        run = f" run={entry['run_id'][:8]}" if entry.get("run_id") else ""
        trace = f"\n{entry['exc_info']}" if entry.get("exc_info") else ""
        return f"{at} {entry['level']} {entry['message']}{run}{trace}"
    except (ValueError, TypeError, KeyError):
        return line
