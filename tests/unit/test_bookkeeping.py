"""Which columns look like bookkeeping, by their types, defaults and names."""

import pytest

from dupe_audit.differences.bookkeeping import ComparedColumn, reason

MOMENT = "timestamp with time zone"
STORED = "a storage time, by its name"
VERSION = "a row version, by its name"
LOADER = "a record of who or what stored the row, by its name"


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        *((name, MOMENT, STORED) for name in ("created_at", "updatedAt", "modified", "date_created", "ingested_at")),
        *((name, "date", STORED) for name in ("received_at", "inserted_on", "last_updated", "row_created_date")),
        *((name, "bigint", VERSION) for name in ("version", "row_version", "lock_version", "optlock", "RowVersion")),
        *((name, "text", LOADER) for name in ("etl_run_id", "batch_id", "load_id", "_airbyte_raw_id", "updated_by")),
        *((name, MOMENT, None) for name in ("placed_at", "expires_at", "last_login", "date", "due")),
        *((name, "text", None) for name in ("version", "updated_at", "status", "sync_status", "import_price", "store")),
        *((name, "integer", None) for name in ("revision", "load_factor", "batch_size", "quantity", "updated_at")),
    ],
)
def test_names_count_only_with_a_type_that_fits(name, type_, expected):
    """A time needs a type of times and a version one of whole numbers; names of data are not bookkeeping."""
    assert expected == reason(ComparedColumn(name, type_, identity=False, default_sql=None))


@pytest.mark.parametrize(
    ("type_", "default", "expected"),
    [
        (MOMENT, "now()", "an insertion time, by its default"),
        (MOMENT, "CURRENT_TIMESTAMP", "an insertion time, by its default"),
        ("timestamp without time zone", "timezone('utc'::text, now())", "an insertion time, by its default"),
        ("date", "('now'::text)::date", "an insertion time, by its default"),
        ("bigint", "nextval('t_n_seq'::regclass)", "a sequence number"),
        ("text", "now()", None),
        (MOMENT, "'2026-01-01 00:00:00+00'::timestamp with time zone", None),
        ("uuid", "gen_random_uuid()", None),
    ],
)
def test_defaults_count_whatever_the_name(type_, default, expected):
    """A default that takes the time or the next number is bookkeeping under any name; a constant is not."""
    assert expected == reason(ComparedColumn("placed", type_, identity=False, default_sql=default))


def test_identity_columns_are_bookkeeping():
    """An identity column that is not the primary key only numbers the rows."""
    assert "a sequence number" == reason(ComparedColumn("n", "bigint", identity=True, default_sql=None))
