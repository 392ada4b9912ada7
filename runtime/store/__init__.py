"""The chunk store: blobs as sparse files with a map beside each, over several tiers.

::

    store        the whole: open, attach, reserve, drop, report
      recover    what a tier's folder held when it was opened
      blob       one blob: presence, places, verified reads
      reserve    room for cells, and the writing and publishing of them
      scrub      reads what rests and compares it
      room       quotas: admission, eviction, demotion
        tier     one medium: used bytes, state, order of eviction
        pair     a data file and its map: words, sums, bytes
          core   the lock, counters and open descriptors that all share
          disk   the few system calls that Python lacks, the tier's mark

**Threads.** All bookkeeping happens under one lock, which is never held across the reading or
writing of a cell's bytes, except where a docstring says so; so every call may come from any
thread, and those of the event loop stay short. Docs: ``docs/on-disk-layout.md``.
"""
