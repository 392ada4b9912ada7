"""The cluster as an interface, its in-memory twin, and what we last heard from it.

Imports ``cache_ctl.api`` and ``cache_ctl.errors``. A client of a real API server belongs here, and
nowhere else.
"""
