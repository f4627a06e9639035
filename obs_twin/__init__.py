"""OBS Twin: a presenter's consented, disclosed digital twin, live in OBS Studio."""
