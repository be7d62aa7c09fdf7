"""The Alembic directives: what a revision asks for, and how it is done online or as an SQL script."""
