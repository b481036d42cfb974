"""Ending tasks, stubborn ones too."""

import asyncio

from infra.tasks import end


def test_a_task_that_lost_its_first_cancellations_ends() -> None:
    async def scene() -> None:
        lost = 0

        async def stubborn() -> None:
            nonlocal lost
            while lost < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost += 1
            await asyncio.Event().wait()

        tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.Event().wait())]
        await asyncio.sleep(0)
        await asyncio.wait_for(end(*tasks), 5)
        assert all(task.cancelled() for task in tasks)
        assert lost == 2

    asyncio.run(scene())


def test_what_is_over_already_is_not_waited_for() -> None:
    async def scene() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        await end(task)
        await end()

    asyncio.run(scene())
