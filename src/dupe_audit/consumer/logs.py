"""Structured logs: one JSON object per line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from dupe_audit.postgres.patience import Throttle

log = logging.getLogger("dupe_audit.consumer")

#: seconds between two log lines about the same error
ERROR_EVERY = 10.0


class JsonLines(logging.Formatter):
    """Formats a record as JSON: time, level, event, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = getattr(record, "fields", None)
        head = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if fields is None:  # a library's record
            fields = {"message": record.getMessage(), "logger": record.name}
            return json.dumps({**head, "event": "log", **fields})
        return json.dumps({**head, "event": record.msg, **fields}, default=str)


class RateLimit(logging.Filter):
    """Passes one record of each kind per ten seconds.

    While a broker is unreachable, librdkafka logs FAIL twenty times per second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._throttles: dict[str, Throttle] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; its first word is its kind."""
        kind = record.getMessage().partition(" ")[0]
        return self._throttles.setdefault(kind, Throttle(ERROR_EVERY)).due()


librdkafka_log = log.getChild("librdkafka")
librdkafka_log.addFilter(RateLimit())


def log_event(event: str, /, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields, which contain no row contents."""
    log.log(level, event, extra={"fields": fields})


def set_up() -> None:
    """Make every log line of this process JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    log.setLevel(logging.INFO)
