"""Condition types and reasons. The values are API: scripts and people read them in status."""

from __future__ import annotations

from typing import Final

# Types.
READY: Final = "Ready"
TOPOLOGY_BUILT: Final = "TopologyBuilt"
AGENTS_AVAILABLE: Final = "AgentsAvailable"
SNAPSHOT_TAKEN: Final = "SnapshotTaken"
PLACED: Final = "Placed"
WARM: Final = "Warm"
COMPLETE: Final = "Complete"
FAILED: Final = "Failed"

# CacheRuntime.
PLANS_CURRENT: Final = "PlansCurrent"
NO_NODES_SELECTED: Final = "NoNodesSelected"
SPEC_INVALID: Final = "SpecInvalid"
ALL_AGENTS_READY: Final = "AllAgentsReady"
AGENTS_NOT_READY: Final = "AgentsNotReady"
RUNTIME_READY: Final = "RuntimeReady"

# Dataset.
RUNTIME_MISSING: Final = "RuntimeMissing"
NAMESPACE_NOT_ALLOWED: Final = "NamespaceNotAllowed"
NO_AGENTS: Final = "NoAgents"
SNAPSHOT_CURRENT: Final = "SnapshotCurrent"
SNAPSHOT_PENDING: Final = "SnapshotPending"
SNAPSHOT_FAILED: Final = "SnapshotFailed"
AGENTS_FOLLOW: Final = "AgentsFollowPlan"
AGENTS_BEHIND: Final = "AgentsBehindPlan"
ALL_CACHED: Final = "AllBytesCached"
PARTLY_CACHED: Final = "PartlyCached"
DATASET_READY: Final = "DatasetReady"

# CachePrewarm.
DATASET_MISSING: Final = "DatasetMissing"
NO_TARGETS: Final = "NoTargets"
PREWARM_WAITING: Final = "Waiting"
PREWARM_RUNNING: Final = "Running"
PREWARM_DONE: Final = "AllAgentsDone"
FILES_FAILED: Final = "FilesFailed"
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
NOT_FAILED: Final = "NothingFailed"

STARTING: Final = frozenset(
    {
        AGENTS_NOT_READY,
        NO_AGENTS,
        SNAPSHOT_PENDING,
        AGENTS_BEHIND,
        PARTLY_CACHED,
        NO_TARGETS,
        PREWARM_WAITING,
        PREWARM_RUNNING,
        NOT_FAILED,
    }
)
"""Reasons that every object begins with: nobody needs to be told of them then."""
