"""From Kafka into a table with a unique key: each event once, whatever is delivered how often."""
