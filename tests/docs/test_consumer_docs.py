"""The pages about the consumer name exactly its metrics, reasons, log events, settings and tests."""

import re
from pathlib import Path

import pytest

from dupe_audit.consumer.metrics import Metrics

ROOT = Path(__file__).parents[2]
METRICS = (ROOT / "docs" / "reference" / "consumer-metrics.md").read_text()
SOURCE = ROOT / "src" / "dupe_audit" / "consumer"


def test_every_metric_is_documented():
    """The table of metrics has each exported metric with its labels, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", METRICS, flags=re.MULTILINE)
    documented = {name.removesuffix("_total"): (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    metrics = Metrics(version="1", group="g")
    exported = {
        metric._name.removeprefix("dupe_audit_consumer_"): (metric._type, list(metric._labelnames))
        for metric in metrics.registry._collector_to_names
    }
    assert exported == documented


def test_every_reason_is_documented():
    """The list of reasons has each reason for which an event is rejected, and no other."""
    used = set()
    for path in SOURCE.glob("*.py"):
        used |= set(re.findall(r'Poison\(\s*"(\w+)"|reason="(\w+)"|_pattern\(\w+, "(\w+)"', path.read_text()))
    section = METRICS.split("### Reasons")[1].split("\n## ")[0]
    assert {"".join(match) for match in used} == set(re.findall(r"`([a-z][a-z_0-9]+)`", section)) - {"sqlstate"}


def test_every_log_event_is_documented():
    """The table of log events has each event that is logged, and no other."""
    used = {"log"}
    for path in SOURCE.glob("*.py"):
        used |= set(re.findall(r'\blog_event\(\s*"(\w+)"', path.read_text()))
    section = METRICS.split("## Logs")[1]
    documented = {name for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for name in row.split(", ")}
    assert used == {name.strip("`") for name in documented} - {"event"}


def test_the_tests_of_the_failures_exist():
    """Each row of the table of failures names tests that exist."""
    page = (ROOT / "docs" / "explanation" / "at-least-once.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "integration" / "consumer").glob("test_*.py"))
    rows = [row for row in page.splitlines() if row.startswith("| ") and not row.startswith("| Failure")]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]

    assert len(named) > 10
    assert [row for row, names in zip(rows, named, strict=True) if not names] == []
    assert [name for names in named for name in names if f"def {name}(" not in tests] == []


@pytest.mark.parametrize(
    "heading", ["table", "columns", "kafka", "database", "batch", "events", "breaker", "dlq", "http"]
)
def test_every_setting_is_documented(heading):
    """The page has each setting that the code reads, in its section, and no other."""
    reading = (SOURCE / "reading.py").read_text()
    function = {"columns": "column"}.get(heading, heading)
    body = reading.partition(f"def _{function}(")[2].partition("\ndef ")[0] or (SOURCE / f"{heading}.py").read_text()
    options = set(re.findall(r'section\.(?:text|texts|choice|flag|integer|share|duration|raw)\(\s*"(\w+)"', body))
    page = (ROOT / "docs" / "reference" / "consumer-config.md").read_text()
    section = page.split(f"## [{heading}]\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \| ", section.split("| `type` | Takes")[0], re.MULTILINE))
    assert options == documented
