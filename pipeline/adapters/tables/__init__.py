"""The consent and suppression tables, whole on every machine: one file, one follower, any number of readers."""

from pipeline.adapters.tables.folder import Folder, FolderError, place
from pipeline.adapters.tables.follower import Follower
from pipeline.adapters.tables.marks import KafkaMarks
from pipeline.adapters.tables.reading import FileTables
from pipeline.adapters.tables.records import Records

__all__ = ["FileTables", "Folder", "FolderError", "Follower", "KafkaMarks", "Records", "place"]
