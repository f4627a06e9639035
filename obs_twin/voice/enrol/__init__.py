"""Enrolment: from recordings of a consenting person to the decoder that speaks with their voice."""
