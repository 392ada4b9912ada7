"""Local mode: the reconcile code over an in-memory cluster, and one real agent process per node."""
