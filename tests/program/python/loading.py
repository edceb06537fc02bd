"""An interface that never ends loading: as one that reads a large model from a slow disk."""

import threading

threading.Event().wait()


@expose
def ready() -> bool:
    """Whether it is loaded."""
    return True
