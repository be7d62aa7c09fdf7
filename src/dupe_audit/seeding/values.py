"""Values by type: an SQL expression of a number, which is another value for another number wherever the type allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

#: where the number goes; no name or literal of a schema holds this character
HOLE = "\x01"
WIDE = 10**7  #: as many values as nobody generates rows


@dataclass(frozen=True, slots=True)
class Values:
    """Values of one type: the expression with holes for a number that is at least 0, and how many there are."""

    sql: str
    size: int | None = None  #: of different ones; None where they never run out

    def at(self, number: str) -> str:
        """Return the expression for the number that this SQL gives."""
        return self.sql.replace(HOLE, f"({number})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type, as the catalog has it."""

    name: str
    built_in: bool
    kind: str
    category: str
    not_null: bool
    written: str  #: with its length or precision
    element: int
    base: int
    base_typmod: int
    subtype: int | None
    range: int | None
    qualified: str
    labels: list[str] | None
    attributes: list[list[int]] | None
    checks: list[list[str]] | None


N = HOLE
_TEXT = f"('v' || {N}::pg_catalog.text)"
_HEX = f"pg_catalog.to_hex({N}::pg_catalog.int8)"
_DAYS = f"{N} % 1000000"
_MOMENT = f"pg_catalog.make_interval(secs => ({_DAYS}) * 86413.0)"

_FIXED = {
    "int2": Values(f"(1 + {N} % 32767)", 32767),
    "int4": Values(f"(1 + {N} % 2147483647)"),
    "int8": Values(f"(1 + {N})"),
    "float4": Values(f"(1 + {N})", 2**24),
    "float8": Values(f"(1 + {N})"),
    "money": Values(f"(1 + {N})::pg_catalog.numeric"),
    "text": Values(_TEXT),
    "name": Values(_TEXT),
    "refcursor": Values(_TEXT),
    "char": Values(f"pg_catalog.chr(97 + ({N} % 26)::pg_catalog.int4)", 26),
    "bytea": Values(f"pg_catalog.int8send({N}::pg_catalog.int8)"),
    "bool": Values(f"({N} % 2 = 0)", 2),
    "date": Values(f"(date '1997-01-01' + ({_DAYS})::pg_catalog.int4)", 10**6),
    "timestamp": Values(f"(timestamp '1997-01-01' + {_MOMENT})", 10**6),
    "timestamptz": Values(f"(timestamptz '1997-01-01 00:00+00' + {_MOMENT})", 10**6),
    "time": Values(f"(time '00:00' + pg_catalog.make_interval(secs => {N} % 86400))", 86400),
    "timetz": Values(f"(timetz '00:00+00' + pg_catalog.make_interval(secs => {N} % 86400))", 86400),
    "interval": Values(f"pg_catalog.make_interval(secs => {N})"),
    "uuid": Values(f"pg_catalog.md5({_TEXT})"),
    "json": Values(f"pg_catalog.json_build_object('n', {N})"),
    "jsonb": Values(f"pg_catalog.jsonb_build_object('n', {N})"),
    "jsonpath": Values(f"('$.v' || {N}::pg_catalog.text)"),
    "xml": Values(f"('<v>' || {N}::pg_catalog.text || '</v>')"),
    "inet": Values(f"(inet '10.0.0.0' + {N} % 16777216)", 2**24),
    "cidr": Values(f"(inet '10.0.0.0' + {N} % 16777216)", 2**24),
    "macaddr": Values(f"pg_catalog.lpad({_HEX}, 12, '0')"),
    "macaddr8": Values(f"pg_catalog.lpad({_HEX}, 16, '0')"),
    "tsvector": Values(_TEXT),
    "tsquery": Values(_TEXT),
    "point": Values(f"pg_catalog.point({N}, {N})"),
    "line": Values("('{1,-1,' || " + N + "::pg_catalog.text || '}')"),
    "lseg": Values(f"pg_catalog.lseg(pg_catalog.point({N}, 0), pg_catalog.point({N}, 1))"),
    "box": Values(f"pg_catalog.box(pg_catalog.point({N}, 0), pg_catalog.point({N} + 0.5, 1))"),
    "path": Values(f"pg_catalog.format('[(%s,0),(%s,1)]', {N}, {N})"),
    "polygon": Values(f"pg_catalog.polygon(pg_catalog.box(pg_catalog.point({N}, 0), pg_catalog.point({N} + 0.5, 1)))"),
    "circle": Values(f"pg_catalog.circle(pg_catalog.point({N}, 0), 0.25)"),
    "pg_lsn": Values(f"('0/' || pg_catalog.to_hex(({N} % 4294967295)::pg_catalog.int8))"),
    "oid": Values(f"(1 + {N})"),
    "xid": Values(f"(1 + {N})::pg_catalog.text"),
    "xid8": Values(f"(1 + {N})::pg_catalog.text"),
    "cid": Values(f"(1 + {N})::pg_catalog.text"),
    "tid": Values(f"('(' || {N}::pg_catalog.text || ',1)')"),
    "oidvector": Values(f"{N}::pg_catalog.text"),
    "int2vector": Values(f"({N} % 32767)::pg_catalog.text", 32767),
    "pg_snapshot": Values(f"pg_catalog.format('%s:%s:', 1 + {N}, 1 + {N})"),
    "txid_snapshot": Values(f"pg_catalog.format('%s:%s:', 1 + {N}, 1 + {N})"),
    **{
        name: Values(literal(value), 1)
        for name, value in {
            "regclass": "pg_catalog.pg_class",
            "regtype": "pg_catalog.int4",
            "regproc": "pg_catalog.now",
            "regprocedure": "pg_catalog.now()",
            "regoper": "pg_catalog.||/",
            "regoperator": "pg_catalog.=(integer,integer)",
            "regnamespace": "pg_catalog",
            "regrole": "-",
            "regcollation": 'pg_catalog."C"',
            "regconfig": "pg_catalog.simple",
            "regdictionary": "pg_catalog.simple",
        }.items()
    },
}


def _limited_text(typmod: int) -> Values:
    length = typmod - 4
    if typmod < 0 or length >= 8:
        return Values(_TEXT)
    size = 16**length
    return Values(f"pg_catalog.lpad(pg_catalog.to_hex(({N} % {size})::pg_catalog.int8), {length}, '0')", size)


def _numeric(typmod: int) -> Values:
    if typmod < 0:
        return Values(f"(1 + {N})")
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4 & 0x7FF) ^ 1024) - 1024
    whole = precision - scale
    if scale >= 0 and whole >= 7:
        return Values(f"(1 + {N})")
    size = 10 ** min(precision, 18) - 1
    return Values(f"((1 + {N} % {size}) * 10::pg_catalog.numeric ^ {-scale})", size)


def _bits(typmod: int, *, varying: bool) -> Values:
    bits = min(typmod, 62) if typmod > 0 else 62 if varying else 1
    length = typmod if typmod > 0 and not varying else bits
    return Values(f"({N} % {2**bits})::pg_catalog.int8::bit({length})", 2**bits)


_BY_LENGTH: dict[str, Callable[[int], Values]] = {
    "varchar": _limited_text,
    "bpchar": lambda typmod: _limited_text(5 if typmod < 0 else typmod),
    "numeric": _numeric,
    "bit": lambda typmod: _bits(typmod, varying=False),
    "varbit": lambda typmod: _bits(typmod, varying=True),
}


def _vector(typmod: int) -> Values:
    many = f"pg_catalog.array_fill(({N} % 60000)::pg_catalog.text, ARRAY[{typmod if typmod > 0 else 3}])"
    return Values(f"('[' || pg_catalog.array_to_string({many}, ',') || ']')", 60000)


_OF_EXTENSIONS: dict[str, Callable[[int], Values]] = {
    "citext": lambda _typmod: Values(_TEXT),
    "ltree": lambda _typmod: Values(_TEXT),
    "hstore": lambda _typmod: Values(f"('n=>' || {N}::pg_catalog.text)"),
    "vector": _vector,
    "halfvec": _vector,
}


class Types:
    """The types of a database, each read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[int, int], Type] = {}

    def read(self, oid: int, typmod: int) -> Type:
        """Return the type of that oid, with its length or precision as stored in the catalog."""
        key = (oid, typmod)
        if key not in self._known:
            row = (
                execute(self._connection, statement("scratch/seed_type", type=str(oid), typmod=str(typmod)))
                .mappings()
                .one()
            )
            self._known[key] = Type(**row)
        return self._known[key]

    def values(self, oid: int, typmod: int) -> Values | None:
        """Return values of the type, cast to it; None for a type that nobody here knows."""
        type_ = self.read(oid, typmod)
        made = self._made(type_, typmod)
        return made and Values(f"{made.sql}::{type_.written}", made.size)

    def _made(self, type_: Type, typmod: int) -> Values | None:
        if type_.built_in and type_.name in _FIXED:  # oidvector is an array too, and is not written as one
            return _FIXED[type_.name]
        if type_.built_in and type_.name in _BY_LENGTH:
            return _BY_LENGTH[type_.name](typmod)
        if type_.labels:
            array = f"(ARRAY[{', '.join(map(literal, type_.labels))}]::pg_catalog.text[])"
            return Values(f"{array}[1 + ({N} % {len(type_.labels)})::pg_catalog.int4]", len(type_.labels))
        if type_.attributes is not None:
            return self._row(type_.attributes)
        if not type_.built_in and type_.name in _OF_EXTENSIONS:
            return _OF_EXTENSIONS[type_.name](typmod)
        return self._around(type_, typmod)

    def _around(self, type_: Type, typmod: int) -> Values | None:
        """Return values of a domain, an array, a range or a multirange, made of those of the type within."""
        for within, with_typmod, form in (
            (type_.base, type_.base_typmod, "%s"),
            (type_.element, typmod, "ARRAY[%s]"),
            (type_.range, -1, f"{type_.qualified}(%s)"),
        ):
            if within:
                inner = self.values(within, with_typmod)
                return inner and Values(form.replace("%s", inner.sql), inner.size)
        return self._range(type_, type_.subtype) if type_.subtype else None

    def _range(self, type_: Type, subtype: int) -> Values | None:
        inner = self.values(subtype, -1)
        if inner is None:
            return None
        # Only numbers and dates grow with the number; a range from one text to itself is a range too.
        grows = self.read(subtype, -1).category in ("N", "D")
        bounds = f"{inner.sql}, {inner.at(f'{N} + 1')}, '[)'" if grows else f"{inner.sql}, {inner.sql}, '[]'"
        return Values(f"{type_.qualified}({bounds})", inner.size)

    def _row(self, attributes: list[list[int]]) -> Values | None:
        parts = [self.values(oid, typmod) for oid, typmod in attributes]
        known = [part for part in parts if part]
        if len(known) < len(parts):
            return None
        sizes = [part.size or WIDE for part in known]
        size = max(sizes, default=1)
        return Values(f"ROW({', '.join(part.sql for part in known)})", None if size >= WIDE else size)
