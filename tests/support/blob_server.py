"""A server as a process of its own: ``python -m tests.support.blob_server FILE``.

Serves the file's ranges at ``/OFFSET/LENGTH`` over TCP and prints its port.
"""

from __future__ import annotations

import asyncio
import os
import sys

from runtime.serve.message import Answer, FileSpan, Request
from runtime.serve.server import HttpServer


def refused(error: Exception) -> Answer:
    return Answer(500, (), (str(error).encode(),))


async def main(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)

    def route(request: Request) -> Answer:
        offset, length = map(int, request.path.split("/")[1:])
        return Answer(200, (), (FileSpan(fd, offset, length),))

    server = HttpServer(route, on_error=refused)
    port = await server.listen_tcp("127.0.0.1", 0)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
