"""From objects to objects: gather, decide (pure), apply, report. One file per kind.

Knows the cluster by its interface only, so that the operator and local mode run the same passes.
"""
