"""A dozen tools. Those that CrewAI makes of a function are made in a function, so that no run shares one."""

import datetime
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
from crewai.tools import BaseTool, tool
from crewyard_runtime import RunContext
from drawbridge import Policy, SyncClient
from pydantic import BaseModel, Field, PrivateAttr

ORDER = re.compile(r"\b[A-Z]{2}-[0-9]{4}\b")
VAT = {"de": Decimal("0.19"), "fr": Decimal("0.20"), "es": Decimal("0.21")}
CARRIERS = ("post", "express", "bicycle", "drone", "ship", "train")
RATES: dict[str, float] = {"eur": 1.0, "usd": 1.08, "gbp": 0.85}


class OrderNumber(BaseModel):
    """The arguments of a search."""

    number: str = Field(description="the number of the order, like AB-1234")


class FindOrder(BaseTool):
    """Searches a file of the package."""

    name: str = "FindOrderByNumber"
    description: str = "Find an order by its number."
    args_schema: type[BaseModel] = OrderNumber

    def _run(self, number: str) -> str:
        known = [line for line in _orders() if number in line]
        return known[0] if known else "There is no such order."


@cache
def _orders() -> tuple[str, ...]:
    text = files(__package__).joinpath("orders.jsonl").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line)


@cache
def _holidays(year: int = 2026) -> frozenset[datetime.date]:
    return frozenset({datetime.date(year, 1, 1), datetime.date(year, 5, 1), datetime.date(year, 12, 25)})


class FetchPage(BaseTool):
    """Fetches a page of the open web, by a client that refuses internal addresses."""

    name: str = "Fetch page"
    description: str = "Fetch the shop's page about a subject."
    seconds: float

    def _run(self, subject: str) -> str:
        with SyncClient(Policy(timeout=self.seconds)) as client:
            try:
                return str(client.get("https://shop.invalid/help", params={"about": subject}).text)
            except Exception as error:
                return f"The page is not there: {type(error).__name__}."


class Convert(BaseTool):
    """Converts a sum, with a table of its own that only this object sees."""

    name: str = "convert"
    description: str = "Convert an amount of euros to another currency (usd or gbp)."
    _asked: list[str] = PrivateAttr(default_factory=list)

    def _run(self, euros: float, currency: str = "usd") -> str:
        self._asked.append(currency)
        return f"{euros * RATES.get(currency.lower(), 1.0):.2f} {currency}, question {len(self._asked)}"


class CompareCarriers(BaseTool):
    """Asks every carrier, a few at the same time."""

    name: str = "Compare the carriers' prices"
    description: str = "Compare what carriers ask for a parcel of some kilograms."
    workers: int

    def _run(self, kilograms: float) -> dict[str, float]:
        with ThreadPoolExecutor(self.workers) as pool:
            prices = pool.map(lambda carrier: self._price(carrier, kilograms), CARRIERS)
            return dict(zip(CARRIERS, prices, strict=True))

    def _price(self, carrier: str, kilograms: float) -> float:
        time.sleep(0.01)
        return round(len(carrier) * max(kilograms, 0.1), 2)


class KeepNotes(BaseTool):
    """Keeps notes in the run's directory and reads them back."""

    name: str = "keep_a_note_about_the_customer_and_get_all_notes_of_this_run_back_again"
    description: str = "Keep a note, and get all notes of this run."
    workspace: Path

    def _run(self, note: str) -> str:
        folder = self.workspace / "notes"
        folder.mkdir(exist_ok=True)
        file = folder / "notes.jsonl"
        with file.open("a", encoding="utf-8") as notes:
            notes.write(json.dumps({"note": note}, ensure_ascii=False) + "\n")
        return file.read_text("utf-8")


class AskStatusPage(BaseTool):
    """Asks a server, by a client that is made and closed in the call."""

    name: str = "ask_status_page"
    description: str = "Ask whether the shop's systems are up."
    base_url: str

    def _run(self) -> str:
        with httpx.Client(timeout=5) as client:
            answer = client.get(f"{self.base_url}/models")
        return "All systems are up." if answer.is_success else f"The status page says {answer.status_code}."


def vat() -> BaseTool:
    """A tool of a function."""

    @tool("vat")
    def vat(amount: float, country: str) -> str:
        """The value added tax on an amount, in a country like de."""
        return str(Decimal(str(amount)) * VAT.get(country.lower(), Decimal(0)))

    return vat


def business_days() -> BaseTool:
    """A tool of a function, with a default."""

    @tool
    def business_days(days: int = 5) -> str:
        """The date that is some business days after the first of March."""
        day = datetime.date(2026, 3, 1)
        for _ in range(min(max(days, 0), 60)):
            day += datetime.timedelta(days=1)
            while day.weekday() >= 5 or day in _holidays():
                day += datetime.timedelta(days=1)
        return day.isoformat()

    return business_days


def check_number() -> BaseTool:
    """A tool of a function that uses the compiled expression of the module."""

    @tool("Check order number")
    def check(text: str) -> list[str]:
        """The order numbers in a text."""
        return ORDER.findall(text)

    return check


def list_countries() -> BaseTool:
    """A tool without arguments."""

    @tool("list_countries")
    def countries() -> str:
        """The countries we send to."""
        return ", ".join(sorted(VAT))

    return countries


def greet() -> BaseTool:
    """A tool that gives the answer itself would have `result_as_answer`; this one only greets."""

    @tool("greet")
    def hello(name: str = "customer") -> str:
        """A greeting."""
        return f"Dear {name},"

    return hello


def make_tools(run: RunContext[Any, Any]) -> tuple[BaseTool, BaseTool]:
    """Two tools that close over the run."""

    @tool("fetch_terms")
    def fetch_terms(section: str) -> str:
        """Fetch a section of our terms from our web site."""
        try:
            return str(run.http.get(f"https://terms.invalid/{len(section)}").text)
        except Exception as error:
            run.log.warning("no terms: %s", type(error).__name__)
            return "The terms are not there now."

    @tool("note_progress")
    def note_progress(step: str) -> str:
        """Tell whoever follows the run how far it is."""
        run.emit("progress", step=step, left=round(run.seconds_left()))
        return "Noted."

    return fetch_terms, note_progress
