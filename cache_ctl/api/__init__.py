"""What people and the cluster write: pydantic models of our kinds, and the kinds we read.

Imports pydantic, PyYAML, the standard library and ``cache_ctl.errors``.
"""
