"""What tools reach."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import urlparse

import requests
from crewai.tools import BaseTool, tool
from crewai_tools import FileReadTool, NL2SQLTool

ROOT = Path("/srv/files")
ALLOWED_HOSTS = {"example.org"}


class FetchTool(BaseTool):
    name: str = "fetch"

    def _run(self, url: str) -> str:
        return requests.get(url.strip(), timeout=5).text  # finds F22


class ReadTool(BaseTool):
    name: str = "read"

    def _run(self, files: list[dict[str, str]]) -> str:
        for file in files:
            path = file.get("path", "")
            with open(path) as handle:  # finds F22
                handle.read()
        return ""


@tool("Query")
def query(table: str) -> str:
    """Read a table."""
    connection = sqlite3.connect(":memory:")
    connection.execute("SELECT name FROM users WHERE id = ?", (table,))
    return str(connection.execute(f"SELECT * FROM {table}").fetchall())  # finds F22


@tool("Allowed")
def allowed(url: str) -> str:
    """Fetch a page of ours."""
    if urlparse(url).hostname not in ALLOWED_HOSTS:
        return "not allowed"
    return requests.get(url, timeout=5).text  # hints F22


@tool("Inside")
def inside(name: str) -> str:
    """Read a file of ours."""
    path = (ROOT / name).resolve()
    if not path.is_relative_to(ROOT):
        return "not allowed"
    return path.read_text()


@tool("Weather")
def weather(city: str) -> str:
    """Ask one host."""
    return requests.get(f"https://weather.example.org/{city}", params={"q": city}, timeout=5).text


def not_a_tool(url: str) -> str:
    return requests.get(url, timeout=5).text


def tools() -> list[object]:
    return [
        NL2SQLTool(db_uri="postgresql://"),  # finds F22
        FileReadTool(),  # hints F22
        FileReadTool(file_path="prompt.txt"),
    ]


@tool("Read")
def read_pdf(path: str) -> str:
    """Read a PDF."""
    from pypdf import PdfReader

    return str(PdfReader(path).pages)  # finds F22


class HelpedTool(BaseTool):
    name: str = "helped"

    def _run(self, path: str) -> str:
        return self._text(path)

    def _text(self, path: str) -> str:
        with open(path) as file:  # hints F22
            return file.read()

    def other(self, path: str) -> str:
        with open(path) as file:
            return file.read()


@tool("List")
def listed(path: str) -> list[str]:
    """List a directory."""
    return os.listdir(path) + [str(one) for one in Path(path).rglob("*")]  # finds F22


@tool("List ours")
def listed_ours(pattern: str) -> list[str]:
    """List our directory."""
    return os.listdir(ROOT) + [str(one) for one in ROOT.rglob(pattern)]
