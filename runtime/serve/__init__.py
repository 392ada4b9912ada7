"""SERVING: HTTP/1.1 over TCP and Unix sockets, and the agent's routes.

Sockets are driven by the event loop's readers and writers directly, so that bodies leave by
``os.sendfile``. May import everything in ``runtime`` but ``__main__``.
"""
