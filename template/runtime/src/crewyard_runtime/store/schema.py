"""The tables, for the statements of this package; the migrations make them."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData()
Moment = TIMESTAMP(timezone=True)

# JSON, not JSONB: a user may send "\u0000", which JSONB refuses, and nothing here looks into these values.
runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("application", Text, nullable=False),
    Column("user_id", Text),
    Column("status", Text, nullable=False),
    Column("input", JSON(none_as_null=True)),
    Column("output", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("attempt", Integer, nullable=False),  # the fence: only ever grows
    Column("lost", Integer, nullable=False),  # attempts that died; at max_attempts the run is dead
    Column("max_attempts", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_until", Moment),
    Column("cancel_requested", Boolean, nullable=False),
    Column("events", Integer, nullable=False),
    Column("model_calls", Integer, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cost_usd", Double),
    Column("request_id", Text),
    Column("webhook_url", Text),
    Column("created_at", Moment, nullable=False),
    Column("queued_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ForeignKey(runs.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("model_calls", Integer, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cost_usd", Double),
    Column("build_seconds", Double),
    Column("run_seconds", Double),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
)

events = Table(
    "events",
    metadata,
    Column("run_id", ForeignKey(runs.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", Moment, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("run_id", ForeignKey(runs.c.id), nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey(runs.c.id), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Moment),  # null once it is delivered or given up
    Column("delivered_at", Moment),
    Column("last_error", Text),
    Column("created_at", Moment, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("may_act_for", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

rates = Table("rates", metadata, Column("user_id", Text, primary_key=True), Column("full_at", Moment, nullable=False))

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("user_id", Text),
    Column("request_id", Text),
)
