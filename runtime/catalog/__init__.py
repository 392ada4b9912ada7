"""The catalog: one snapshot of a Dataset as one immutable SQLite file.

It says for every path its size, version, digest and place, and fixes the layout of every pack.
``build`` makes it, ``read`` answers from it, ``shelf`` keeps the catalogs of a Dataset on disk.
Clients read it too, from a passed descriptor. Imports the contract and the standard library.
"""
