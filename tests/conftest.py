"""What holds for every test."""

import signal

# A shell that starts the run in its background has it ignore interrupts, and children inherit that;
# tests that interrupt a command are about a command started as from a prompt.
signal.signal(signal.SIGINT, signal.default_int_handler)
