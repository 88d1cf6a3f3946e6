"""The last module that the fork server preloads: it notes which threads the modules before it have started."""

import encodings.idna  # noqa: F401  # each run's first connection would import it
import gc
import threading

THREADS = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]

# A collection in a run would write to all objects of its parent's, and so copy the memory that runs share.
gc.freeze()
gc.enable()
