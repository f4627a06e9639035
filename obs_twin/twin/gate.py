"""The decision whether a twin may be shown: consent present, fitting, trusted, in its time, not withdrawn, in scope."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from obs_twin.twin.consent import RECORD_NAME, ConsentRecord, Use
from obs_twin.twin.manifest import Manifest, format_time
from obs_twin.twin.refusal import (
    ConsentAltered,
    ConsentExpired,
    ConsentForeign,
    ConsentMissing,
    ConsentNotYetValid,
    ConsentRevoked,
    ConsentScope,
    TrustUnreadable,
)
from obs_twin.twin.trust import LocalTrust, TrustError

CONSENT_ADVICE = "Ask {person} to renew the consent: obs-twin twin renew {pack}"


def check_consent(
    source: Path,
    manifest: Manifest,
    record: ConsentRecord | None,
    now: datetime,
    scope: Use | None,
    trust: LocalTrust,
) -> None:
    """The whole decision on what is written; the files themselves are `obs_twin.twin.pack`'s to verify.

    Args:
        source: the pack's path, for messages.
        manifest, record: of the pack; a record's signature has been checked by `parse_record`.
        now: the time, with time zone.
        scope: what the twin is about to be used for; None leaves that out of the decision.
        trust: the local lists.

    Raises:
        PackError: one of its kinds that concern consent.
    """
    try:
        revoked = trust.revocation(manifest, record)
        if revoked is not None:
            raise ConsentRevoked(
                f"{manifest.display_name}'s consent for {manifest.name!r} was withdrawn on "
                f"{revoked.get('revoked')}. The twin may not be used any more; delete {source}."
            )
        if manifest.synthetic:
            _check_synthetic(source, manifest, record, trust)
        else:
            _check_person(source, manifest, record, now, trust)
    except TrustError as error:
        raise TrustUnreadable(str(error)) from error
    if record is not None and scope is not None:
        outside = scope.outside(record.scope)
        if outside:
            raise ConsentScope(
                f"{record.subject_name}'s consent does not cover this use: {outside}. In OBS, say it under Tools > "
                "Scripts > 'What this is used for'. If it is another use, ask for a new consent: obs-twin twin renew "
                f"{manifest.name}"
            )


def _check_synthetic(source: Path, manifest: Manifest, record: ConsentRecord | None, trust: LocalTrust) -> None:
    person = trust.known_person(manifest)
    if person is None and record is not None:
        person = record.subject_name
    if person is not None:
        raise ConsentMissing(
            f"The twin pack {source.name} says that its subject is synthetic, but its files belong to a "
            f"real person, {person}. It needs {person}'s consent record and must say that it shows a person."
        )


def _check_person(
    source: Path, manifest: Manifest, record: ConsentRecord | None, now: datetime, trust: LocalTrust
) -> None:
    if record is None:
        raise ConsentMissing(
            f"The twin pack {source.name} shows {manifest.display_name} and has no consent record (expected "
            f"{RECORD_NAME}). {manifest.display_name} can give one: obs-twin twin renew {manifest.name}"
        )
    person = record.subject_name
    advice = CONSENT_ADVICE.format(person=person, pack=manifest.name)
    if person.casefold() != manifest.display_name.casefold():
        raise ConsentAltered(
            f"The twin pack {source.name} shows {manifest.display_name}, but its consent record was given by "
            f"{person}. A record by {manifest.display_name} is needed."
        )
    if record.models_digest != manifest.models_digest:
        raise ConsentAltered(
            f"{person}'s consent in {source.name} was given for other models: expected a list of models "
            f"with sha256 {record.models_digest[:16]}..., found {manifest.models_digest[:16]}.... {advice}"
        )
    if not trust.trusts(record.public_key, person):
        raise ConsentForeign(
            f"The consent in {source.name} is signed with the key {record.fingerprint}, which is not known "
            f"here as {person}'s. If {person} confirms that key to you, accept it: obs-twin twin trust "
            f"{source}"
        )
    if now < record.start:
        raise ConsentNotYetValid(
            f"{person}'s consent begins on {format_time(record.start)}, and now it is {format_time(now)}. "
            "Wait, or check this machine's clock."
        )
    if now >= record.expires:
        raise ConsentExpired(f"{person}'s consent ended on {format_time(record.expires)}. {advice}")
