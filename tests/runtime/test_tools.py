"""What every tool call goes through: a time limit, retries of what is transient, and few calls at once."""

import asyncio
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
import requests
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.tools import ToolFailed, ToolGuard, is_transient
from drawbridge import BlockedAddressError

INTERNAL = BlockedAddressError("crm", ipaddress.IPv4Address("10.0.0.1"), "private")
CALLERS = 12
PATIENCE = 10  # seconds, after which a test that waits for its threads gives up


def guard(**limits: Any) -> ToolGuard:
    return ToolGuard(RunLimits(**limits))


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """An event that is not set before the test is over, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


class Failing:
    """A tool that raises its errors one after the other, and answers when none is left."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.called_at: list[float] = []

    def __call__(self) -> str:
        self.called_at.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        return "an answer"


def thread_of(tool: str) -> threading.Thread:
    """The thread in which a tool's call goes on."""
    return next(thread for thread in threading.enumerate() if thread.name == f"tool-{tool}")


def test_a_call_gives_what_the_function_returns() -> None:
    assert guard().call("search", lambda *args, **kwargs: (args, kwargs), 1, two=2) == ((1,), {"two": 2})


def test_a_coroutine_function_is_awaited() -> None:
    async def search(text: str) -> str:
        await asyncio.sleep(0)
        return f"found {text}"

    assert guard().call("search", search, "it") == "found it"


def test_a_call_sees_the_context_of_its_caller() -> None:
    customer: ContextVar[str] = ContextVar("customer", default="nobody")
    customer.set("alice")
    assert guard().call("who", customer.get) == "alice"


def test_a_call_that_takes_too_long_is_given_up(let_go: threading.Event) -> None:
    with pytest.raises(ToolFailed, match=r"^The tool crm gave no answer within 0\.05 seconds\. Go on without it"):
        guard(tool_seconds=0.05).call("crm", let_go.wait, PATIENCE)


def test_the_wait_for_a_slot_counts_and_what_waited_in_vain_is_never_called(let_go: threading.Event) -> None:
    only_one = guard(tool_seconds=0.05, tool_concurrency=1)
    with pytest.raises(ToolFailed):
        only_one.call("first", let_go.wait, PATIENCE)
    second = Failing()
    with pytest.raises(ToolFailed, match="The tool second gave no answer within"):
        only_one.call("second", second)
    waiting = thread_of("second")
    let_go.set()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert not second.called_at


def test_a_transient_error_is_tried_again_with_longer_and_longer_waits() -> None:
    tool = Failing(ConnectionError("refused"), httpx.ReadTimeout("slow"))
    assert guard(tool_retries=2).call("search", tool) == "an answer"
    first, second, third = tool.called_at
    assert second - first >= 0.2
    assert third - second >= 0.4


@pytest.mark.parametrize("retries", [0, 1])
def test_after_its_retries_a_call_fails_with_the_last_error(retries: int) -> None:
    errors = [ConnectionError(f"refused {number}") for number in range(5)]
    tool = Failing(*errors)
    with pytest.raises(ToolFailed) as failed:
        guard(tool_retries=retries).call("search", tool)
    assert len(tool.called_at) == 1 + retries
    assert str(failed.value) == f"The tool search failed: ConnectionError: refused {retries}."
    assert failed.value.__cause__ is errors[retries]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("crm"), "The tool search failed: KeyError: 'crm'."),
        (ValueError(), "The tool search failed: ValueError: no details."),
        (INTERNAL, "The tool search failed: BlockedAddressError: crm blocked: 10.0.0.1 is private."),
    ],
)
def test_a_permanent_error_is_not_tried_again(error: Exception, sentence: str) -> None:
    tool = Failing(error)
    with pytest.raises(ToolFailed) as failed:
        guard().call("search", tool)
    assert len(tool.called_at) == 1
    assert str(failed.value) == sentence
    assert failed.value.__cause__ is error


def test_a_time_out_of_the_tools_own_is_not_told_as_ours() -> None:
    with pytest.raises(ToolFailed, match=r"^The tool search failed: TimeoutError: the CRM is slow\.$"):
        guard(tool_retries=0).call("search", Failing(TimeoutError("the CRM is slow")))


@pytest.mark.parametrize("end", [SystemExit, asyncio.CancelledError])
def test_a_tool_that_exits_or_is_cancelled_fails_and_ends_nothing_else(end: type[BaseException]) -> None:
    async def convert() -> None:
        raise end("usage: convert FILE")

    with pytest.raises(ToolFailed, match=rf"^The tool convert failed: {end.__name__}: usage: convert FILE\.$"):
        guard().call("convert", convert)


def test_a_call_given_up_while_it_works_is_not_tried_again(let_go: threading.Event) -> None:
    calls: list[str] = []

    def drops() -> None:
        calls.append("called")
        let_go.wait(PATIENCE)
        raise ConnectionError("dropped")

    with pytest.raises(ToolFailed, match="gave no answer"):
        guard(tool_seconds=0.05).call("order", drops)
    thread = thread_of("order")
    let_go.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert calls == ["called"]


def test_a_call_given_up_between_two_tries_is_not_tried_again() -> None:
    tool = Failing(ConnectionError("refused"))
    with pytest.raises(ToolFailed, match="gave no answer"):
        guard(tool_seconds=0.1).call("order", tool)
    for thread in threading.enumerate():
        if thread.name == "tool-order":
            thread.join(PATIENCE)
    assert len(tool.called_at) == 1


def call_all(tool: Callable[[], Any], limits: ToolGuard) -> list[Any]:
    """What 12 callers get who call at the same moment; an exception for a call that failed."""
    together = threading.Barrier(CALLERS)

    def one(_: int) -> Any:
        together.wait(PATIENCE)
        try:
            return limits.call("search", tool)
        except ToolFailed as error:
            return error.__cause__

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(one, range(CALLERS)))


@pytest.mark.parametrize("at_once", [1, 4])
def test_as_many_calls_as_allowed_go_on_at_once(at_once: int) -> None:
    meeting = threading.Barrier(at_once, timeout=PATIENCE)
    places = call_all(meeting.wait, guard(tool_concurrency=at_once))
    assert sorted(places) == sorted([*range(at_once)] * (CALLERS // at_once))


@pytest.mark.parametrize("at_once", [1, 4])
def test_one_call_more_than_allowed_never_meets_the_others(at_once: int) -> None:
    meeting = threading.Barrier(at_once + 1, timeout=0.3)
    met = call_all(meeting.wait, guard(tool_concurrency=at_once))
    assert [type(error) for error in met] == [threading.BrokenBarrierError] * CALLERS


class ApiError(Exception):
    """An error with a status, as clients of web services raise."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


def http_status(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "https://crm.example.org")
    return httpx.HTTPStatusError("refused", request=request, response=httpx.Response(status, request=request))


def requests_status(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("refused", response=response)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("refused"),
        ConnectionResetError("reset"),
        BrokenPipeError("gone"),
        TimeoutError("slow"),
        httpx.ConnectTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("closed"),
        requests.ConnectionError("refused"),
        requests.Timeout("slow"),
        *map(ApiError, (429, 500, 502, 503, 504, 529)),
        *map(http_status, (429, 503)),
        *map(requests_status, (429, 503)),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__} {error}",
)
def test_what_another_try_may_help_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("crm"),
        ValueError("no number"),
        FileNotFoundError("no file"),
        PermissionError("no"),
        httpx.InvalidURL("no URL"),
        INTERNAL,
        *map(ApiError, (400, 401, 403, 404, 409, 422)),
        *map(http_status, (400, 404)),
        *map(requests_status, (400, 404)),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__} {error}",
)
def test_what_no_other_try_will_help_is_not_transient(error: Exception) -> None:
    assert not is_transient(error)
