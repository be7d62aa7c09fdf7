"""Poolers that a host or a port shows, and where to connect instead."""

import pytest

from dupe_audit.postgres.hosts import advice_for, documented_pooler, keeps_sessions, suspected_pooler

SHARED = "aws-0-eu-west-1.pooler.supabase.com"
DEDICATED = "db.abcdefgh.supabase.co"
PROXY = "orders.proxy-abc123.eu-west-1.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "port", "user", "sign", "advice"),
    [
        (
            "ep-a-1-pooler.us-east-2.aws.neon.tech",
            5432,
            "",
            "Neon's",
            "Use the direct host: ep-a-1.us-east-2.aws.neon.tech.",
        ),
        ("EP-A-1-POOLER.us-east-2.aws.neon.tech.", 5432, "", "Neon's", "ep-a-1.us-east-2.aws.neon.tech."),
        ("orders-pooler.internal", 5432, "", "a pooler by its name", "Use the direct host: orders.internal."),
        (SHARED, 6543, "postgres.abcdefgh", "transaction mode", f"Use the direct host, {DEDICATED}, port 5432."),
        (SHARED, 6543, "postgres.abcdefgh", "transaction mode", f"use port 5432 of {SHARED}"),
        (SHARED, 6543, "postgres", "transaction mode", "db.PROJECT.supabase.co"),
        (DEDICATED, 6543, "postgres", "dedicated pooler", f"Use port 5432 of {DEDICATED}."),
        (PROXY, 5432, "", "RDS Proxy", "Use the endpoint of the DB instance, or of the cluster's writer."),
    ],
)
def test_a_documented_pooler_names_the_way_around_it(host, port, user, sign, advice):
    """The sign says whose pooler it is, and the advice names the host or the port to use."""
    pooler = documented_pooler(host, port, user)
    assert pooler is not None
    assert sign in pooler.sign
    assert advice in pooler.advice


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 5432),
        ("localhost", 6543),
        ("pooler.internal", 5432),
        ("db-pooler", 5432),
        ("ep-a-1.us-east-2.aws.neon.tech", 5432),
        (SHARED, 5432),
        (DEDICATED, 5432),
        ("orders.cluster-abc123.eu-west-1.rds.amazonaws.com", 5432),
        ("evil-neon.tech.example.org", 5432),
    ],
)
def test_other_hosts_are_not_documented_poolers(host, port):
    """A direct host, a session port and an unknown host show nothing by their names."""
    assert documented_pooler(host, port) is None


@pytest.mark.parametrize(
    ("host", "port", "keeps"),
    [
        ("ep-a-1.us-east-2.aws.neon.tech", 5432, True),
        ("ep-a-1-pooler.us-east-2.aws.neon.tech", 5432, False),
        (SHARED, 5432, True),
        (SHARED, 6543, False),
        ("neon.tech.example.org", 5432, False),
        ("db-primary", 5432, False),
    ],
)
def test_services_that_keep_sessions(host, port, keeps):
    """Only Neon's direct hosts and Supabase's session port may greet with a number that is no backend's."""
    assert keeps_sessions(host, port) is keeps


def test_ports_alone_only_suggest_a_pooler():
    """Port 6543 is suspected where the driver cannot say who greeted, and 6432 only adds advice."""
    assert suspected_pooler(5432) is None
    assert suspected_pooler(6432) is None
    assert "6543" in str(suspected_pooler(6543))
    assert "5432" in advice_for(6543)
    assert "PgBouncer" in advice_for(6432)
    assert "" == advice_for(5432)
