"""Why a twin pack is refused: one class per reason, so that each can be counted and shown in its own words."""

from __future__ import annotations


class PackError(RuntimeError):
    """A pack is refused. `str()` says what was expected, what was found, and what to do."""

    code = "refused"
    """For counters and the log."""
    title = "This twin cannot be used"
    """For the card and the panel: a few words."""
    public = "A twin is only shown when everything about it is in order."
    """For the card, which strangers see: a sentence without names of files, keys or people."""


class PackMissing(PackError):
    """There is no pack."""

    code = "pack_missing"
    title = "Twin pack not found"
    public = "The chosen twin is not on this computer."


class PackDamaged(PackError):
    """The manifest or a model file is missing, truncated, altered, or of an unknown kind."""

    code = "pack_damaged"
    title = "Twin pack is damaged or altered"
    public = "Its files are not as they were made, so it is not shown."


class PackUnsafe(PackError):
    """The zip file could do harm when unpacked."""

    code = "pack_unsafe"
    title = "Twin pack is not safe to open"
    public = "Its files could do harm, so they were not opened."


class ConsentMissing(PackError):
    """A real person, and no record; or one that is said to be synthetic and is not."""

    code = "consent_missing"
    title = "No consent for this twin"
    public = "A twin is only shown with the consent of the person it shows."


class ConsentAltered(PackError):
    """The record was changed, or was given for other models."""

    code = "consent_altered"
    title = "Consent does not fit this twin"
    public = "The person shown agreed to something else."


class ConsentForeign(PackError):
    """The record is signed by a key that nobody here has accepted as that person's."""

    code = "consent_foreign"
    title = "Consent is signed by an unknown key"
    public = "It is not certain that the person shown has agreed."


class ConsentNotYetValid(PackError):
    """The record's time has not begun."""

    code = "consent_not_yet_valid"
    title = "Consent has not begun yet"
    public = "The person shown agreed to a later time."


class ConsentExpired(PackError):
    """The record's time is over."""

    code = "consent_expired"
    title = "Consent has expired"
    public = "A twin is only shown while the person it shows agrees."


class ConsentRevoked(PackError):
    """The consent was withdrawn."""

    code = "consent_revoked"
    title = "Consent was withdrawn"
    public = "A twin is only shown while the person it shows agrees."


class ConsentScope(PackError):
    """The record does not cover this use."""

    code = "consent_scope"
    title = "Consent does not cover this use"
    public = "The person shown agreed to other uses."


class TrustUnreadable(PackError):
    """The local lists of trusted keys and revocations cannot be read."""

    code = "trust_unreadable"
    title = "Consent cannot be checked"
    public = "A twin is only shown when the consent of the person shown is certain."
