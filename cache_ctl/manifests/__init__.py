"""PURE: plans and assignments as plain Kubernetes objects. No I/O, clock or randomness."""
