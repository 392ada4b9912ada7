"""``python -m runtime --settings FILE``: one node's agent."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.agent.agent import Agent
from runtime.agent.plansource import PlanSource
from runtime.contract.token import Keys
from runtime.errors import CacheError, ConfigError
from runtime.serve.failures import answer_of, sentence
from runtime.serve.message import Answer
from runtime.serve.routes import Routes
from runtime.serve.server import HttpServer
from runtime.settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from runtime.contract.plan import Plan
    from runtime.serve.message import Request

log = logging.getLogger("runtime")

LISTEN_SECONDS: Final = 1.0
"""Between two tries of a port that is in use."""
KEYS_PAUSES: Final = (0.05, 0.2, 0.5)
"""Before the keys are read again."""


class Node:
    """The agent and its listeners: a Unix socket always, a port only among peers."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._agent: Agent | None = None
        self._routes: Routes | None = None
        self._port: int | None = None
        self._trying: asyncio.Task[None] | None = None
        self._server = HttpServer(self._handle, on_error=answer_of, remembered=self._remembered)

    def _handle(self, request: Request) -> Answer | Awaitable[Answer]:
        if self._routes is None:
            if request.target == "/healthz":  # it lives, and waits
                return Answer(200, (), (b"ok\n",))
            return sentence(503, "the agent waits for its first plan")
        return self._routes(request)

    def _remembered(self, request: bytes) -> tuple[bytes, bytes] | None:
        return self._routes.remembered(request) if self._routes is not None else None

    def _accept(self, address: str) -> bool:
        if self._agent is None:
            return False
        self._agent.note_accept(address)
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop.

        Raises:
            CacheError: the agent cannot start; the sentence says why.
        """
        settings = self._settings
        state = Path(settings.state_dir)
        state.mkdir(parents=True, exist_ok=True)
        await self._server.listen_unix(settings.socket)
        following = asyncio.create_task(self._follow(state), name="plan")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([following, stopping], return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                await following
        finally:
            stopping.cancel()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self._stop_trying()
            await self._server.close()
            if self._agent is not None:
                await self._agent.close()

    async def _follow(self, state: Path) -> None:
        settings = self._settings
        source = PlanSource(Path(settings.plan_file), state / "plan.json")
        log.info("node %s looks for its plan at %s", settings.node, settings.plan_file)
        async for plan in source.plans():
            try:
                await self._take(plan)
            except (CacheError, OSError) as error:
                if self._agent is None:
                    raise
                log.error(  # noqa: TRY400 - the sentence says it all
                    "generation %d cannot be followed in full: %s", plan.generation, error
                )

    async def _take(self, plan: Plan) -> None:
        keys = await _keys(self._settings)
        if self._agent is None:
            gc.disable()
            try:
                self._agent = await Agent.start(self._settings, keys, plan)
            finally:
                # What the tiers hold is found now, and stays: collections that walked through a
                # million units again and again would take a fourth of the start, and delay reads.
                gc.freeze()
                gc.enable()
            self._routes = Routes(
                self._agent, port=lambda: self._port, server=self._server.counters
            )
        else:
            self._agent.rekey(keys)
            await self._agent.follow(plan)
        await self._listen()

    async def _listen(self) -> None:
        """Open the port when there are peers, and close it when there are none."""
        assert self._agent is not None
        await self._stop_trying()
        self._agent.port_problem = ""
        if not self._agent.view.distributed and self._port is not None:
            await self._server.close_tcp(self._port)
            self._port = None
            log.info("listens on its Unix socket only")
        elif (
            self._agent.view.distributed
            and self._port is None
            and not await self._open_port(self._agent)
        ):
            self._trying = asyncio.create_task(self._keep_trying(self._agent), name="port")

    async def _open_port(self, agent: Agent) -> bool:
        """Open the port, or report why it cannot be opened; readers on the node need none."""
        settings = self._settings
        try:
            self._port = await self._server.listen_tcp(
                settings.address, settings.port, on_accept=self._accept
            )
        except ConfigError as error:
            cause = error.__cause__
            away = isinstance(cause, OSError) and cause.errno == errno.EADDRNOTAVAIL
            remedy = (
                "correct the Node's InternalIP, which is none of this machine's addresses"
                if away
                else "end what uses it, or correct the CacheRuntime's port"
            )
            text = f"{error}; {remedy}"
            if text != agent.port_problem:
                log.error("%s", text)  # noqa: TRY400 - the sentence says it all
            agent.port_problem = text
            return False
        agent.port_problem = ""
        log.info("listens on %s:%d", settings.address, self._port)
        return True

    async def _keep_trying(self, agent: Agent) -> None:
        while True:
            await asyncio.sleep(LISTEN_SECONDS)
            if await self._open_port(agent):
                return

    async def _stop_trying(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
            self._trying = None


async def _keys(settings: AgentSettings) -> Keys:
    """Read the keys; a file that is being replaced may be away for a moment."""
    for pause in KEYS_PAUSES:
        try:
            return Keys.decode(Path(settings.keys_file).read_text())
        except (OSError, ConfigError):
            await asyncio.sleep(pause)
    try:
        return Keys.decode(Path(settings.keys_file).read_text())
    except OSError as error:
        raise ConfigError(f"keys file {settings.keys_file}: {error.strerror}") from error


async def _main(settings: AgentSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Node(settings).run(stop)


def main() -> int:
    """Run the agent; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runtime", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's settings, JSON")
    try:
        settings = AgentSettings.load(parser.parse_args().settings)
        logging.basicConfig(
            level=settings.log_level,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        asyncio.run(_main(settings))
    except (CacheError, OSError) as error:
        sys.stderr.write(f"agent {os.getpid()}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
