"""The demo: a small edge cluster on one machine, with a real origin, real agents and readers."""
