"""A server of a few lines, for what a test does with each connection."""

import contextlib
import socket
import threading
import time


@contextlib.contextmanager
def connections_go_to(meet, after=0.0):
    """The address of a port whose connections go to `meet`, one by one; it refuses them for the first seconds."""
    listener = socket.socket()
    listener.bind(("localhost", 0))
    if not after:
        listener.listen()

    def accept():
        if after:
            time.sleep(after)
            listener.listen()
        with contextlib.suppress(OSError):
            while True:
                meet(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"localhost:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
