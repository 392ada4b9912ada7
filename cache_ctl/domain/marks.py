"""The labels and annotations that tell where a node stands, with every spelling in use."""

from __future__ import annotations

from typing import Final

# Ours: annotations on a Node or on its pool object. The labels of the same keys are written by
# the controller, so they are never read as evidence.
NETWORK_CLASS: Final = "cachectl.dev/network-class"
NETWORK_DOMAIN: Final = "cachectl.dev/network-domain"

# Kubernetes.
REGION: Final = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
ZONE: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")

# ACK Edge: labels on nodes.
ACK_EDGE_WORKER: Final = "alibabacloud.com/is-edge-worker"
ACK_POOL_ID: Final = "alibabacloud.com/nodepool-id"
ACK_ENS_INSTANCE: Final = "alibabacloud.com/ens-instance-id"
# ACK Edge: annotations on a NodePool; the first also stands as a label on some nodes.
ACK_UPLINK: Final = "alibabacloud.com/interconnection-mode"
ACK_CONNECTED: Final = "alibabacloud.com/pool-nodes-connected"
ACK_ADDRESS_CONFLICT: Final = "alibabacloud.com/address-conflict"

# OpenYurt.
YURT_EDGE_WORKER: Final = "openyurt.io/is-edge-worker"
YURT_POOL: Final = "apps.openyurt.io/nodepool"
YURT_DESIRED_POOL: Final = "apps.openyurt.io/desired-nodepool"
RAVEN_GATEWAY: Final = "raven.openyurt.io/gateway"
AUTONOMY_DURATIONS: Final = (
    "node.openyurt.io/autonomy-duration",
    "node.alibabacloud.com/autonomy-duration",
)
AUTONOMY_FOREVER: Final = ("node.beta.openyurt.io/autonomy", "apps.openyurt.io/binding")

# Other platforms.
KUBEEDGE_ROLE: Final = "node-role.kubernetes.io/edge"
KUBEEDGE_GROUP: Final = "apps.kubeedge.io/belonging-to"
SUPEREDGE_EDGE: Final = "superedge.io/node-edge"
SUPEREDGE_CLOUD: Final = "superedge.io/node-cloud"
SUPEREDGE_UNIT_VALUE: Final = "nodeunits.superedge.io"
EKS_COMPUTE: Final = "eks.amazonaws.com/compute-type"
KILO_LOCATION: Final = "kilo.squat.ai/location"


def word(value: str) -> str:
    """Return a marker's value as it is compared: values are written in any case."""
    return value.strip().lower()
