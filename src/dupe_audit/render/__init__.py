"""Facts as text, JSON or Markdown. Nothing else prints facts."""

from dupe_audit.render.objects import dump, preflight_json, run_json, verify_json
from dupe_audit.render.sample_file import check_file, write_file
from dupe_audit.render.text import STYLES, plain_keys, preflight, runs, size, unseen, verify

FORMATS = ("text", "json", "markdown")

__all__ = [
    "FORMATS",
    "STYLES",
    "check_file",
    "dump",
    "plain_keys",
    "preflight",
    "preflight_json",
    "run_json",
    "runs",
    "size",
    "unseen",
    "verify",
    "verify_json",
    "write_file",
]
