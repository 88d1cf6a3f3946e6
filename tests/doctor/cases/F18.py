"""Errors of runs; token_usage is counted."""

import asyncio
import logging
from collections.abc import Callable

from crewai import Crew
from fastapi import HTTPException

logger = logging.getLogger(__name__)


def dropped(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except Exception:  # finds F18
        return None


def printed(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except Exception as error:  # hints F18
        print(f"failed: {error}")
        return {"error": str(error)}


def told(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except Exception as error:  # finds F18
        return {"error": str(error)}


def logs_another(crew: Crew, send: Callable[[str], None]) -> None:
    try:
        crew.kickoff()
    except Exception:  # finds F18
        try:
            send("failed")
        except OSError:
            logger.exception("nobody listens")


def bare(crew: Crew) -> None:
    try:
        crew.kickoff()
    except:  # noqa: E722 # finds F18
        pass


def cut_off(crew: Crew) -> None:
    try:
        crew.kickoff()
    except Exception as error:
        raise RuntimeError(f"failed: {error}") from None  # finds F18


def unnamed(crew: Crew) -> None:
    try:
        crew.kickoff()
    except Exception as error:
        raise HTTPException(500, str(error))  # hints F18


def event(crew: Crew, queue: list[str]) -> None:
    try:
        crew.kickoff()
    except Exception as error:  # hints F18
        queue.append(f"failed: {error}")


def named(crew: Crew) -> None:
    try:
        crew.kickoff()
    except Exception as error:
        raise RuntimeError("failed") from error


def logged(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except Exception:
        logger.exception("the run failed")
        return None


def raised(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except Exception as error:
        print(error)
        raise


def narrow(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except TimeoutError:
        return None


def no_run() -> object:
    try:
        return int("1")
    except Exception:
        return None


async def in_a_thread(crew: Crew) -> object:
    try:
        return await asyncio.to_thread(crew.kickoff)
    except Exception:  # finds F18
        return None
