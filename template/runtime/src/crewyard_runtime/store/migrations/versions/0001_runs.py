"""Runs and all that belongs to them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# runs.fillfactor leaves room in each page for the renewals of a lease, which then touch no index.
STATEMENTS = """
CREATE TABLE runs (
    id uuid PRIMARY KEY,
    application text NOT NULL,
    user_id text,
    status text NOT NULL
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'dead')),
    input json,
    output json,
    error json,
    attempt integer NOT NULL DEFAULT 0,
    lost integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    worker text,
    lease_until timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    events integer NOT NULL DEFAULT 0,
    model_calls integer NOT NULL DEFAULT 0,
    prompt_tokens integer NOT NULL DEFAULT 0,
    completion_tokens integer NOT NULL DEFAULT 0,
    cost_usd double precision DEFAULT 0,
    request_id text,
    webhook_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX runs_queued ON runs (queued_at, id) WHERE status = 'queued';
CREATE INDEX runs_running ON runs (user_id) WHERE status = 'running';
CREATE INDEX runs_listed ON runs (created_at, id);
CREATE INDEX runs_listed_by_status ON runs (status, created_at, id);
CREATE INDEX runs_listed_of_user ON runs (user_id, created_at, id);
CREATE INDEX runs_listed_of_user_by_status ON runs (user_id, status, created_at, id);

CREATE TABLE attempts (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    number integer NOT NULL,
    worker text NOT NULL,
    status text NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost', 'returned')),
    error json,
    model_calls integer NOT NULL DEFAULT 0,
    prompt_tokens integer NOT NULL DEFAULT 0,
    completion_tokens integer NOT NULL DEFAULT 0,
    cost_usd double precision DEFAULT 0,
    build_seconds double precision,
    run_seconds double precision,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE events (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    number integer NOT NULL,
    attempt integer NOT NULL,
    kind text NOT NULL,
    data json NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, number)
);

CREATE TABLE idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    request_hash text NOT NULL,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_of_run ON idempotency_keys (run_id);

CREATE TABLE webhooks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    url text NOT NULL,
    body json NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    due_at timestamptz DEFAULT now(),
    delivered_at timestamptz,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhooks_of_run ON webhooks (run_id);

CREATE TABLE api_keys (
    prefix text PRIMARY KEY,
    hash text NOT NULL,
    owner text NOT NULL,
    operator boolean NOT NULL DEFAULT false,
    may_act_for boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE UNLOGGED TABLE rates (user_id text PRIMARY KEY, full_at timestamptz NOT NULL);

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    user_id text,
    request_id text
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit can only be added to'; END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
