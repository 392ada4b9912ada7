"""CONTROL PLANE: the controller and the command line.

Imports go down only::

    __main__ -> cli -> local -> reconcile -> {kube | manifests} -> {domain | api} -> errors

``domain`` and ``manifests`` are pure: no I/O, no clock, no randomness, no asyncio.
Of ``runtime`` this package imports ``runtime.contract`` alone; the command line also imports
``runtime.client``, as any user of the cache would.
"""
