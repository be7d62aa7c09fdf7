"""Facts as text, JSON or Markdown. Nothing else prints facts."""

from dupe_audit.render.ledger import runs
from dupe_audit.render.objects import dump, preflight_json, run_json, verify_json
from dupe_audit.render.sample_file import check_file, write_file
from dupe_audit.render.schemas import (
    preflight_schemas,
    preflight_schemas_json,
    run_totals,
    verify_schemas,
    verify_schemas_json,
)
from dupe_audit.render.text import STYLES, plain_keys, preflight, unseen, verify
from dupe_audit.render.values import size

FORMATS = ("text", "json", "markdown")

__all__ = [
    "FORMATS",
    "STYLES",
    "check_file",
    "dump",
    "plain_keys",
    "preflight",
    "preflight_json",
    "preflight_schemas",
    "preflight_schemas_json",
    "run_json",
    "run_totals",
    "runs",
    "size",
    "unseen",
    "verify",
    "verify_json",
    "verify_schemas",
    "verify_schemas_json",
    "write_file",
]
