"""The native stack: real servers of Kafka, PostgreSQL, Redis and Cassandra behind a fault proxy, for who has no Docker.

    with start_stack(folder, services=("kafka",)) as stack:
        stack.kafka.url           # bootstrap servers; .proxied_url where the fault proxy stands in between
        stack.kafka.kill()        # SIGKILL; pause() and resume() are SIGSTOP and SIGCONT
        stack.kafka.restart()     # on the same port, over the same data

What is missing is downloaded through Maven and Go. Every server is a process of its own that outlives its starter;
``state.json`` in the folder names all of them, so that the next start attaches and anybody can stop them.
"""

from infra.stack.record import StackFailure
from infra.stack.servers import SERVICES, Condition, Stack, Status, default_folder, open_stack, start_stack

__all__ = ["SERVICES", "Condition", "Stack", "StackFailure", "Status", "default_folder", "open_stack", "start_stack"]
