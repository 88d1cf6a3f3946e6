"""A gateway that does nothing but one insert and one message a request, for comparison; for uvicorn."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import JSON, Column, MetaData, Table, Uuid, insert
from sqlalchemy.ext.asyncio import create_async_engine


class Order(BaseModel):
    """What is posted."""

    text: str


def create_app() -> FastAPI:
    """The gateway, on the servers that DATABASE_URL and BROKER_URL name."""
    table = Table("bare", MetaData(), Column("id", Uuid, primary_key=True), Column("input", JSON))
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("://", "+psycopg://"), pool_size=10)
    celery = Celery("bare", broker=os.environ["BROKER_URL"])
    celery.conf.update(task_default_queue="bare", task_ignore_result=True)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(table.create)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/runs/faulty", status_code=202)
    async def post(order: Order) -> dict[str, Any]:
        run_id = uuid.uuid4()
        async with engine.begin() as connection:
            await connection.execute(insert(table).values(id=run_id, input=order.model_dump()))
        celery.send_task("start")
        return {"id": run_id}

    return app
