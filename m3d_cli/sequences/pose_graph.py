"""Key frames brought to agree with all motions found between them: open3d's robust pose graph (Choi 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3d_cli.open3d_import import load_open3d

# Line processes below this weight are pruned: loops that contradict the rest.
PRUNED = 0.25
# How far a loop may lie from the odometry before it counts as wrong, as a share of the largest depth.
CORRESPONDENCE = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """``motion`` takes points of the key frame ``source`` into ``target``; (6, 6) ``information`` says how firmly."""

    source: int
    target: int
    motion: NDArray[np.float64]
    information: NDArray[np.float64]
    is_loop: bool


def optimised(poses: NDArray[np.float64], edges: Sequence[Edge], max_depth: float) -> NDArray[np.float64]:
    """Poses (N, 4, 4) of the key frames that fit the edges best; the first stays where it is."""
    registration: Any = load_open3d().pipelines.registration
    graph = registration.PoseGraph()
    for pose in poses:
        graph.nodes.append(registration.PoseGraphNode(pose))
    for edge in edges:
        graph.edges.append(
            registration.PoseGraphEdge(edge.source, edge.target, edge.motion, edge.information, edge.is_loop)
        )
    registration.global_optimization(
        graph,
        registration.GlobalOptimizationLevenbergMarquardt(),
        registration.GlobalOptimizationConvergenceCriteria(),
        registration.GlobalOptimizationOption(CORRESPONDENCE * max_depth, PRUNED, reference_node=0),
    )
    return np.array([node.pose for node in graph.nodes], dtype=np.float64)
