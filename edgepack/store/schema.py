"""The tables of the newest version; `migrations` brings older stores to it.

What lists, names and trends look for has columns; the rest of a noun is one JSON text, so that
a new field needs no migration. Samples are one compact blob a measurement (`samples`). Columns
are an index: cleaned and cut so that any database takes them. Nothing reads them back into a
`Measurement`, and into a `Run` only where an old store has no document of it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

packages = Table(
    "packages",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("source_name", Text, nullable=False),
    Column("document", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("started_at", String(40), nullable=False),
    Column("package_digest", ForeignKey("packages.digest"), nullable=False, index=True),
    Column("package_path", Text),
    Column("git_commit", String(64), index=True),
    Column("note", Text, nullable=False),
    Column("git_branch", Text, index=True),
    # The run's own fields as they were given; "{}" in a run that is older than this column.
    Column("document", Text, nullable=False, server_default=text("'{}'")),
)

tags = Table(
    "tags",
    metadata,
    Column("run_id", ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(100), primary_key=True, index=True),
)

measurements = Table(
    "measurements",
    metadata,
    Column("run_id", ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("variant", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("runtime", Text),
    Column("runtime_version", Text),
    Column("accelerator", Text, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("p50_ns", BigInteger),
    Column("quality_metric", Text),
    Column("quality_value", Float),
    Column("document", Text, nullable=False),
    Column("samples", LargeBinary, nullable=False),
    Column("bytes", BigInteger),
    Column("governor", Text),
    Column("inputs", Text),
    # Lists and the search for a series read this index and no measurement.
    Index("ix_measurements_listed", "run_id", "position", "device", "variant", "status"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("run_id", ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("device", Text, nullable=False),
    Column("document", Text, nullable=False),
)

# How a run is to be carried out, so that what it lacks can be measured later.
journals = Table(
    "journals",
    metadata,
    Column("run_id", ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("document", Text, nullable=False),
)
