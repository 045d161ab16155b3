"""Keeping to paused queues, in the worker: its consumer leaves them, and takes them up again when they are resumed."""

import logging
from collections.abc import Callable
from typing import Any

from celery import signals
from django.db import connections

from status import queues

logger = logging.getLogger(__name__)

_held: set[str] = set()
"""The queues that this worker would take messages from, but that are paused."""


def connect(look: Callable[[], None]) -> None:
    """Listen for a worker that begins; called once when the app is ready.

    Args:
        look: has the rows read and the consumer settled, soon and in another thread.
    """

    def register(**kwargs: Any) -> None:
        # Only here is Celery's worker code imported anyway.
        from celery.worker.control import control_command

        def obey(state: Any) -> dict[str, str]:
            """The remote-control command: somebody has paused or resumed a queue."""
            look()
            return {"ok": "looking"}

        control_command(name=queues.COMMAND, visible=False)(obey)

    signals.worker_init.connect(register, dispatch_uid="status.pausing", weak=False)
    signals.celeryd_after_setup.connect(_on_setup, dispatch_uid="status.pausing", weak=False)


def held() -> set[str]:
    """The queues that this worker leaves alone since they are paused."""
    return set(_held)


def _on_setup(instance: Any, **kwargs: Any) -> None:
    """Before the worker takes its first message: leave out what is paused."""
    try:
        _leave_out(instance.app, queues.paused())
    except Exception as error:
        # It begins all the same, and looks again when it is ready.
        logger.warning("Which queues are paused is not known yet: %r", error)
    finally:
        connections.close_all()


def _leave_out(app: Any, paused: set[str]) -> None:
    for name in set(app.amqp.queues.consume_from) & paused:
        logger.info("The queue %s is paused", name)
        app.amqp.queues.deselect(name)
        _held.add(name)


def settle(consumer: Any, paused: set[str]) -> None:
    """Have a consumer leave what is paused, and take up what is not any more; in the consumer's own thread.

    Only queues that were left here are taken up: a worker never takes from others than it was started for.

    Args:
        consumer: Celery's, of the worker.
        paused: the names of the queues that are paused.
    """
    if consumer.task_consumer is None:
        # Its connection is lost just now; the next look finds it again.
        return
    try:
        for name in set(consumer.app.amqp.queues.consume_from) & paused:
            consumer.cancel_task_queue(name)
            _held.add(name)
        for name in _held - paused:
            consumer.add_task_queue(name)
            _held.discard(name)
    except Exception as error:
        logger.warning("The worker does not keep to paused queues yet: %r", error)
