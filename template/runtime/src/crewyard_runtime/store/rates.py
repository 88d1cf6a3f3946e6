"""How often a user may ask, over all gateway processes: a bucket that refills (GCRA), one row a user.

`full_at` is when the bucket will be full again; each request moves it on by one interval, and a request that would
move it further than one minute ahead is refused. The table is unlogged: a crash of the server fills all buckets.
"""

from sqlalchemy import Connection, text

_TAKE = text("""
    INSERT INTO rates AS r (user_id, full_at)
    VALUES (:user_id, clock_timestamp() + make_interval(secs => :interval))
    ON CONFLICT (user_id) DO UPDATE
        SET full_at = greatest(r.full_at, clock_timestamp()) + make_interval(secs => :interval)
        WHERE r.full_at <= clock_timestamp() + make_interval(secs => 60 - :interval)
    RETURNING 1
""")
_WAIT = text("""
    SELECT extract(epoch FROM full_at - clock_timestamp()) - 60 + :interval FROM rates WHERE user_id = :user_id
""")


def forget(tx: Connection) -> None:
    """Delete the buckets that are full again; they say nothing."""
    tx.execute(text("DELETE FROM rates WHERE full_at < clock_timestamp()"))


def take(tx: Connection, user_id: str, per_minute: int) -> float | None:
    """Count one request. None if it may go on; else the seconds after which the next one may."""
    values = {"user_id": user_id, "interval": 60 / per_minute}
    if tx.execute(_TAKE, values).one_or_none() is not None:
        return None
    return max(float(tx.execute(_WAIT, values).scalar() or 0), 0.001)
