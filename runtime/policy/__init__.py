"""PURE decisions of the data plane: no I/O, clock, randomness or asyncio; imports the contract."""
