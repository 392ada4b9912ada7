"""PEERS: connections to the other agents of the domain.

``dial`` is the only module of the code base that connects to another agent.
May import ``policy``, ``contract`` and ``errors``.
"""
