"""What child processes run in the client's tests: importable, so that spawned ones find it."""

from __future__ import annotations

import hashlib
import pickle


def digest_all(filesystem, names):
    """Return the digests of files, read in both ways that a file can be."""
    digests = {
        name: hashlib.sha256(data).hexdigest() for name, data in filesystem.cat(names).items()
    }
    for name in names:
        with filesystem.open(name) as file:
            assert hashlib.sha256(file.read()).hexdigest() == digests[name]
    return digests


def digest_into(filesystem, names, pipe):
    """Send the digests, or the failure, through a pipe."""
    try:
        pipe.send(digest_all(filesystem, names))
    except BaseException as error:
        pipe.send(repr(error))
        raise
    finally:
        pipe.close()


def read_rest(pickled, pipe):
    """Send what a pickled open file still has to read."""
    with pickle.loads(pickled) as file:
        pipe.send(file.read())
    pipe.close()
