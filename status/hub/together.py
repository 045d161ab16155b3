"""Work done once for all who ask for it at the same moment: many pages come back together when a server restarts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Together(Generic[Asked, Answer]):
    """Collects what is asked while the work before is under way, and has it done at once.

    Args:
        work: gets what was asked, in order, and returns as many answers; an answer that is an exception is raised
            for who asked. What `work` itself raises is raised for all of them.

    Example:
        >>> users = Together(read_users)
        >>> await users.ask(17)
        <User: alice>
    """

    def __init__(self, work: Callable[[list[Asked]], Awaitable[Sequence[Answer | BaseException]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Answer:
        """The answer. Who goes away meanwhile takes nothing from the others."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, answer))
        if self._task is None:
            self._task = loop.create_task(self._do())
        return await answer

    async def _do(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._answer([each for each in waiting if not each[1].done()])
        finally:
            self._task = None

    async def _answer(self, waiting: list[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._work([asked for asked, _answer in waiting])
        except Exception as error:
            answers = [error] * len(waiting)
        for (_asked, answer), found in zip(waiting, answers, strict=True):
            if answer.done():
                continue
            if isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)
