"""Brokers and consumers, which other suites share."""

import pytest

pytest.importorskip("confluent_kafka", reason="needs the extra kafka")

from kafka import broker, consume, consumer_file, inside, mock, url  # noqa: F401 - fixtures
