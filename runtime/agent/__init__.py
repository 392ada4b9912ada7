"""The agent: what is held, what is fetched, whom to ask; no protocol and no sockets of its own."""
