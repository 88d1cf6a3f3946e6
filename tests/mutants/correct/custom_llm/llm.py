"""A client of a server that speaks OpenAI's protocol, as CrewAI's documentation describes it."""

import time
from typing import Any

import httpx
from crewai import LLM, BaseLLM
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import llm_call_context


class OurGateway(BaseLLM):
    """Calls our gateway with a time limit, and again after 429 and 5xx."""

    timeout: float
    max_retries: int

    @classmethod
    def like(cls, llm: LLM) -> "OurGateway":
        """With the address, the key and the limits of the run's own client."""
        given: Any = llm
        return cls(
            model=given.model,
            base_url=given.base_url,
            api_key=given.api_key,
            timeout=given.timeout,
            max_retries=given.max_retries,
        )

    def call(
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> str:
        """The model's text."""
        asked: list[Any] = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        with llm_call_context():
            self._emit_call_started_event(asked, from_task=from_task, from_agent=from_agent)
            try:
                answer = self._post([{"role": each["role"], "content": each["content"]} for each in asked])
            except Exception as error:
                self._emit_call_failed_event(str(error), from_task=from_task, from_agent=from_agent)
                raise
            text = str(answer["choices"][0]["message"]["content"])
            self._emit_call_completed_event(
                text, LLMCallType.LLM_CALL, from_task, from_agent, asked, usage=answer["usage"]
            )
        return text

    def _post(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        with httpx.Client(timeout=self.timeout, headers={"Authorization": f"Bearer {self.api_key}"}) as client:
            for attempt in range(self.max_retries + 1):
                answer = client.post(
                    f"{self.base_url}/chat/completions", json={"model": self.model, "messages": messages}
                )
                if answer.status_code != 429 and answer.status_code < 500:
                    break
                if attempt < self.max_retries:
                    time.sleep(float(answer.headers.get("Retry-After", 0.2 * 2**attempt)))
        if answer.is_error:
            msg = f"The gateway answered {answer.status_code}: {answer.text}"
            raise RuntimeError(msg)
        return dict(answer.json())

    def supports_function_calling(self) -> bool:
        """The gateway passes no tools on."""
        return False

    def get_context_window_size(self) -> int:
        """In tokens."""
        return 100_000
