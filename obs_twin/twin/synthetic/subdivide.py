"""Catmull-Clark subdivision as a sparse matrix, so that a mesh in motion is refined by one product a frame.

Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes", 1978; borders
follow the cubic B-spline rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SparseMatrix:
    """Compressed rows: row i has ``data[starts[i]:starts[i+1]]`` at ``columns[...]``."""

    starts: IntArray
    columns: IntArray
    data: FloatArray

    def __matmul__(self, dense: FloatArray) -> FloatArray:
        return _product(self.starts, self.columns, self.data, np.ascontiguousarray(dense, np.float32))

    @property
    def rows(self) -> int:
        return len(self.starts) - 1


@njit(cache=True, nogil=True, fastmath=True)
def _product(starts: IntArray, columns: IntArray, data: FloatArray, dense: FloatArray) -> FloatArray:
    rows = starts.shape[0] - 1
    width = dense.shape[1]
    out = np.zeros((rows, width), np.float32)
    for i in range(rows):
        for k in range(starts[i], starts[i + 1]):
            weight = data[k]
            column = columns[k]
            for j in range(width):
                out[i, j] += weight * dense[column, j]
    return out


def from_triplets(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], data: npt.NDArray[np.float64], count: int
) -> SparseMatrix:
    """Build from (row, column, value) triplets; duplicates add up when multiplied."""
    order = np.argsort(rows, kind="stable")
    starts = np.zeros(count + 1, np.int32)
    starts[1:] = np.cumsum(np.bincount(rows, minlength=count))
    return SparseMatrix(starts, columns[order].astype(np.int32), data[order].astype(np.float32))


def catmull_clark(quads: IntArray, vertex_count: int) -> tuple[IntArray, SparseMatrix]:
    """Refine once.

    Parameters
    ----------
    quads : (Q, 4) int32
    vertex_count : number of vertices that the quads refer to; vertices in no quad stay where they are

    Returns
    -------
    (4Q, 4) int32 quads, and the matrix that takes (vertex_count, n) to the new vertices: first the old ones
    (moved), then one for each face, then one for each edge.
    """
    quads64 = quads.astype(np.int64)
    face_count = len(quads64)
    half_edges = np.stack([quads64, np.roll(quads64, -1, axis=1)], axis=2).reshape(-1, 2)
    ordered = np.sort(half_edges, axis=1)
    edges, edge_of = np.unique(ordered, axis=0, return_inverse=True)
    edge_of = edge_of.reshape(face_count, 4)
    edge_count = len(edges)
    faces_at_edge = np.bincount(edge_of.ravel(), minlength=edge_count)
    border = faces_at_edge == 1

    face_ids = np.repeat(np.arange(face_count), 4)
    rows: list[npt.NDArray[np.int64]] = []
    columns: list[npt.NDArray[np.int64]] = []
    data: list[npt.NDArray[np.float64]] = []

    def put(row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> None:
        rows.append(row)
        columns.append(column)
        data.append(np.broadcast_to(value, row.shape).astype(np.float64))

    # Face points: the average of the corners.
    put(vertex_count + face_ids, quads64.ravel(), np.float64(0.25) * np.ones(1))

    # Edge points: half of the middle of the edge, half of the average of the face points (border: the middle).
    edge_rows = vertex_count + face_count + np.arange(edge_count)
    end_weight = np.where(border, 0.5, np.where(faces_at_edge == 2, 0.25, 0.5))
    put(edge_rows, edges[:, 0], end_weight)
    put(edge_rows, edges[:, 1], end_weight)
    for corner in range(4):
        ids = edge_of[:, corner]
        inner = faces_at_edge[ids] == 2
        for k in range(4):
            put(edge_rows[ids[inner]], quads64[inner, k], np.full(inner.sum(), 0.25 * 0.25))

    # Vertex points.
    faces_at_vertex = np.bincount(quads64.ravel(), minlength=vertex_count)
    edges_at_vertex = np.bincount(edges.ravel(), minlength=vertex_count)
    border_at_vertex = np.bincount(edges[border].ravel(), minlength=vertex_count)
    smooth = (border_at_vertex == 0) & (faces_at_vertex > 2)
    crease = border_at_vertex == 2
    fixed = ~(smooth | crease)
    n = np.maximum(faces_at_vertex, 1).astype(np.float64)
    every = np.arange(vertex_count)
    put(every, every, np.where(smooth, (n - 3.0) / n, np.where(crease, 0.5, 1.0)))
    for corner in range(4):  # average of the face points around, over n
        vertex = quads64[:, corner]
        use = smooth[vertex]
        for k in range(4):
            put(vertex[use], quads64[use, k], 0.25 / n[vertex[use]] ** 2)
    m = np.maximum(edges_at_vertex, 1).astype(np.float64)
    for a, b in ((0, 1), (1, 0)):  # twice the average of the edge middles around, over n
        vertex = edges[:, a]
        use = smooth[vertex]
        weight = 1.0 / (n[vertex[use]] * m[vertex[use]])
        put(vertex[use], vertex[use], weight)
        put(vertex[use], edges[use, b], weight)
        use = crease[vertex] & border
        put(vertex[use], edges[use, b], np.full(use.sum(), 0.25))
    del fixed

    total = vertex_count + face_count + edge_count
    matrix = from_triplets(np.concatenate(rows), np.concatenate(columns), np.concatenate(data), total)
    before = np.roll(edge_of, 1, axis=1)
    fine = np.stack(
        [
            quads64,
            vertex_count + face_count + edge_of,
            np.repeat(vertex_count + np.arange(face_count)[:, None], 4, axis=1),
            vertex_count + face_count + before,
        ],
        axis=2,
    ).reshape(-1, 4)
    return fine.astype(np.int32), matrix
