"""PURE: what the control plane decides, from facts to plans.

::

    observe -> facts -> classify -> hold -> topology -> planning -> runtime.contract.plan
                                              routes ----^

The standard library, networkx, xxhash, ``runtime.contract`` and ``cache_ctl.errors``; no I/O, no
clock, no randomness, no asyncio. Times are parameters. Every function gives the same answer for
the same facts in any order.
"""
