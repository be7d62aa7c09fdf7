"""The only place that talks to the server, waits, retries and sets timeouts."""
