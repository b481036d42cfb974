"""Ending tasks for certain."""

import asyncio
from typing import Any

ASK_AGAIN_SECONDS = 0.1


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks and wait until they are over.

    Asked more than once if need be: until Python 3.12 ``asyncio.wait_for``, which database drivers wait with, forgets a
    cancellation that comes in the same turn as what was waited for (https://github.com/python/cpython/issues/86296).
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ASK_AGAIN_SECONDS)
