"""Extras for a key that is stricter than an existing one: the old key allows them, and the new one does not."""

import pytest

#: columns and their key · the new key · whether exact extras are possible too
STRICTER = {
    "lower": ("email text NOT NULL UNIQUE", "((lower(email)))", 0),
    "upper": ("email text UNIQUE", "((upper(email)))", 0),
    "trim of a short text": ("code varchar(6) NOT NULL UNIQUE", "((btrim(code)))", 0),
    "lower of a short text": ("code char(4) NOT NULL UNIQUE", "((lower(code)))", 0),
    "lower and trim": ("email text NOT NULL UNIQUE", "((lower(btrim(email))))", 0),
    "hash": ("email text NOT NULL UNIQUE", "((md5(lower(email))))", 0),
    "first characters": ("email text NOT NULL UNIQUE", "((left(email, 5)))", 0),
    "last characters": ("email text NOT NULL UNIQUE", "((right(email, 5)))", 0),
    "part before a character": ("email text NOT NULL UNIQUE", "((split_part(email, '+', 1)))", 0),
    "digits": ("phone text NOT NULL UNIQUE", "((regexp_replace(phone, '[^0-9]', '', 'g')))", 0),
    "Unicode": ("name text NOT NULL UNIQUE", "((normalize(name)))", 0),
    "a check forbids upper case": (
        "email text NOT NULL UNIQUE CHECK (email = lower(email))",
        "((replace(lower(email), '.', '')))",
        0,
    ),
    "citext": ("email text NOT NULL UNIQUE", "((email::citext))", 0),
    "another column": ("a int NOT NULL, email text NOT NULL, UNIQUE (a, email)", "(a, lower(email))", 0),
    "generated column": (
        "name text NOT NULL UNIQUE, low text GENERATED ALWAYS AS (lower(name)) STORED",
        "(low)",
        0,
    ),
    "coalesce": ("a int NOT NULL, b int, UNIQUE (a, b)", "(a, coalesce(b, 0))", 2),
    "coalesce of a text": ("a int NOT NULL, b text, UNIQUE (a, b)", "(a, coalesce(b, 'none'))", 2),
    "coalesce of a date": ("a int NOT NULL, b date, UNIQUE (a, b)", "(a, coalesce(b, 'infinity'))", 2),
    "coalesce of a flag": ("a int NOT NULL, b bool, UNIQUE (a, b)", "(a, coalesce(b, false))", 2),
    "rows with NULL": ("a int NOT NULL, b int, c text, UNIQUE (a, b)", "(a) WHERE b IS NULL", 2),
    "rows that are not deleted": ("a text NOT NULL, gone date, UNIQUE (a, gone)", "(a) WHERE gone IS NULL", 2),
    "day": ("at timestamp NOT NULL UNIQUE", "((at::date))", 0),
    "hour": ("at timestamp NOT NULL UNIQUE", "(date_trunc('hour', at))", 0),
    "second": ("a int NOT NULL, at timestamp NOT NULL, UNIQUE (a, at)", "(a, date_trunc('second', at))", 0),
    "day in a zone": ("at timestamptz NOT NULL UNIQUE", "(((at AT TIME ZONE 'Europe/Berlin')::date))", 0),
    "key of a document": ("doc jsonb NOT NULL UNIQUE", "((doc ->> 'id'))", 0),
    "number in a document": ("doc jsonb NOT NULL UNIQUE", "(((doc ->> 'id')::int))", 0),
    "path in a document": ("doc jsonb NOT NULL UNIQUE", "((lower(doc #>> '{user,email}')))", 0),
    "either order": ("a int NOT NULL, b int NOT NULL, UNIQUE (a, b)", "((least(a, b)), (greatest(a, b)))", 0),
    "two columns as one": ("a text NOT NULL, b text NOT NULL, UNIQUE (a, b)", "((a || b))", 0),
    "rounded": ("n numeric(10,2) NOT NULL UNIQUE", "((round(n)))", 0),
    "without the sign": ("n int NOT NULL UNIQUE", "((abs(n)))", 0),
    "start of a range": ("r int4range NOT NULL UNIQUE", "((lower(r)))", 0),
    "end of a range": ("r tstzrange NOT NULL UNIQUE", "((upper(r)))", 0),
    "first digits": ("u uuid NOT NULL UNIQUE", "((left(u::text, 8)))", 0),
    "last digits": ("u uuid NOT NULL UNIQUE", "((right(u::text, 12)))", 0),
    "first element": ("n int[] NOT NULL UNIQUE", "((n[1]))", 0),
    "deferrable": ("a text NOT NULL UNIQUE DEFERRABLE", "((lower(a)))", 0),
    "exclusion constraint": ("a text NOT NULL, EXCLUDE USING btree (a WITH =)", "((lower(a)))", 0),
}


@pytest.mark.parametrize("case", STRICTER)
@pytest.mark.representatives(
    "lower",
    "part before a character",
    "citext",
    "generated column",
    "rows that are not deleted",
    "number in a document",
    "either order",
    "deferrable",
    "exclusion constraint",
)
def test_extras_that_the_old_key_allows(sql, seeded, table, case):
    """Rows that the existing key allows become extras under the new one."""
    columns, new, exact = STRICTER[case]
    sql("CREATE EXTENSION IF NOT EXISTS citext")
    table(columns)
    filled = seeded(new)
    assert exact == filled.exact
    assert filled.exact + filled.divergent >= 2


@pytest.mark.min_pg(15)
def test_equal_nulls(seeded, table):
    """If NULLs are no longer distinct, rows that are equal but for their key's NULL are extras, exact and divergent."""
    table("a int NOT NULL, b int, c text, UNIQUE (a, b)")
    filled = seeded("(a, b) NULLS NOT DISTINCT")
    assert (2, 2) == (filled.exact, filled.divergent)


def test_the_primary_key_becomes_stricter(seeded, table):
    """A primary key is an existing key like any other."""
    table("note text", primary="email text PRIMARY KEY")
    assert 2 == seeded("((lower(email)))").divergent + seeded("((lower(email)))", rows=0).exact


def test_a_key_with_a_parent(sql, seeded, table):
    """The values of a foreign key stay those of its parent's rows."""
    sql("CREATE TABLE parent (id serial PRIMARY KEY, name text)")
    table("a int NOT NULL REFERENCES parent, b text NOT NULL, UNIQUE (a, b)")
    assert 2 == seeded("(a, lower(b))").divergent


def test_only_the_shapes_that_are_asked_for(seeded, table):
    """Without divergent extras, no rows are made that differ in the columns of the key."""
    table("a int NOT NULL, b int, UNIQUE (a, b)")
    filled = seeded("(a, coalesce(b, 0))", shapes=frozenset({"exact", "null"}))
    assert (2, 0) == (filled.exact, filled.divergent)
    table("email text NOT NULL UNIQUE")
    filled = seeded("((lower(email)))", shapes=frozenset({"exact", "null"}))
    assert (200, 0, 0) == (filled.rows, filled.exact, filled.divergent)


@pytest.mark.parametrize(
    ("columns", "new"),
    [
        ("a int NOT NULL UNIQUE, b text", "(a, lower(b))"),
        ("a int NOT NULL, b text, UNIQUE (a, b)", "(a) WHERE b = 'live'"),
    ],
)
def test_where_the_old_key_allows_none(seeded, table, columns, new):
    """Where the existing key rules every duplicate out, none is made, and nothing fails."""
    table(columns)
    assert 0 == seeded(new).exact + seeded(new, rows=0).divergent
