"""The chunk store: blobs as sparse files with a map beside each, over several tiers.

::

    store            the whole: open, attach, reserve, drop, report
      sleepers       what the tiers held before and nobody has used: scanned, woken, removed
        recover      a tier's folder looked at, and its pairs taken in
        dormant      objects that nobody has used, as rows
      folder         a tier's folder: taken, marked, given back
      reservation    room for cells, and the writing and publishing of them
      scrub          reads what rests and compares it
      relief         room made in advance, and demotion to the next tier
        blob         one blob: presence, places, verified reads
          room       quotas: admission and eviction
            tier     one medium: used bytes, state, order of eviction
            pair     a data file and its map: words, sums, bytes
              core   the lock, counters and open descriptors that all share
              words  scans of a map's words
              disk   the few system calls that Python lacks, the tier's mark

**Threads.** All bookkeeping happens under one lock, so every call may come from any thread. The
lock is never held while a cell's bytes are read or written, but for the first question about a unit
after a machine crash (``Blob.vet``); so the calls of the event loop stay short.
The order of writes that makes every instant safe is in ``docs/on-disk-layout.md``.
"""
