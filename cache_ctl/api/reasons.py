"""Condition types and reasons. The values are API: scripts and people read them in status."""

from __future__ import annotations

from typing import Final

from runtime.contract import troubles

# Types.
READY: Final = "Ready"
TOPOLOGY_BUILT: Final = "TopologyBuilt"
AGENTS_AVAILABLE: Final = "AgentsAvailable"
TIERS_USABLE: Final = "TiersUsable"
SNAPSHOT_TAKEN: Final = "SnapshotTaken"
ORIGIN_REACHABLE: Final = "OriginReachable"
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
AGENTS_HINDERED: Final = "AgentsHindered"
ALL_TIERS_USABLE: Final = "AllTiersUsable"
TIER_FAILED: Final = "TierFailed"
TIER_FULL: Final = "TierFull"
TIER_TOO_LARGE: Final = "TierTooLarge"
RUNTIME_READY: Final = "RuntimeReady"

# Dataset.
RUNTIME_MISSING: Final = "RuntimeMissing"
NAMESPACE_NOT_ALLOWED: Final = "NamespaceNotAllowed"
NO_AGENTS: Final = "NoAgents"
SNAPSHOT_CURRENT: Final = "SnapshotCurrent"
SNAPSHOT_PENDING: Final = troubles.SNAPSHOT_PENDING
SNAPSHOT_FAILED: Final = troubles.SNAPSHOT_FAILED
SECRET_MISSING: Final = troubles.SECRET_MISSING
SOURCE_INVALID: Final = troubles.SOURCE_INVALID
NOTHING_MATCHES: Final = troubles.NOTHING_MATCHES
ORIGIN_ANSWERS: Final = "OriginAnswers"
ORIGIN_UNREACHABLE: Final = troubles.ORIGIN_UNREACHABLE
ORIGIN_REFUSED: Final = troubles.ORIGIN_REFUSED
ORIGIN_CONTRADICTORY: Final = troubles.ORIGIN_CONTRADICTORY
AGENTS_FOLLOW: Final = "AgentsFollowPlan"
AGENTS_BEHIND: Final = "AgentsBehindPlan"
ALL_CACHED: Final = "AllBytesCached"
PARTLY_CACHED: Final = "PartlyCached"
TIERS_TOO_SMALL: Final = "TiersTooSmall"
DATASET_READY: Final = "DatasetReady"

# CachePrewarm.
DATASET_MISSING: Final = "DatasetMissing"
DATASET_NOT_READY: Final = "DatasetNotReady"
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
        ORIGIN_ANSWERS,
        ALL_TIERS_USABLE,
    }
)
"""Reasons that every object begins with: nobody needs to be told of them then."""
