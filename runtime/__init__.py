"""DATA PLANE: the agent on every node, and the client that reads from it.

Imports go down only::

    __main__ -> serve -> agent -> {store | origin | peers | catalog} -> policy -> contract -> errors
    client -> catalog -> contract -> errors

The agent's install has no kopf, kubernetes, pydantic or networkx; ``runtime`` never imports
``cache_ctl``. The planes meet in ``runtime.contract`` alone.
"""
