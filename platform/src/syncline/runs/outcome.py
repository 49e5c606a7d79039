"""One table: what an error means for the part, the run and the connection. The documentation is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from syncline.connections.models import ConnectionState
from syncline.contract import (
    AuthError,
    ConfigError,
    ConnectorFault,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    RecordRejected,
    Retryable,
    SynclineError,
    UnsupportedFeature,
)
from syncline.ledger.writer import FenceLost


@dataclass(frozen=True, slots=True)
class Consequence:
    """`part`: "again" (queued, after a pause), "lost" (somebody else has it), "dead" (the others go on) or "ends" (it is
    dead, and so would all the others be: the run ends). `spends`: one of its attempts."""

    error: type[BaseException]
    part: str
    spends: bool
    connection: ConnectionState | None
    next_step: str


CONSEQUENCES: Final = (
    Consequence(FenceLost, "lost", False, None, "Nothing to do: another worker goes on with it."),
    Consequence(RateLimited, "again", False, None, "Nothing to do: it goes on when the account has room."),
    Consequence(Retryable, "again", True, None, "Nothing to do unless it stays: then check whether the system can be reached."),
    Consequence(OutcomeUnknown, "again", True, None, "Nothing to do: what was sent is looked up before anything is sent again."),
    Consequence(AuthError, "ends", False, ConnectionState.RECONNECT, "Reconnect the account, then run the sync again."),
    Consequence(ConfigError, "ends", False, None, "Correct the setting that is named, then run the sync again."),
    Consequence(UnsupportedFeature, "ends", False, None, "Choose another object or mode: the connector does not offer this."),
    Consequence(RecordRejected, "dead", False, None, "Correct the record that is named."),
    Consequence(Permanent, "dead", False, None, "Read the message: sending the same again would not help."),
    Consequence(ConnectorFault, "again", True, None, "Report it to the connector's author, with the run's number."),
    Consequence(SynclineError, "again", True, None, "Look into the log of the worker."),
    Consequence(Exception, "again", True, None, "Look into the log of the worker."),
)


def consequence(error: BaseException) -> Consequence:
    return next(c for c in CONSEQUENCES if isinstance(error, c.error))


#: What a person can do about records in this state or with this code; shown beside each error group.
NEXT_STEPS: Final = {
    "shared_here": "Correct or merge these records here; they are looked at again once they change, or once a day.",
    "several_remote": "Merge the records in the account, or link one of them by hand.",
    "linked_to_other": "Correct one of the two records, or move the link.",
    "keyed_to_other": "Clear our key property on the remote record, or correct one of the two records.",
    "contradiction": "Decide whether they are the same, and link them by hand if so.",
    "gone": "Decide whether it shall be created again: change the sync's policy, or leave it.",
    "merged": "Merge or correct the two records here.",
    "waiting": "Nothing to do: the association follows as soon as the other record is linked.",
    "not_found": "The record is not there any more; the sync's policy for deleted records says what happens.",
    "conflict": "A unique value belongs to another record: correct the value here or there.",
    "unknown_property": "Refresh the catalog; then create the property in the account or remove its rule from the mapping.",
    "read_only": "Remove the rule that writes this property from the mapping.",
    "invalid_value": "Correct the value here, or add a transform to the rule.",
    "invalid_choice": "Map the value to one of the choices, or add the choice in the account.",
    "too_long": "Shorten the value here, or add the transform truncate to the rule.",
    "required": "Fill the value here, or map another field to the property.",
    "put_off": "Run the sync again when these records are at rest; see in their ledger pages what happened.",
    "not_fetched": "Nothing to do: it is fetched again by the next run, or in a day when it could not be.",
    "open": "Nothing to do: the next run looks up what became of it before anything is sent again.",
    "suspended": "Open the sync's page: it says what changed in the account, and what can be done.",
    "withheld": "Look through the list on the run's page; approve it there, or correct what made these records leave.",
    "unknown": "See in the account whether it arrived; then link it by hand or send it again.",
    "empty_listing": "Check in the account that its log-in may still see these records, then run the sync again.",
    "nameless": "Report it to the connector's author, with the run's number.",
}

#: The same for remote records that could not be stored here, where it is something else.
ARRIVAL_STEPS: Final = {
    "shared_here": "Merge or correct ours; or link it to one of them in the review list, or create it as a record of its own.",
    "several_remote": "Merge them in the account; or link one of them in the review list, and create the others as new records.",
    "linked_to_other": "Merge the two in the account or correct one; or create it as a record of its own in the review list.",
    "contradiction": "Decide in the review list: link it to our record if they are the same, else create it as one of its own.",
    "perhaps_ours": "Link it in the review list to our record if it is the same, else create it as a record of its own.",
    "being_created": "Nothing to do: it is taken in once a push has found out whether it is ours.",
    "gone_here": "Delete it in the account too, or take it in anew in the review list.",
    "kept_here": "See why our app keeps the record; then try again in the review list.",
    "refused_id": "Nothing to do if the account has no such ids; else see the reason, and try again in the review list.",
    "waiting": "Nothing to do: it is taken up as soon as the other record is here.",
    "not_found": "Nothing to do if it was deleted on purpose; else unlink it in the ledger and try again.",
    "conflict": "A unique value belongs to another record here: correct one of the two, or link them in the review list.",
    "invalid_value": "Correct the value in the account, or add a transform to the rule.",
    "invalid_choice": "Map the choice to a value that the field takes, or correct it in the account.",
    "too_long": "Shorten the value in the account, or add the transform truncate to the rule.",
    "required": "Fill the value in the account, or pull another property into the field.",
    "read_only": "Remove the rule that pulls into this field.",
    "unknown_property": "Remove the rule that pulls into this field.",
}
#: The same for messages of a log that could not be taken in.
LETTER_STEPS: Final = {
    "unreadable": "Correct whoever sends it, who then sends it anew; dismiss this one.",
    "tombstone": "Delete the record here if that is what it means; dismiss this one.",
    "invalid_value": "Correct the mapping, or whoever sends it; then try again.",
    "invalid_choice": "Map the choice to a value that the field takes, publish, then try again.",
    "too_long": "Add the transform truncate to the rule, publish, then try again.",
    "required": "Map another property to the field, publish, then try again; else whoever sends it has to fill it.",
    "not_found": "Add here what it refers to, then try again.",
    "conflict": "Correct the record here that it contradicts, then try again.",
    "gap": "See in the account what is lost; start over if it still has the messages.",
}
DEFAULT_LETTER_STEP: Final = "Correct the mapping or the record here, then try again; or dismiss it."
DEFAULT_ARRIVAL_STEP: Final = (
    "Correct the record in the account or the mapping; it is tried again once it changes, or once a day."
)
DEFAULT_STEP: Final = "Correct the record here or the mapping; it is sent again once one of them changes, or once a day."


def next_step(code: str, *, pulled: bool = False) -> str:
    """`pulled`: about a remote record that could not be stored here."""
    if pulled:
        return ARRIVAL_STEPS.get(code) or NEXT_STEPS.get(code, DEFAULT_ARRIVAL_STEP)
    return NEXT_STEPS.get(code, DEFAULT_STEP)


def letter_step(code: str) -> str:
    """About a message that could not be taken in."""
    return LETTER_STEPS.get(code, DEFAULT_LETTER_STEP)
