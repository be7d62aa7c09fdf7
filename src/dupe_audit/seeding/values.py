"""Formulas by type: SQL expressions that turn a row's number into a value, a distinct one per number if possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

N = "\x01"  #: stands for the row's number in a formula; no name or literal of a schema contains this character
UNLIMITED = 10**7  #: distinct values; no check generates more rows


@dataclass(frozen=True, slots=True)
class Formula:
    """An SQL expression that turns a row's number into a value."""

    sql: str  #: with ``N`` in place of the number, which is at least 0
    size: int | None = None  #: number of distinct values; None if they never run out

    def at(self, number: str) -> str:
        """Return the expression for a number, which is itself given as SQL."""
        return self.sql.replace(N, f"({number})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type, as the catalog has it; other types are given by their oids."""

    name: str
    built_in: bool
    kind: str  #: pg_type.typtype
    category: str  #: pg_type.typcategory
    not_null: bool
    formatted: str  #: as SQL, with its length or precision
    element: int  #: of an array; 0 for other types
    base: int  #: of a domain; 0 for other types
    base_typmod: int
    subtype: int | None  #: of a range
    range: int | None  #: of a multirange
    qualified: str  #: schema and name, quoted
    labels: list[str] | None  #: of an enum
    attributes: list[list[int]] | None  #: of a composite type: oid and typmod of each attribute
    checks: list[list[str]] | None  #: of a domain: name and condition of each


_TEXT = f"('v' || {N}::pg_catalog.text)"
_HEX = f"pg_catalog.to_hex({N}::pg_catalog.int8)"
_DAYS = f"{N} % 1000000"
_TIME_SPAN = f"pg_catalog.make_interval(secs => ({_DAYS}) * 86413.0)"

_BY_NAME = {
    "int2": Formula(f"(1 + {N} % 32767)", 32767),
    "int4": Formula(f"(1 + {N} % 2147483647)"),
    "int8": Formula(f"(1 + {N})"),
    "float4": Formula(f"(1 + {N})", 2**24),
    "float8": Formula(f"(1 + {N})"),
    "money": Formula(f"(1 + {N})::pg_catalog.numeric"),
    "text": Formula(_TEXT),
    "name": Formula(_TEXT),
    "refcursor": Formula(_TEXT),
    "char": Formula(f"pg_catalog.chr(97 + ({N} % 26)::pg_catalog.int4)", 26),
    "bytea": Formula(f"pg_catalog.int8send({N}::pg_catalog.int8)"),
    "bool": Formula(f"({N} % 2 = 0)", 2),
    "date": Formula(f"(date '1997-01-01' + ({_DAYS})::pg_catalog.int4)", 10**6),
    "timestamp": Formula(f"(timestamp '1997-01-01' + {_TIME_SPAN})", 10**6),
    "timestamptz": Formula(f"(timestamptz '1997-01-01 00:00+00' + {_TIME_SPAN})", 10**6),
    "time": Formula(f"(time '00:00' + pg_catalog.make_interval(secs => {N} % 86400))", 86400),
    "timetz": Formula(f"(timetz '00:00+00' + pg_catalog.make_interval(secs => {N} % 86400))", 86400),
    "interval": Formula(f"pg_catalog.make_interval(secs => {N})"),
    "uuid": Formula(f"pg_catalog.md5({_TEXT})"),
    "json": Formula(f"pg_catalog.json_build_object('n', {N})"),
    "jsonb": Formula(f"pg_catalog.jsonb_build_object('n', {N})"),
    "jsonpath": Formula(f"('$.v' || {N}::pg_catalog.text)"),
    "xml": Formula(f"('<v>' || {N}::pg_catalog.text || '</v>')"),
    "inet": Formula(f"(inet '10.0.0.0' + {N} % 16777216)", 2**24),
    "cidr": Formula(f"(inet '10.0.0.0' + {N} % 16777216)", 2**24),
    "macaddr": Formula(f"pg_catalog.lpad({_HEX}, 12, '0')"),
    "macaddr8": Formula(f"pg_catalog.lpad({_HEX}, 16, '0')"),
    "tsvector": Formula(_TEXT),
    "tsquery": Formula(_TEXT),
    "point": Formula(f"pg_catalog.point({N}, {N})"),
    "line": Formula("('{1,-1,' || " + N + "::pg_catalog.text || '}')"),
    "lseg": Formula(f"pg_catalog.lseg(pg_catalog.point({N}, 0), pg_catalog.point({N}, 1))"),
    "box": Formula(f"pg_catalog.box(pg_catalog.point({N}, 0), pg_catalog.point({N} + 0.5, 1))"),
    "path": Formula(f"pg_catalog.format('[(%s,0),(%s,1)]', {N}, {N})"),
    "polygon": Formula(f"pg_catalog.polygon(pg_catalog.box(pg_catalog.point({N}, 0), pg_catalog.point({N} + 0.5, 1)))"),
    "circle": Formula(f"pg_catalog.circle(pg_catalog.point({N}, 0), 0.25)"),
    "pg_lsn": Formula(f"('0/' || pg_catalog.to_hex(({N} % 4294967295)::pg_catalog.int8))"),
    "oid": Formula(f"(1 + {N})"),
    "xid": Formula(f"(1 + {N})::pg_catalog.text"),
    "xid8": Formula(f"(1 + {N})::pg_catalog.text"),
    "cid": Formula(f"(1 + {N})::pg_catalog.text"),
    "tid": Formula(f"('(' || {N}::pg_catalog.text || ',1)')"),
    "oidvector": Formula(f"{N}::pg_catalog.text"),
    "int2vector": Formula(f"({N} % 32767)::pg_catalog.text", 32767),
    "pg_snapshot": Formula(f"pg_catalog.format('%s:%s:', 1 + {N}, 1 + {N})"),
    "txid_snapshot": Formula(f"pg_catalog.format('%s:%s:', 1 + {N}, 1 + {N})"),
    **{
        name: Formula(literal(value), 1)
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


def _limited_text(typmod: int) -> Formula:
    length = typmod - 4
    if typmod < 0 or length >= 8:
        return Formula(_TEXT)
    size = 16**length
    return Formula(f"pg_catalog.lpad(pg_catalog.to_hex(({N} % {size})::pg_catalog.int8), {length}, '0')", size)


def _numeric(typmod: int) -> Formula:
    if typmod < 0:
        return Formula(f"(1 + {N})")
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4 & 0x7FF) ^ 1024) - 1024
    whole = precision - scale
    if scale >= 0 and whole >= 7:
        return Formula(f"(1 + {N})")
    size = 10 ** min(precision, 18) - 1
    return Formula(f"((1 + {N} % {size}) * 10::pg_catalog.numeric ^ {-scale})", size)


def _bits(typmod: int, *, varying: bool) -> Formula:
    bits = min(typmod, 62) if typmod > 0 else 62 if varying else 1
    length = typmod if typmod > 0 and not varying else bits
    return Formula(f"({N} % {2**bits})::pg_catalog.int8::bit({length})", 2**bits)


_BY_TYPMOD: dict[str, Callable[[int], Formula]] = {
    "varchar": _limited_text,
    "bpchar": lambda typmod: _limited_text(5 if typmod < 0 else typmod),
    "numeric": _numeric,
    "bit": lambda typmod: _bits(typmod, varying=False),
    "varbit": lambda typmod: _bits(typmod, varying=True),
}


def _vector(typmod: int) -> Formula:
    elements = f"pg_catalog.array_fill(({N} % 60000)::pg_catalog.text, ARRAY[{typmod if typmod > 0 else 3}])"
    return Formula(f"('[' || pg_catalog.array_to_string({elements}, ',') || ']')", 60000)


_OF_EXTENSIONS: dict[str, Callable[[int], Formula]] = {
    "citext": lambda _typmod: Formula(_TEXT),
    "ltree": lambda _typmod: Formula(_TEXT),
    "hstore": lambda _typmod: Formula(f"('n=>' || {N}::pg_catalog.text)"),
    "vector": _vector,
    "halfvec": _vector,
}


class Types:
    """The types of a database, each read from the catalog once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._types: dict[tuple[int, int], Type] = {}

    def read(self, oid: int, typmod: int) -> Type:
        """Return the type with that oid; *typmod* is its length or precision as stored in the catalog."""
        key = (oid, typmod)
        if key not in self._types:
            query = statement("scratch/seed_type", type=str(oid), typmod=str(typmod))
            self._types[key] = Type(**execute(self._connection, query).mappings().one())
        return self._types[key]

    def formula(self, oid: int, typmod: int) -> Formula | None:
        """Return the formula for the type, with a cast to it; None if the type is unknown."""
        type_ = self.read(oid, typmod)
        formula = self._uncast(type_, typmod)
        return formula and Formula(f"{formula.sql}::{type_.formatted}", formula.size)

    def _uncast(self, type_: Type, typmod: int) -> Formula | None:
        if type_.built_in and type_.name in _BY_NAME:  # before arrays: oidvector is one, but not written like one
            return _BY_NAME[type_.name]
        if type_.built_in and type_.name in _BY_TYPMOD:
            return _BY_TYPMOD[type_.name](typmod)
        if type_.labels:
            array = f"(ARRAY[{', '.join(map(literal, type_.labels))}]::pg_catalog.text[])"
            return Formula(f"{array}[1 + ({N} % {len(type_.labels)})::pg_catalog.int4]", len(type_.labels))
        if type_.attributes is not None:
            return self._composite(type_.attributes)
        if not type_.built_in and type_.name in _OF_EXTENSIONS:
            return _OF_EXTENSIONS[type_.name](typmod)
        return self._wrapped(type_, typmod)

    def _wrapped(self, type_: Type, typmod: int) -> Formula | None:
        """Return the formula for a domain, an array, a range or a multirange, built from that of its inner type."""
        for inner_oid, inner_typmod, form in (
            (type_.base, type_.base_typmod, "%s"),
            (type_.element, typmod, "ARRAY[%s]"),
            (type_.range, -1, f"{type_.qualified}(%s)"),
        ):
            if inner_oid:
                inner = self.formula(inner_oid, inner_typmod)
                return inner and Formula(form.replace("%s", inner.sql), inner.size)
        return self._range(type_, type_.subtype) if type_.subtype else None

    def _range(self, type_: Type, subtype: int) -> Formula | None:
        inner = self.formula(subtype, -1)
        if inner is None:
            return None
        # Only numbers and dates grow with the row's number; for other types the range holds a single value.
        grows = self.read(subtype, -1).category in ("N", "D")
        bounds = f"{inner.sql}, {inner.at(f'{N} + 1')}, '[)'" if grows else f"{inner.sql}, {inner.sql}, '[]'"
        return Formula(f"{type_.qualified}({bounds})", inner.size)

    def _composite(self, attributes: list[list[int]]) -> Formula | None:
        parts = [part for oid, typmod in attributes if (part := self.formula(oid, typmod))]
        if len(parts) < len(attributes):
            return None
        size = max((part.size or UNLIMITED for part in parts), default=1)
        return Formula(f"ROW({', '.join(part.sql for part in parts)})", None if size >= UNLIMITED else size)
