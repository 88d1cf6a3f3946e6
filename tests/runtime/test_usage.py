"""What a run has used: tokens add up, and a cost that is not known is not taken for nothing."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from crewyard_runtime.usage import Usage, UsageMeter, price_usd

KNOWN, UNKNOWN = "openai/gpt-4o-mini", "openai/a-model-that-nobody-sells"
THREADS, CALLS = 8, 200


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that take turns after every few instructions, so that an update without a lock gets lost."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient_threads")
def test_the_calls_of_all_threads_are_counted() -> None:
    meter, together = UsageMeter(), Barrier(THREADS)

    def work(_: int) -> None:
        together.wait(timeout=10)
        for _ in range(CALLS):
            meter.add(UNKNOWN, (3, 2))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    calls = THREADS * CALLS
    assert meter.total == Usage(model_calls=calls, prompt_tokens=3 * calls, completion_tokens=2 * calls, cost_usd=None)
    assert meter.total.tokens == 5 * calls


def test_nothing_used_costs_nothing() -> None:
    assert UsageMeter().total == Usage(cost_usd=0)


@pytest.mark.parametrize(
    "model",
    [
        KNOWN,
        "gpt-4o",
        "openai/gpt-4o",
        "anthropic/claude-sonnet-4-0",
        "openrouter/openai/gpt-4o",
        "deepseek/deepseek-chat",
    ],
)
def test_a_model_in_the_price_list_has_a_price(model: str) -> None:
    price = price_usd(model, 1_000, 1_000)
    assert price is not None
    assert 0 < price < 1


def test_prices_of_calls_add_up() -> None:
    meter, once = UsageMeter(), price_usd(KNOWN, 1_000, 500)
    assert once
    for _ in range(3):
        meter.add(KNOWN, (1_000, 500))
    assert meter.total.cost_usd == pytest.approx(3 * once)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [(UNKNOWN, (10, 10)), ("ollama/llama3", (10, 10)), ("nobody/x", (10, 10)), (KNOWN, None)],
    ids=["no such model", "no price list", "no such provider", "tokens not told"],
)
def test_one_call_without_a_price_makes_the_cost_of_the_run_unknown(model: str, tokens: tuple[int, int] | None) -> None:
    meter = UsageMeter()
    for each in ((KNOWN, (1_000, 500)), (model, tokens), (KNOWN, (1_000, 500))):
        meter.add(*each)
    assert meter.total.cost_usd is None
    assert meter.total.model_calls == 3
    assert meter.total.prompt_tokens == 2_000 + (tokens or (0, 0))[0]


def test_a_total_that_was_taken_is_apart_from_the_meter() -> None:
    meter = UsageMeter()
    before = meter.total
    meter.add(KNOWN, (1, 1))
    assert before.model_calls == 0
    before.model_calls = 99
    meter.total.model_calls = 99
    assert meter.total.model_calls == 1
