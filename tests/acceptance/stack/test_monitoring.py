"""Alert rules and dashboard are valid PromQL and use metrics and labels that the consumer exports."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PREFIX = "dupe_audit_consumer_"

#: metrics that Prometheus itself adds to a target
OF_THE_SCRAPE = {"up": set()}
TARGET = {"job", "instance"}


def documented() -> dict[str, set[str]]:
    """Return the documented metrics with their labels; a histogram is three series."""
    page = (ROOT / "docs" / "reference" / "consumer-metrics.md").read_text()
    metrics = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, flags=re.MULTILINE):
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            names = set(re.findall(r"`(\w+)`", labels))
            metrics[f"{PREFIX}{name}{suffix}"] = names | ({"le"} if suffix == "_bucket" else set())
    return metrics


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the name of each alert rule or panel with its expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def parts(node) -> Iterator:
    """Yield an expression and all its parts."""
    yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        part = getattr(node, name, None)
        if part is not None:
            yield from parts(part)
    for argument in getattr(node, "args", ()):
        yield from parts(argument)


@pytest.mark.parametrize(("asks", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_expression_uses_existing_metrics(asks, expression):
    """Each expression is valid PromQL, and every metric and label in it exists."""
    metrics = documented() | OF_THE_SCRAPE
    selectors = [node for node in parts(promql_parser.parse(expression)) if type(node) is promql_parser.VectorSelector]

    assert selectors
    assert set() == {selector.name for selector in selectors} - metrics.keys()
    labels = TARGET.union(*(metrics[selector.name] for selector in selectors))
    for selector in selectors:
        assert set() == {matcher.name for matcher in selector.matchers.matchers} - metrics[selector.name] - TARGET
    grouped = {name for names in re.findall(r"\b(?:by|on) \(([\w, ]+)\)", expression) for name in names.split(", ")}
    assert set() == grouped - labels


def test_legends_and_summaries_use_existing_labels():
    """Placeholders in legends and summaries are labels of documented metrics."""
    labels = set().union(TARGET, *documented().values())
    texts = [rule["annotations"]["summary"] for rule in RULES]
    texts += [target["legendFormat"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert set() == set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+)", "".join(texts))) - labels


def test_every_alert_is_explained():
    """The how-to has exactly one section per alert, and each alert has a severity."""
    page = (ROOT / "docs" / "howto" / "monitoring.md").read_text()
    assert [rule["alert"] for rule in RULES] == re.findall(r"^### (DupeAudit\w+)$", page, flags=re.MULTILINE)
    assert {"critical", "warning"} == {rule["labels"]["severity"] for rule in RULES}


def test_prometheus_scrapes_the_consumers_of_the_stack():
    """The stack's Prometheus loads these rules and scrapes the three consumers under the job that the rules name."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    stack = (ROOT / "deploy" / "compose.yaml").read_text()

    assert ["alerts.yml"] == config["rule_files"]
    assert {f'up{{job="{job["job_name"]}"}}'} == {
        expression for rule in RULES for expression in re.findall(r"\bup\{.*?\}", rule["expr"])
    }
    services = [target.removesuffix(":9464") for target in job["static_configs"][0]["targets"]]
    assert services == re.findall(r"^  ([\w-]+-consumer):$", stack, flags=re.MULTILINE)
