"""Where the webhook of a run may go: refused when the run is submitted, so that its caller hears of it."""

from urllib.parse import urlsplit

from crewyard_runtime.api.problems import Refused
from crewyard_runtime.jobs.webhooks import target_policy
from crewyard_runtime.settings import ServiceSettings


def check(url: str, settings: ServiceSettings) -> None:
    """Refuse (422) a URL that a webhook would not be sent to.

    Its name may resolve to another address later: the delivery looks again.
    """
    if settings.webhook_secret is None:
        raise Refused(422, "This service sends no webhooks (it has no WEBHOOK_SECRET): leave Webhook-URL out.")
    try:
        target = urlsplit(url)
        host, port = target.hostname, target.port
    except ValueError as error:
        raise Refused(422, f"Webhook-URL is no URL: {error}.") from error
    if not host or not url.isascii() or not url.isprintable() or set(url) & {" ", "\\"}:
        raise Refused(422, "Webhook-URL is no URL: send one like https://example.com/hook.")
    if "@" in target.netloc:
        raise Refused(422, "Webhook-URL names a user: leave it out, and check the signature of what arrives.")
    internal = host in settings.webhook_internal_hosts
    if target.scheme != "https" and not (target.scheme == "http" and internal):
        raise Refused(422, "Webhook-URL must begin with https://.")
    if not internal:
        _refuse_internal(host, port or 443, url)


def _refuse_internal(host: str, port: int, url: str) -> None:
    # Imported here: it brings an HTTP client, which takes 0.1 s and a request without a webhook does not need.
    from drawbridge import DrawbridgeDNSError, DrawbridgeError, UnsafePortError
    from drawbridge._validator import resolve_and_validate_sync

    try:
        # Not public, and the only way to ask drawbridge without sending something; its clients ask the same.
        resolve_and_validate_sync(host, port, target_policy(url, []))
    except DrawbridgeDNSError:
        return
    except UnsafePortError as error:
        raise Refused(422, f"Webhook-URL has port {port}: use one of {sorted(error.allowed)}.") from error
    except (DrawbridgeError, ValueError) as error:
        # Which address it is, is nobody's business.
        raise Refused(422, f"Webhook-URL leads where no webhook may go: {host} is internal, or no name.") from error
