"""``wrk``: the client for many small requests, in C, with one thread.

Its buffer has 8 KiB, so that a body of 64 KiB costs it about as much as nginx: a server that is
faster than that shows by its processor time more than by its rate.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from tests.perf.bench.peers.install import Installed, debian
from tests.perf.bench.process import reset_peak, usage
from tests.perf.bench.row import Sample

_SCRIPT = """
local requests, number = {}, 0
local headers = %(headers)s
for line in io.lines(%(list)s) do
  requests[#requests + 1] = "GET " .. line .. " HTTP/1.1\\r\\n" .. headers .. "\\r\\n"
end
request = function()
  number = number %% #requests + 1
  return requests[number]
end
done = function(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %%d, "bytes": %%d, "microseconds": %%d, "failed": %%d}\\n',
    summary.requests, summary.bytes, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests for some paths of one server, ready to be sent again and again."""

    program: Installed
    script: Path
    url: str
    pids: tuple[int, ...]

    def turn(self, connections: int, seconds: int = 1) -> Sample:
        """Ask for ``seconds`` over so many connections; the unit is requests.

        Raises:
            RuntimeError: an answer was missing or not a success.
        """
        reset_peak(self.pids)
        before, own = usage(self.pids), resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(
            (
                *(self.program.program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"),
                *("--timeout", "10s", "-s", str(self.script), self.url),
            ),
            env={**os.environ, **self.program.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        after, now = usage(self.pids), resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.returncode:
            raise RuntimeError(f"wrk failed: {(ended.stderr or ended.stdout).strip()[-200:]}")
        told = json.loads(ended.stderr.strip().splitlines()[-1])
        if told["failed"] or not told["requests"]:
            raise RuntimeError(f"{told['failed']} of {told['requests']} requests failed")
        return Sample(
            seconds=told["microseconds"] / 1e6,
            work=told["requests"],
            client_cpu=now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime,
            server_cpu=after.cpu - before.cpu,
            rss=after.peak,
            bytes=told["bytes"],
        )


def load(
    folder: Path, url: str, paths: Sequence[str], pids: tuple[int, ...], token: str = ""
) -> Load:
    """Prepare requests for ``paths`` below ``url``, which go round and round.

    The token goes into a file that others cannot read, not into the command.

    Raises:
        Unavailable: wrk cannot be installed.
    """
    program = debian("wrk")
    folder.mkdir(parents=True, mode=0o700)
    parts = urlsplit(url)
    headers = f"Host: {parts.netloc}\r\n"
    if token:
        headers += f"Authorization: Bearer {token}\r\n"
    listed = folder / "targets"
    listed.write_text("".join(f"{parts.path}/{quote(path)}\n" for path in paths))
    script = folder / "load.lua"
    # JSON's strings are Lua's, for ASCII text.
    values = {"headers": json.dumps(headers), "list": json.dumps(str(listed))}
    script.write_text(_SCRIPT % values)
    return Load(program, script, f"{parts.scheme}://{parts.netloc}", pids)
