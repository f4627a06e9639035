"""OBS Twin: a presenter's consented, disclosed digital twin, live in OBS Studio."""

__version__ = "0.1.0"
