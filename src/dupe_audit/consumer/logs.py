"""Structured logs: one JSON object a line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger("dupe_audit.consumer")

#: seconds between two log lines about the same error
SAY_EVERY = 10.0


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


class Seldom(logging.Filter):
    """Passes one record of a kind in ten seconds; while a broker is away librdkafka says FAIL twenty times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is logged; its first word is its kind."""
        kind = record.getMessage().partition(" ")[0]
        seldom = time.monotonic() - self._said.get(kind, -SAY_EVERY) >= SAY_EVERY
        if seldom:
            self._said[kind] = time.monotonic()
        return seldom


librdkafka = log.getChild("librdkafka")
librdkafka.addFilter(Seldom())


def say(event: str, /, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields, which hold no contents of rows."""
    log.log(level, event, extra={"fields": fields})


def set_up() -> None:
    """Make every log line of this process JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    log.setLevel(logging.INFO)
