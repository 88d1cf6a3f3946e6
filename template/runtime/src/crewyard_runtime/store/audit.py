"""Who did what, for whoever asks later; the database refuses to change or delete a row of it."""

from sqlalchemy import Connection, insert

from crewyard_runtime.store.schema import audit


def record(
    tx: Connection, actor: str, action: str, subject: str, user_id: str | None = None, request_id: str | None = None
) -> None:
    """Note an action in the transaction that does it. user_id: on whose behalf."""
    values = {"actor": actor, "action": action, "subject": subject, "user_id": user_id, "request_id": request_id}
    tx.execute(insert(audit).values(**values))
