"""A token bucket, told the time by its caller."""

from __future__ import annotations


class TokenBucket:
    """Let ``rate`` bytes a second pass, with bursts of up to ``burst`` bytes; 0 is unlimited.

    Bytes are taken first and paid for after: ``take`` returns the seconds to wait. So a block
    larger than the burst passes too, and the long-run rate holds.
    """

    def __init__(self, rate: float, *, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._then = now

    @property
    def rate(self) -> float:
        """Bytes per second, 0 for unlimited."""
        return self._rate

    def set_rate(self, rate: float, *, burst: float, now: float) -> None:
        """Change the rate; what was owed at the old one stays owed."""
        self._refill(now)
        self._rate = rate
        self._burst = burst
        self._tokens = min(self._tokens, burst)

    def take(self, count: int, *, now: float) -> float:
        """Take ``count`` bytes and return the seconds to wait before using them."""
        if not self._rate:
            return 0.0
        self._refill(now)
        self._tokens -= count
        return self.owed(now=now)

    def owed(self, *, now: float) -> float:
        """Return the seconds until all that was taken is paid for at the present rate."""
        if not self._rate:
            return 0.0
        self._refill(now)
        return max(0.0, -self._tokens / self._rate)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
        self._then = now
