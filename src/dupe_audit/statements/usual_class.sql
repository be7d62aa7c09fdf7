-- Purpose: return whether an operator class is the one that CREATE INDEX chooses for a type: text_ops for text, although bpchar_ops accepts text too.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads; a part of other statements.
-- The same order as GetDefaultOpClass() in the server: the type below a domain, then the default class of exactly this type, then one whose type it
-- becomes without a conversion, best a preferred type. A class can store another type than it accepts, as name_ops does.
SELECT {opclass}.opcdefault AND EXISTS (
    WITH RECURSIVE down AS (
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = {type}
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type t JOIN down d ON t.oid = d.typbasetype WHERE d.typtype = 'd'
    )
    SELECT FROM down base
    WHERE base.typtype <> 'd'
      AND (base.oid IN ({opclass}.opcintype, {opclass}.opckeytype)
           OR NOT EXISTS (
               SELECT FROM pg_catalog.pg_opclass better
               WHERE better.opcdefault AND better.opcmethod = {opclass}.opcmethod
                 AND (better.opcintype = base.oid
                      OR (better.opcintype <> {opclass}.opcintype
                          AND (SELECT it.typispreferred FROM pg_catalog.pg_type it WHERE it.oid = better.opcintype)
                          AND EXISTS (SELECT FROM pg_catalog.pg_cast c
                                      WHERE c.castsource = base.oid AND c.casttarget = better.opcintype
                                        AND c.castmethod = 'b' AND c.castcontext = 'i')))))
) AS usual_class
