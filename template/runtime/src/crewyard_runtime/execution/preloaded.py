"""The last module that the fork server preloads: it notes which threads the modules before it have started."""

import threading

THREADS = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
