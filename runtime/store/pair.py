"""A data file and the map beside it: one blob's bytes in one tier.

The order of writes is what makes every instant safe; see ``docs/on-disk-layout.md``. A cell's
bytes and sums are written while its word says absent; its word says present only afterwards. A
cell's word says absent before anything happens to its bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

import xxhash

from runtime.contract.cellmap import PRESENT, CellMap
from runtime.contract.layout import PackLayout
from runtime.contract.units import ALIGN, KIB, SEGMENT, checksum
from runtime.errors import ConfigError
from runtime.store import disk
from runtime.store.words import marked, presence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.contract.cellmap import MapHeader
    from runtime.contract.layout import Layout
    from runtime.store.core import Core
    from runtime.store.tier import Tier

TRAILER: Final = 8
"""After the map's own bytes: the fingerprint of the pack's layout, 0 for objects."""
_PIECE: Final = 256 * KIB
"""A cell is written in pieces of this size. The page cache finds room for each as one run of
memory, and larger runs took up to three times the processor time on machines whose memory is
fragmented, or lent by a hypervisor."""
_PIECES_PER_BLOCK: Final = 340
"""Pieces of a sparse file that ext4 notes in one block; others need no more."""


def fingerprint(layout: Layout) -> int:
    """Return what tells two layouts of one pack apart; a map does not record its offsets."""
    if not isinstance(layout, PackLayout):
        return 0
    digest = xxhash.xxh3_64(layout.offsets.tobytes())
    digest.update(layout.sizes.tobytes())
    digest.update(layout.groups.tobytes())
    return digest.intdigest()


def overhead(header: MapHeader) -> int:
    """Return the bytes charged for a pair beyond its cells.

    The map, and a slack for the blocks in which the file system notes where a sparse file's
    pieces lie, taken to be as small as 64 KiB, or as every other cell.
    """
    return disk.blocks(0, header.file_size + TRAILER) + slack(header)


def slack(header: MapHeader) -> int:
    """Return the part of the overhead that stands for blocks of the data file."""
    pieces = max(header.size // SEGMENT, header.cells // 2, 1)
    return ALIGN * (1 + -(-pieces // _PIECES_PER_BLOCK))


class FilePair:
    """One blob's files in one tier. All but ``write_cell`` and ``read`` need the store's lock.

    ``charged`` is what the tier counts for it, ``residents`` counts its units, ``layout_mark`` is
    the fingerprint that the map ends with, ``distrusted`` says that no word of it may be believed
    after a machine crash. ``lent`` says that the bytes may be held by a reader's mapping; so may
    those of a file from before, as holds outlive an agent. ``uses`` keep the descriptors open; once
    ``dead`` (its names are gone, every word says absent), the bytes are freed when the last use
    ends, as a send or a write under way may still touch them; ``awaits_mappings`` says that only
    mappings are left.
    """

    def __init__(self, core: Core, tier: Tier, dataset: str, header: MapHeader) -> None:
        self.tier = tier
        self.dataset = dataset
        self.header = header
        self.key = header.key
        self.charged = 0
        self.residents = 0
        self.uses = 0
        self.dead = False
        self.lent = True
        self.awaits_mappings = False
        self.distrusted = False
        self.layout_mark = 0
        self._core = core
        self._base = f"{tier.path}/{dataset}/{header.key[:2]}/{header.key}"
        self._data = -1
        self._writing = -1
        self._passing = -1
        self._map: CellMap | None = None

    def create(self, layout_mark: int) -> None:
        """Make both files; the map is allocated in full, as a store to a hole may kill.

        Raises:
            OSError: the medium is full or failed; nothing is left.
        """
        self._core.fault("fill.before-create")
        folder = self._base.rpartition("/")[0]
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - plain strings throughout this file
        try:
            self.layout_mark = layout_mark
            self._create_map()
            self._core.fault("fill.after-map")
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._writing = os.open(f"{self._base}.data", flags, 0o600)
            os.ftruncate(self._writing, self.header.size)
            self.lent = False
        except OSError:
            self.close()
            self._unlink()
            raise
        self._core.fault("fill.after-create")

    def _create_map(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{self._base}.map", flags, 0o600)
        try:
            size = self.header.file_size
            os.posix_fallocate(fd, 0, size + TRAILER)
            os.pwrite(fd, self.layout_mark.to_bytes(TRAILER, "little"), size)
            os.pwrite(fd, self.header.encode(), 0)
        finally:
            os.close(fd)

    @property
    def map(self) -> CellMap:
        """Return the mapped map, opening the files if they are not.

        Raises:
            OSError: the medium failed, or the map is broken.
        """
        if self._map is None:
            self._open()
        else:
            self._core.descriptors.used(self)
        assert self._map is not None
        return self._map

    def opened(self) -> tuple[CellMap, int]:
        """Return the map and the descriptor for reading, opening the files if they are not.

        Raises:
            OSError: the medium failed, or the map is broken.
        """
        if self._map is None or self._data < 0:
            return self.map, self.data_fd
        self._core.descriptors.used(self)
        return self._map, self._data

    @property
    def mapped(self) -> CellMap:
        """Return the map without the lock, in a use."""
        assert self._map is not None
        return self._map

    def _open(self) -> None:
        fd = os.open(f"{self._base}.map", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._map = CellMap(fd, writable=True)
        except ConfigError as error:
            raise OSError(errno.EIO, f"{error}: {self._base}.map") from error
        finally:
            os.close(fd)
        self._core.descriptors.used(self)
        if self.distrusted:
            # After a machine crash no word is believed; each unit is verified before its first
            # use, and readers that are given this map must see nothing before that.
            self._core.fault("vet.before-words")
            self.clear(marked(presence(self._map.words.tobytes())))
            self.distrusted = False

    @property
    def data_fd(self) -> int:
        """Return the descriptor for reading bytes."""
        if self._data < 0:
            self._data = self._open_file("data", os.O_RDONLY)
        self._core.descriptors.used(self)
        return self._data

    @property
    def writing_fd(self) -> int:
        """Return the descriptor for writing and punching bytes; it never leaves this process."""
        if self._writing < 0:
            self._writing = self._open_file("data", os.O_RDWR)
        self._core.descriptors.used(self)
        return self._writing

    @property
    def map_fd(self) -> int:
        """Return a descriptor of the map that readers may be given: it cannot write."""
        if self._passing < 0:
            self._passing = self._open_file("map", os.O_RDONLY)
        self._core.descriptors.used(self)
        return self._passing

    def _open_file(self, suffix: str, flags: int) -> int:
        return os.open(f"{self._base}.{suffix}", flags | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the descriptors; they are opened again when needed."""
        if self._map is not None:
            self._map.close()
            self._map = None
        for fd in (self._data, self._writing, self._passing):
            if fd >= 0:
                os.close(fd)
        self._data = self._writing = self._passing = -1

    # -- words ---------------------------------------------------------------------------------

    def publish(self, cells: Iterable[int]) -> None:
        """Say that these cells are present: their bytes and sums are written."""
        words = self.map.words
        for cell in cells:
            words[cell] = ((words[cell] >> 1) + 1) << 1 | PRESENT
            self._core.fault("fill.amid-publish")

    def clear(self, cells: Iterable[int]) -> None:
        """Say that these cells are absent, before anything happens to their bytes."""
        words = self.map.words
        for cell in cells:
            word = words[cell]
            if word & PRESENT:
                words[cell] = ((word >> 1) + 1) << 1
                self._core.fault("take.amid-words")

    # -- bytes; called without the lock, while ``uses`` keeps the files open ---------------------

    def write_cell(self, cell: int, offset: int, data: memoryview) -> int:
        """Write an absent cell's bytes and sums; return the sum of the cell.

        Raises:
            OSError: the medium is full or failed.
        """
        fault = self._core.fault
        fault("fill.before-write")
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            disk.write_all(self._writing, piece, offset + start)
            fault("fill.amid-write")
        fault("fill.after-write")
        whole = checksum(data)
        per_cell = self.header.segments_per_cell
        first = cell * per_cell
        for index in range(-(-len(data) // SEGMENT) if per_cell else 0):
            piece = data[index * SEGMENT : (index + 1) * SEGMENT]
            self.mapped.segments[first + index] = checksum(piece)
        self.mapped.sums[cell] = whole
        fault("fill.after-sums")
        return whole

    def read(self, start: int, stop: int) -> bytes:
        """Read bytes of the blob.

        Raises:
            OSError: the medium failed.
        """
        return disk.read_all(self._data, stop - start, start)

    def matches(
        self, cell: int, size: int, span: tuple[int, int], data: bytes, *, thorough: bool
    ) -> bool:
        """Compare a span of a cell of ``size`` bytes with its checksums.

        With the cell's sum if it is all of it, else by segments; ``thorough``: with both.
        """
        low, high = span
        if len(data) != high - low:
            return False
        if span == (0, size):
            whole = checksum(data) == self.mapped.sums[cell]
            if not (whole and thorough):
                return whole
        per_cell = self.header.segments_per_cell
        first = cell * per_cell + low // SEGMENT
        view = memoryview(data)
        pieces = range(0, len(data), SEGMENT) if per_cell else ()
        sums = self.mapped.segments
        return all(
            checksum(view[offset : offset + SEGMENT]) == sums[first + index]
            for index, offset in enumerate(pieces)
        )

    # -- the end -------------------------------------------------------------------------------

    def punch(self, start: int, stop: int) -> bool:
        """Free the blocks between two offsets, and zero the parts of blocks at the edges.

        Returns False where the file system cannot do it, or a reader's mapping holds the bytes.

        Raises:
            OSError: the medium failed.
        """
        return not self.held() and disk.punch(self.writing_fd, start, stop)

    def lend(self) -> tuple[int, int]:
        """Return new descriptors of data and map; the bytes are held while the first is open.

        The hold is a shared lock on an open file of its own, so it ends with the last descriptor
        and the last mapping of that, in whatever process they are.

        Raises:
            OSError: the medium failed, or this process may open no more files.
        """
        data = self._open_file("data", os.O_RDONLY)
        try:
            fcntl.flock(data, fcntl.LOCK_SH | fcntl.LOCK_NB)
            cells = self._open_file("map", os.O_RDONLY)
        except OSError:
            os.close(data)
            raise
        self.lent = True
        return data, cells

    def held(self) -> bool:
        """Tell whether a reader's mapping holds the bytes, so that they must stay as they are."""
        if self.lent:
            try:
                fcntl.flock(self.writing_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(self._writing, fcntl.LOCK_UN)
            except BlockingIOError:
                return True
            except OSError:
                return False  # what cannot be opened cannot be changed either
            self.lent = False
        return False

    def acquire(self, *, writing: bool = False) -> None:
        """Begin a use: the descriptors stay open until the store's ``Room.release``.

        Raises:
            OSError: the medium failed.
        """
        _ = self.map, self.data_fd
        if writing:
            _ = self.writing_fd
        self.uses += 1

    def retire(self) -> None:
        """Clear every word and remove the names. Call it in a use; its end frees the bytes.

        Raises:
            OSError: the medium failed.
        """
        self.dead = True
        self._core.fault("retire.before-words")
        try:
            self.clear(marked(presence(self.map.words.tobytes())))
            self._core.fault("retire.before-unlink")
        finally:
            self._unlink()

    def _unlink(self) -> None:
        disk.unlink_quietly(f"{self._base}.data")
        self._core.fault("retire.amid-unlink")
        disk.unlink_quietly(f"{self._base}.map")

    def free(self) -> bool:
        """Free all bytes of a dead pair, for readers elsewhere may keep its descriptors.

        Returns False, and leaves them, where a reader's mapping holds them.

        Raises:
            OSError: the medium failed.
        """
        if self.held():
            return False
        if self._writing >= 0 and self._map is not None:
            disk.punch(self._writing, 0, disk.blocks(0, self.header.size))
        return True
