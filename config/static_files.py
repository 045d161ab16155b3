"""WhiteNoise without a thread for each request that is under way: it can serve files, and is not asynchronous."""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise has no types.
    """Looks for a file only where files are, in a thread; all else passes through."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The file, or what the next in line answers; a coroutine if that is one."""
        if not iscoroutinefunction(self.get_response):
            return super().__call__(request)
        return self._answer(request)

    async def _answer(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(self.static_prefix):
            found = await sync_to_async(self._find)(request)
            if found is not None:
                return found
        return await self.get_response(request)

    def _find(self, request: HttpRequest) -> Any:
        path = request.path_info
        file = self.find_file(path) if self.autorefresh else self.files.get(path)
        return None if file is None else self.serve(file, request)
