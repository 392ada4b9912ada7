"""What can go wrong in the control plane.

::

    ControlError
    ├── InvalidInput     a document or a field in it is not usable
    │   ├── InvalidQuantity   an amount such as "4Mi" or "20Mbit" cannot be read
    │   └── InvalidDegree     the degree of the peer graph is odd or below two
    ├── Unreadable       a file or a state directory cannot be read or written
    ├── UnknownName      no object has this name
    └── InvariantBroken  a decision contradicts itself; nothing of it may be used

Every message is one sentence for a person: it names the field, its value and the remedy.
No message carries a secret.
"""


class ControlError(Exception):
    """The root of all errors of the control plane."""


class InvalidInput(ControlError):
    """A document, or a field in it, is not usable."""


class InvalidQuantity(InvalidInput):
    """An amount of bytes or of bytes per second cannot be read."""


class InvalidDegree(InvalidInput):
    """The degree of the peer graph is odd or below two."""


class Unreadable(ControlError):
    """A file or a state directory cannot be read or written."""


class UnknownName(ControlError):
    """No object has this name."""


class InvariantBroken(ControlError):
    """A decision contradicts itself; nothing of it may be used."""
