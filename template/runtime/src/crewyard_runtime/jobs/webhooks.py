"""Sends the webhooks of ended runs: signed, to no internal address, again and again until the target takes them."""

import json
import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, webhooks

if TYPE_CHECKING:
    from drawbridge import Policy

# Seconds until the next try; after the last one the webhook is given up. As Standard Webhooks recommends.
AGAIN_AFTER = (5, 300, 1_800, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600)
TARGET_SECONDS = 15
LOOK_SECONDS = 2

log = logging.getLogger("crewyard.webhooks")


class WebhookSender:
    """A thread that sends what is due. Several workers may each have one: a webhook is claimed before it is sent."""

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._stopped = False
        self._something = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="webhooks", daemon=True)

    def start(self) -> None:
        """Send until `stop`; without a secret to sign with there is nothing to send."""
        if self._settings.webhook_secret is not None:
            self._thread.start()

    def look(self) -> None:
        """Look now: a run has just ended."""
        self._something.set()

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._something.set()

    def send_next(self) -> bool:
        """Send the webhook that is due longest; False if none is. Raises SQLAlchemy's errors."""
        with self._database.transaction() as tx:
            delivery = webhooks.claim(tx)
        if delivery is None:
            return False
        error = self._send(delivery)
        with self._database.transaction() as tx:
            if error is None:
                webhooks.delivered(tx, delivery)
            else:
                again = AGAIN_AFTER[delivery.tries - 1] if delivery.tries <= len(AGAIN_AFTER) else None
                webhooks.failed(tx, delivery, error, again)
        run_id = delivery.body["data"]["id"]
        said = "was delivered" if error is None else f"failed: {error}"
        log.log(
            logging.INFO if error is None else logging.WARNING,
            "webhook %d, try %d, %s",
            delivery.id,
            delivery.tries,
            said,
            extra={"run_id": run_id},
        )
        return True

    def _send(self, delivery: webhooks.Delivery) -> str | None:
        """Why the target did not take it; None if it did."""
        from drawbridge import DrawbridgeError, SyncClient
        from httpx import HTTPError
        from standardwebhooks import Webhook

        assert self._settings.webhook_secret is not None
        body = json.dumps(delivery.body)
        now = datetime.now(UTC)
        name = f"msg_{delivery.id}"  # the same in every try, so that the target can tell
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self._settings.webhook_secret.get_secret_value()).sign(name, now, body),
        }
        try:
            with SyncClient(target_policy(delivery.url, self._settings.webhook_internal_hosts)) as client:
                response = client.post(delivery.url, content=body.encode(), headers=headers)
        except (DrawbridgeError, HTTPError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None if 200 <= response.status_code < 300 else f"the target answered {response.status_code}"

    def _go_on(self) -> None:
        while not self._stopped:
            try:
                while not self._stopped and self.send_next():
                    pass
            except SQLAlchemyError as error:
                log.warning("it is not known which webhooks are due: %s", type(error).__name__)
            self._something.wait(LOOK_SECONDS)
            self._something.clear()


def target_policy(url: str, internal_hosts: list[str]) -> "Policy":
    """What a webhook may reach: no internal address, however its host's name resolves, and no redirect.

    A host that the settings name may be internal, and have any port.
    """
    from drawbridge import Policy

    target = urlsplit(url)
    if target.hostname not in internal_hosts:
        return Policy(timeout=TARGET_SECONDS, max_redirects=0)
    return Policy(
        allow_private=True,
        allow_ports=frozenset({target.port or (443 if target.scheme == "https" else 80)}),
        timeout=TARGET_SECONDS,
        max_redirects=0,
    )
