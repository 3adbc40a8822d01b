"""Several servers of one model: they share the work, and one that goes away loses none of it."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from drp_plugin.llm.addresses import SEVERAL
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError
from drp_plugin.llm.openai_client import CONNECT_S, OpenAITeacher
from drp_plugin.llm.retry import Persistent, Unusable, stopping

S = TypeVar("S", bound=OpenAITeacher)
T = TypeVar("T")


class Servers(Generic[S]):
    """Shares requests out. Each goes to the server that has least to do; where nobody is there, to
    another one at once. A server that was not there is tried again after a while, by one request
    first; where none is there, the last one is tried as patiently as if it were the only one."""

    def __init__(self, servers: Sequence[S]) -> None:
        self.servers = deque(servers)
        for server in servers:
            server.persistent.elsewhere = self._elsewhere

    async def ask(self, attempt: Callable[[S], Awaitable[T]]) -> T:
        """What `attempt` makes of a server. Raises what it raises at the last one."""
        last, hops = None, 2 * len(self.servers)
        while True:
            last, hops = self._next(last), hops - 1
            try:
                return await attempt(last)
            except (TeacherError, Unusable):
                lost = last.persistent.gone and self._elsewhere() and not stopping()
                if not lost or not hops:
                    raise

    def _next(self, last: S | None) -> S:
        chosen = min(self.servers, key=lambda server: (
            server.persistent.away, server is last, server.persistent.running))
        self.servers.rotate(-1)  # where they have equally much to do, they take turns
        if chosen.persistent.gone:  # the others wait for what becomes of this one
            chosen.persistent.stay_away(CONNECT_S)
        return chosen

    def _elsewhere(self) -> bool:
        return not all(server.persistent.away for server in self.servers)


class SharedTeacher(Teacher):
    """One model behind several OpenAI-compatible servers. Its replies are one model's, whichever
    server gave them: the ledger does not tell them apart."""

    def __init__(self, servers: Sequence[OpenAITeacher]) -> None:
        self.name = servers[0].name
        self.identity = {**servers[0].identity, "base_url": SEVERAL}
        self._servers = Servers(servers)

    @property
    def connections(self) -> list[Persistent]:
        return [server.persistent for server in self._servers.servers]

    async def ask(self, request: Request) -> Reply:
        """Answer one request, by any of the servers; raises as `OpenAITeacher.ask`."""
        return await self._servers.ask(lambda server: server.ask(request))

    async def close(self) -> None:
        """Close the connections."""
        for server in self._servers.servers:
            await server.close()
