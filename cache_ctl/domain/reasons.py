"""Why a node has its class and its mode. The values are API: they stand in status."""

from __future__ import annotations

from typing import Final

# Overrides by the operator.
NODE_OVERRIDE: Final = "NodeOverride"
POOL_OVERRIDE: Final = "PoolOverride"
RULE_OVERRIDE: Final = "RuleOverride"
INVALID_OVERRIDE: Final = "InvalidOverride"

# ACK Edge.
ACK_CLOUD_NODE: Final = "AckCloudNode"
ACK_DEDICATED_POOL: Final = "AckDedicatedPool"
ACK_BASIC_POOL: Final = "AckBasicPool"
ACK_UPLINK_UNKNOWN: Final = "AckUplinkUnknown"
ACK_MARKER_INVALID: Final = "AckMarkerInvalid"
ENS_NODE: Final = "EnsNode"

# OpenYurt.
OPENYURT_CLOUD_POOL: Final = "OpenYurtCloudPool"
OPENYURT_CLOUD_NODE: Final = "OpenYurtCloudNode"
OPENYURT_EDGE_POOL: Final = "OpenYurtEdgePool"
OPENYURT_EDGE_NODE: Final = "OpenYurtEdgeNode"
OPENYURT_MARKER_INVALID: Final = "OpenYurtMarkerInvalid"
POOL_UNREADABLE: Final = "PoolUnreadable"

# Other platforms.
KUBEEDGE_NODE: Final = "KubeEdgeNode"
SUPEREDGE_NODE: Final = "SuperEdgeNode"
SUPEREDGE_CLOUD_NODE: Final = "SuperEdgeCloudNode"
EKS_HYBRID_NODE: Final = "EksHybridNode"

# No marker on the node.
NO_EDGE_IN_CLUSTER: Final = "NoEdgeInCluster"
UNLABELED_IS_CLOUD: Final = "UnlabeledNodesAreCloud"
NO_MARKER: Final = "NoMarker"
EDGE_KIND_UNREADABLE: Final = "EdgeKindUnreadable"

# Restrictions, and the one permission that an operator may add.
CONTRADICTION: Final = "ContradictoryEvidence"
POOL_CONTRADICTION: Final = "PoolContradiction"
POOL_NOT_CONNECTED: Final = "PoolNodesNotConnected"
GATEWAY_CONTRADICTION: Final = "GatewayContradiction"
NO_POOL: Final = "NoPool"
NO_ADDRESS: Final = "NoAddress"
DUPLICATE_ADDRESS: Final = "DuplicateAddress"
CONNECTED_ISLAND: Final = "ConnectedIsland"

# Decided for a whole domain, or over time.
SINGLE_MEMBER: Final = "SingleMember"
NO_CACHE_MEMBER: Final = "NoCacheMember"
EVIDENCE_HOLDING: Final = "EvidenceHolding"
NODE_NOT_READY: Final = "NodeNotReady"
