"""Scores for the face and the voice of a twin, and the benches that print them (`obs-twin bench`)."""
