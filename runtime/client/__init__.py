"""THE CLIENT: fsspec's ``cachectl://`` protocol, read-only, over the agent on the same node.

Names are resolved from the snapshot's catalog, and bytes read from the store's files, both through
descriptors that the agent passed once; the agent is asked only for what is not cached yet::

    filesystem   fsspec's methods over one session
    files        file objects: a small one held in memory, a large one read as it is used
    objects      reads of one large object: verify, ask for what is absent, read through
    mappings     one large object mapped into memory
    members      reads of small objects out of packs, one or many at a time
    snapshots    the snapshot of a Dataset that is current, and what keeps it alive
    blobs        descriptors and cell maps of a blob, and what the agent is asked about it
    agent_socket questions to the agent over its Unix socket
    settings     options and environment
    failures     errors that are both ``runtime.errors`` and ``OSError``

Imports nothing of the agent; ``runtime.catalog.read`` and ``runtime.contract`` only.
"""
