"""What can go wrong, as one tree.

ReviewpulseError            everything the command line shows as one line
|-- SettingsError           a setting has an unusable value
|-- BrokerError             Kafka cannot be reached, refuses, or is not what the project needs
|   `-- RefusedError        Kafka answers, but does not let this client in, or is not to be trusted
|-- SourceChangedError      the reviews topic was deleted and made again while a worker read it
|-- MembershipError         another worker goes by this one's name in the consumer group
|-- StoreError              the store cannot be opened, read or written
|-- RejectedError           rejected records cannot be found, read or sent again as asked
|-- CheckpointError         a checkpoint folder is missing or does not fit this version
|-- RegistryError           the registry of checkpoints refuses, or cannot be read or written
|-- ReviewFileError         a file of reviews cannot be read at all
|-- DownloadError           a category could not be fetched
`-- TrainingError           training cannot start or go on with what it was given

Bad data is not an error: it becomes a `Rejected` with a reason (see records.py).
"""


class ReviewpulseError(Exception):
    """Base of all errors that a user can mend; the message names the thing and the cure."""


class SettingsError(ReviewpulseError):
    """A setting has an unusable value."""


class BrokerError(ReviewpulseError):
    """Kafka cannot be reached, refuses, or is not what the project needs."""


class RefusedError(BrokerError):
    """Kafka answers, but does not let this client in, or is not to be trusted."""


class SourceChangedError(ReviewpulseError):
    """The reviews topic was deleted and made again while a worker read it: its offsets start anew."""


class MembershipError(ReviewpulseError):
    """Another worker goes by this one's name in the consumer group."""


class StoreError(ReviewpulseError):
    """The store cannot be opened, read or written."""


class RejectedError(ReviewpulseError):
    """Rejected records cannot be found, read or sent again as asked."""


class CheckpointError(ReviewpulseError):
    """A checkpoint folder is missing or does not fit this version."""


class RegistryError(ReviewpulseError):
    """The registry of checkpoints refuses what it was asked, or cannot be read or written."""


class ReviewFileError(ReviewpulseError):
    """A file of reviews cannot be read at all."""


class DownloadError(ReviewpulseError):
    """A category of reviews could not be fetched."""


class TrainingError(ReviewpulseError):
    """Training cannot start or go on with what it was given."""
