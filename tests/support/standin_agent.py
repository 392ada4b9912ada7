"""A stand-in for the agent: ``standin_agent.py [--stubborn] [--dies] --settings FILE``.

It serves ``/report`` on its Unix socket from its settings and its plan, as the agent does, and
caches nothing. A stubborn one does not leave when asked to; one that dies does so at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from runtime.contract import codec
from runtime.contract.plan import Plan
from runtime.contract.report import DatasetReport, NodeReport, PrewarmReport
from runtime.contract.token import Keys
from runtime.settings import AgentSettings


def report(settings: AgentSettings) -> NodeReport:
    """Return what an agent with everything cached would say."""
    plan = codec.loads(Plan, Path(settings.plan_file).read_bytes())
    keys = Keys.decode(Path(settings.keys_file).read_text())
    return NodeReport(
        node=settings.node,
        uid=settings.uid,
        network_class=plan.network_class,
        mode=plan.mode,
        domain=plan.domain,
        ready=True,
        plan_generation=plan.generation,
        pid=os.getpid(),
        address=settings.address,
        port=settings.port,
        socket=settings.socket,
        datasets=tuple(
            DatasetReport(item.ref, snapshot="s1", files=1, bytes=0) for item in plan.datasets
        ),
        prewarms=tuple(PrewarmReport(item.uid, "Complete") for item in plan.prewarms),
        counters={"peer_key_bytes": len(keys.peer)},
    )


async def serve(settings: AgentSettings, *, stubborn: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if stubborn else stop.set)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(text=codec.dumps(report(settings)))

    app = web.Application()
    app.router.add_get("/report", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, settings.socket).start()
    await stop.wait()
    await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--dies", action="store_true")
    parser.add_argument("--settings", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.dies:
        sys.stderr.write(f"agent {os.getpid()}: the tier is on fire\n")
        return 3
    asyncio.run(serve(AgentSettings.load(arguments.settings), stubborn=arguments.stubborn))
    return 0


if __name__ == "__main__":
    sys.exit(main())
