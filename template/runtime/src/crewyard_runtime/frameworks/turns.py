"""Whose turn it is in a run: agents take turns, each turn has a number, and there are not more than the limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from crewyard_runtime.context import active_run
from crewyard_runtime.errors import RunStopped

END = "Let the team end: by a condition, by fewer turns, or with a higher limit LIMITS__MAX_TURNS."


@dataclass
class Turn:
    """Who speaks, and which of the run's turns it is."""

    agent: str
    number: int

    @property
    def step(self) -> str:
        """As events call it."""
        return f"turn {self.number}"


_turn: ContextVar[Turn | None] = ContextVar("crewyard_turn", default=None)


def current_turn() -> Turn | None:
    """The turn that this code belongs to."""
    return _turn.get()


def speaker() -> str:
    """The agent whose turn it is; "" in none."""
    turn = _turn.get()
    return turn.agent if turn else ""


@contextmanager
def turn_of(agent: str) -> Iterator[None]:
    """A turn of this agent: what is called in it is reported as its own. Raises RunStopped after the last turn."""
    run = active_run()
    if run is None:
        yield
        return
    run.turns += 1
    if run.turns > run.limits.max_turns:
        run.stop(
            RunStopped(f"The agents took {run.limits.max_turns} turns (the limit max_turns) and had no end. {END}")
        )
    if run.stopped:
        raise run.stopped
    before = _turn.get()
    turn = Turn(agent, run.turns)
    _turn.set(turn)
    try:
        yield
        run.emit("task.finished", agent=agent, task=turn.step)
    finally:
        _turn.set(before)  # not by a token: a generator may be closed in another context
