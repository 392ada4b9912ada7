"""The origin: listing and reading the object store or file system behind a Dataset.

Every read names the version it wants, and yields bytes of that version or raises: what the origin
says about an answer is held against what was asked, before and while its body comes in. One
driver per kind of store; ``base.open_origin`` picks it by the source's scheme.
"""
