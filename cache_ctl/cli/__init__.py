"""THE COMMAND LINE: one module a command, imported when that command is used.

A module may import what its command needs; what is heavy (networkx, matplotlib, rich, the
controller) is imported inside the function that needs it, so that ``cachectl ls`` starts fast.
"""
