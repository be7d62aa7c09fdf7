"""The harness of the consumers' torture reads rows correctly, and a seed is a plan."""

from datetime import timedelta
from itertools import islice
from random import Random

import psycopg
import pytest
from sqlalchemy import make_url

from torture.consumer.campaign import plan_of
from torture.consumer.events import EPOCH, Content, data_of, key_of, plain, spell, spell_time
from torture.consumer.poison import KINDS
from torture.consumer.scene import read_back
from torture.consumer.stream import stream
from torture.consumer.strikes import DOWN, STRIKES, UP


def test_seed_gives_the_same_stream():
    """A seed decides every message and its partition."""
    first, again = (list(islice(stream("7/0", 6), 500)) for _ in range(2))
    assert first == again
    assert first != list(islice(stream("8/0", 6), 500))


def test_stream_has_everything():
    """The stream has new events, redeliveries, collisions and poison of every kind, in the documented shares."""
    messages = list(islice(stream("1", 6), 5000))
    contents = [message.content for message in messages if message.content]
    assert set(KINDS) == {message.kind for message in messages if message.kind}
    assert 0.02 < 1 - len(contents) / len(messages) < 0.04
    assert 0.15 < 1 - len(set(contents)) / len(contents) < 0.25
    assert any(content.version for content in contents)
    assert set(range(6)) == {message.partition for message in messages}


def test_seed_gives_the_same_plan():
    """A seed decides the strikes; there are strikes of every kind, and each downgrade is followed by an upgrade."""
    first, again = (plan_of(Random("7/0"), 40, server=True, wire=True) for _ in range(2))
    assert first == again
    assert {*STRIKES, UP, DOWN} == set(first.strikes)
    turns = [name for name in first.strikes if name in (UP, DOWN)]
    assert [DOWN, UP] * (len(turns) // 2) == turns


@pytest.fixture
def stored(server_url):
    """Let PostgreSQL read events, and return the rows as the harness reads them."""

    def store(*values):
        url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            query = (
                "SELECT e->>'correlation_id', e->>'action_name', e->>'timestamp', e->>'agent_name', "
                "e->>'action_type', e->'action_details', coalesce((e->>'debug_mode')::boolean, true), "
                "(e->>'duration_ms')::int FROM (SELECT %s::jsonb AS e) AS event"
            )
            typed = f"SELECT a::uuid, b, c::timestamptz, d, e, f, g, h FROM ({query}) AS e(a, b, c, d, e, f, g, h)"
            return [read_back(connection.execute(typed, (value.decode(),)).fetchone()) for value in values]

    return store


def test_every_spelling_is_the_same_event(stored):
    """An event is the same row, in whatever zone and precision its time and in whatever form its UUID is written."""
    for number in (1, 2, 3, 4, 3999):
        values = [spell(Content(number, 1), Random(seed)) for seed in range(30)]
        assert len(set(values)) > 20
        assert [Content(number, 1)] * 31 == [row.content for row in stored(*values, plain(Content(number, 1)))]


def test_times_differ_in_their_digits():
    """Some spellings have more digits than PostgreSQL keeps, some fewer, and some have another date."""
    at = EPOCH + timedelta(microseconds=123_456)
    spelled = {spell_time(at, Random(seed)) for seed in range(300)}
    assert {6, 7, 8, 9} == {len(time[20:-1]) for time in spelled if time.endswith("Z")}
    assert {"2031", "2030"} == {time[:4] for time in spelled}


@pytest.mark.parametrize("column", range(8))
def test_row_that_differs_is_noticed(column):
    """A row with another key belongs to no event, and a row with other data is not what was sent."""
    content = Content(5, 0)
    row = [*key_of(5), *data_of(content)]
    assert "" == read_back(tuple(row)).wrong
    row[column] = {2: key_of(5)[2] + timedelta(microseconds=1), 6: False, 7: 1}.get(column, "other")
    assert "" != read_back(tuple(row)).wrong
