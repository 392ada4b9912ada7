"""THE WIRE: what the controller, agents and clients agree on, versioned.

The one package both planes import. The standard library and xxhash only; no I/O but the mapping
of a descriptor in ``cellmap``.
"""
