"""Reports of the CI check, for the tests of the code that prints them."""

from __future__ import annotations

from hypothesis import strategies as st

from dupe_audit.checks.report import CheckReport, Place, ReportedFinding, RuleRun
from dupe_audit.findings import CHECK, finding
from dupe_audit.findings.entry import Finding
from dupe_audit.seeding.facts import Filled

#: characters that break formats: line ends, escapes, markup, separators, lone surrogates, characters not allowed in XML
NASTY = "\n\r\t %:,;=\"'<>&[]{}\\/\x00\x07\x1b\x85\u2028\ufffe\uffff\ud800\udcff\U0001f600é"


def result(
    id_: str = "no-way-back",
    *,
    rule: str = "way-back",
    file: str | None = "alembic/versions/002.py",
    line: int | None = 12,
    revision: str | None = "002",
    accepted: bool = False,
) -> ReportedFinding:
    """Return a finding of the catalogue."""
    place = Place(file=file, line=line, revision=revision)
    return ReportedFinding(
        rule=rule, finding=finding(id_, revision, table="public.orders [x]"), place=place, accepted=accepted
    )


def report(*findings: ReportedFinding) -> CheckReport:
    """Return a report with these findings."""
    return CheckReport(
        server="PostgreSQL 18.6, embedded",
        revisions=("001", "002"),
        rules=(
            RuleRun(rule="one-head", looked_at=2),
            RuleRun(rule="way-back", looked_at=2),
            RuleRun(rule="squawk", skipped="squawk is not installed"),
        ),
        filled=(
            Filled(revision="002", table="public.orders", rows=1000, exact=40, divergent=11, null_keys=7, referenced=3),
        ),
        findings=findings,
        seconds=(("server", 1.25), ("revisions", 2.5)),
    )


def texts() -> st.SearchStrategy[str]:
    """Return any text, mostly of the characters that break formats."""
    return st.text(st.one_of(st.sampled_from(NASTY), st.characters()), max_size=20)


def places() -> st.SearchStrategy[Place]:
    """Return places; a file name has lone surrogates such as the system's own decoding creates."""
    names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
    broken = st.binary(min_size=1, max_size=9).filter(lambda raw: b"\0" not in raw).map(_decoded)
    files = st.one_of(st.none(), names, broken, st.sampled_from(["a::b,c=%25.py", "/srv/app/001.py", "x\n::error::y"]))
    return st.builds(Place, file=files, line=st.none() | st.integers(1, 10**6), revision=st.none() | texts())


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def reports() -> st.SearchStrategy[CheckReport]:
    """Return any report."""
    a_finding = st.builds(
        Finding,
        id=st.sampled_from(sorted(CHECK)),
        severity=st.sampled_from(["error", "warning", "info"]),
        message=texts(),
        help=texts(),
    )
    rules = st.sampled_from(["one-head", "way-back", "round-trip"]) | texts()
    counts = st.integers(0, 10**9)
    filled = st.builds(
        Filled,
        revision=texts(),
        table=texts(),
        rows=counts,
        exact=counts,
        divergent=counts,
        null_keys=counts,
        referenced=counts,
        own=st.booleans(),
    )
    return st.builds(
        CheckReport,
        server=texts(),
        revisions=st.lists(texts(), max_size=3).map(tuple),
        rules=st.lists(st.builds(RuleRun, rule=rules, looked_at=counts, skipped=st.none() | texts()), max_size=3).map(
            tuple
        ),
        filled=st.lists(filled, max_size=2).map(tuple),
        findings=st.lists(
            st.builds(ReportedFinding, rule=rules, finding=a_finding, place=places(), accepted=st.booleans()),
            max_size=4,
        ).map(tuple),
        seconds=st.lists(st.tuples(texts(), st.floats(0, 10**5)), max_size=2).map(tuple),
    )
