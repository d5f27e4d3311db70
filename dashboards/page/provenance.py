"""Where results come from: the shards that were run, and the revisions of the code that ran them."""

from collections.abc import Sequence

from eadbench.harness.results.records import ShardRecord
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.tracking.invocation import invocation_records

__all__ = ["attacked_shards", "git_revisions", "training_shards"]

_COMMIT = "mlflow.source.git.commit"


def attacked_shards(snapshot: Snapshot) -> Sequence[ShardRecord]:
    """Return the records of the split that is attacked, in the order in which the shards began."""
    return [record for record in snapshot.shard_records if record.split == snapshot.spec.images.split]


def training_shards(snapshot: Snapshot) -> Sequence[ShardRecord]:
    """Return the records of the other split: the examples that adversarial training learns from."""
    return [record for record in snapshot.shard_records if record.split != snapshot.spec.images.split]


def git_revisions(snapshot: Snapshot) -> Sequence[str]:
    """Return the git revisions that ran the sweep, in order; none where they are not known."""
    records = invocation_records(snapshot.folder).values()
    return list(dict.fromkeys(record.tags[_COMMIT] for record in records if _COMMIT in record.tags))
