"""Servers that are not PostgreSQL, by the text of their version()."""

import pytest

from dupe_audit.postgres.products import product_finding

LINUX = "x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit"


@pytest.mark.parametrize(
    ("version", "id_", "subject"),
    [
        (f"PostgreSQL 11.2-YB-2.25.0.0-b0 on {LINUX}", "yugabytedb", "YugabyteDB (2.25.0.0-b0)"),
        (f"PostgreSQL 15.12-YB-2025.1.0.1-b3 on {LINUX}", "yugabytedb", "YugabyteDB (2025.1.0.1-b3)"),
        ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27)", "cockroachdb", "CockroachDB (23.1.11)"),
        ("CockroachDB OSS v22.2.0 (linux amd64)", "cockroachdb", "CockroachDB (22.2.0)"),
        ("CockroachDB", "cockroachdb", "CockroachDB (unknown version)"),
    ],
)
def test_other_products_are_named_with_their_version(version, id_, subject):
    """The finding is that of the product, and its message has the product's own version."""
    finding = product_finding(version)
    assert finding is not None
    assert (id_, "error") == (finding.id, finding.severity)
    assert f"The server is {subject}, not PostgreSQL" in finding.message


@pytest.mark.parametrize(
    "version",
    [
        f"PostgreSQL 18.1 on {LINUX}",
        f"PostgreSQL 15.20 (Debian 15.20-0+deb12u1) on {LINUX}",
        f"PostgreSQL 16.4 on {LINUX} -YB-",
        "PostgreSQL 14.9 on aarch64-unknown-linux-gnu, compiled by Cockroach-YB-cc, 64-bit",
        "EnterpriseDB 16.2",
        "",
    ],
)
def test_postgresql_is_not_taken_for_another_product(version):
    """Only the version number of YugabyteDB, and CockroachDB at the beginning, are signs."""
    assert product_finding(version) is None
