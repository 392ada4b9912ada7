"""What child processes run in the client's tests: importable, so that spawned ones find it."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle

from runtime.client.filesystem import CacheFileSystem


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


def digest_with(options, names):
    """Return the digests as read with a file system of the process's own."""
    return digest_all(CacheFileSystem(**options), names)


def read_rest(pickled, pipe):
    """Send what a pickled open file still has to read."""
    with pickle.loads(pickled) as file:
        pipe.send(file.read())
    pipe.close()


def in_process(method, target, *arguments):
    """Run a function in a child process and return what it sends."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(30)
        return receiver.recv()
    finally:
        receiver.close()
        process.join(30)
