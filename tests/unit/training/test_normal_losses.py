"""Losses of directions against numpy that goes point by point, and on scenes whose normals are known."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.training import normal_losses
from m3d_cli.training.normal_losses import Lens

SIZE = (30, 40)
LENS = Lens(torch.tensor([35.0, 50.0]), torch.tensor([18.0, 23.0]), torch.tensor([16.0, 12.0]))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def planes(normals: list[tuple[float, float, float]], distance: float = 3.0) -> Tensor:
    """Depth (2, 1, H, W) of a plane an image: n . X = -distance."""
    u, v = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    depths = []
    for picture, (a, b, c) in enumerate(normals):
        focal, cx, cy = (float(x[picture]) for x in LENS)
        depths.append(-distance / (a * (u - cx) / focal + b * (v - cy) / focal + c))
    return torch.tensor(np.stack(depths)[:, None], dtype=torch.float32)


def unit(*vector: float) -> tuple[float, float, float]:
    x, y, z = np.asarray(vector) / np.linalg.norm(vector)
    return float(x), float(y), float(z)


NORMALS = [unit(0.2, -0.3, -1), unit(-0.4, 0.1, -1)]
BUMPY = planes(NORMALS) * (1 + 0.2 * torch.rand((2, 1, *SIZE), generator=torch.Generator().manual_seed(1)))
ALL = torch.ones(2, 1, *SIZE, dtype=torch.bool)


def points_of(depth: Tensor, picture: int) -> NDArray[np.float64]:
    """(N, 3), pixel by pixel."""
    focal, cx, cy = (float(x[picture]) for x in LENS)
    rows = []
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            z = float(depth[picture, 0, row, column])
            rows.append(((column + 0.5 - cx) / focal * z, (row + 0.5 - cy) / focal * z, z))
    return np.array(rows)


def spans(corners: NDArray[np.float64]) -> bool:
    """The published rule: of the nine cosines between the three sides, more than three beyond 0.867 are too many."""
    sides = np.array([corners[1] - corners[0], corners[2] - corners[0], corners[2] - corners[1]])
    lengths = np.linalg.norm(sides, axis=1)
    if not lengths.all():
        return False
    cosines = sides @ sides.T / np.outer(lengths, lengths)
    near = all((np.abs(sides[:, axis]) < 0.005).any() for axis in range(3))
    return bool((np.abs(cosines) > 0.867).sum() <= 3) and not near


def normal_of(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    cross = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return np.asarray(cross / np.linalg.norm(cross))


def test_virtual_normals_are_compared_over_triplets_that_span_a_plane_without_the_easiest_quarter() -> None:
    target = planes(NORMALS)
    triplets = normal_losses._triplets(ALL.flatten(1), 120, generator())
    differences = []
    for picture in range(2):
        true, seen = points_of(target, picture), points_of(BUMPY, picture)
        for triplet in triplets[picture].numpy():
            if spans(true[triplet]):
                differences.append(np.abs(normal_of(seen[triplet]) - normal_of(true[triplet])).sum())
    expected = np.sort(differences)[int(0.25 * len(differences)) :].mean()
    value = normal_losses.virtual_normal(BUMPY, target, ALL, LENS, generator(), share=0.1)
    assert float(value) == pytest.approx(expected, rel=1e-3)


def test_virtual_normals_of_a_scaled_scene_are_the_same() -> None:
    target = planes(NORMALS)
    assert float(normal_losses.virtual_normal(2 * target, target, ALL, LENS, generator())) < 1e-4


def test_triplets_come_from_known_pixels_only() -> None:
    mask = torch.rand((2, 1200), generator=generator()) > 0.8
    triplets = normal_losses._triplets(mask, 500, generator())
    assert mask[0][triplets[0]].all()
    assert mask[1][triplets[1]].all()
    assert len(triplets[0].unique()) > 0.9 * int(mask[0].sum())


def test_triplets_of_one_plane_agree_with_their_mean_normal() -> None:
    ids = torch.ones(2, 1, *SIZE, dtype=torch.int64)
    flat = normal_losses.plane_normal(planes(NORMALS), ids, ALL, LENS, generator(), least=100)
    assert float(flat) == pytest.approx(0, abs=1e-5)
    value = normal_losses.plane_normal(BUMPY, ids, ALL, LENS, generator(), least=100)
    drawn = generator()
    disagreements: list[float] = []
    for picture in range(2):
        triplets = normal_losses._triplets(torch.ones(1, ALL[0].numel(), dtype=torch.bool), 5000, drawn)[0].numpy()
        points = points_of(BUMPY, picture)
        normals = np.array([normal_of(points[t]) for t in triplets if spans(points[t])])
        centres = np.array([points[t].mean(axis=0) for t in triplets if spans(points[t])])
        normals[(normals * centres).sum(axis=1) > 0] *= -1
        mean = normals.mean(axis=0) / np.linalg.norm(normals.mean(axis=0))
        disagreements += list(1 - normals @ mean)
    assert float(value) == pytest.approx(np.mean(disagreements), rel=1e-3)


def test_small_planes_and_pixels_of_none_are_left_out() -> None:
    ids = torch.zeros(2, 1, *SIZE, dtype=torch.int64)
    ids[..., :5, :5] = 1
    assert float(normal_losses.plane_normal(BUMPY, ids, ALL, LENS, generator(), least=100)) == 0


def test_normal_likelihood_is_that_of_the_angular_distribution() -> None:
    rng = np.random.default_rng(0)
    said, true = (rng.normal(size=(2, 3, 4, 5)) for _ in range(2))
    said, true = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (said, true))
    kappa = rng.uniform(0.1, 5, size=(2, 1, 4, 5))
    mask = rng.random((2, 1, 4, 5)) > 0.3
    angle = np.arccos((said * true).sum(axis=1, keepdims=True))
    density = (kappa**2 + 1) * np.exp(-kappa * angle) / (1 + np.exp(-kappa * math.pi))
    expected = np.mean([-np.log(density)[i][mask[i]].mean() for i in range(2)])
    value = normal_losses.normal_nll(
        [torch.tensor(said)], [torch.tensor(kappa)], torch.tensor(true), torch.tensor(mask)
    )
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_normals_of_a_plane_are_its_own() -> None:
    normals, known = normal_losses.normals_of_depth(planes(NORMALS), LENS, ALL)
    assert known[:, :, 2:-2, 2:-2].all()
    assert not known[:, :, :2].any()
    for picture, expected in enumerate(NORMALS):
        inner = normals[picture, :, 2:-2, 2:-2].flatten(1).T
        assert torch.allclose(inner, torch.tensor(expected).expand_as(inner), atol=1e-3)


def test_consistency_is_one_minus_the_cosine_over_trusted_pixels() -> None:
    depth = planes(NORMALS)
    turned = torch.tensor([unit(0.2, 0.5, -1), NORMALS[1]])[:, :, None, None].expand(2, 3, *SIZE)
    kappa = torch.rand((2, 1, *SIZE), generator=generator())
    confidence = torch.full((2, 1, *SIZE), 0.9)
    value = normal_losses.depth_normal_consistency(depth, turned, kappa, confidence, ALL, LENS)
    expected = (1 - np.dot(NORMALS[0], unit(0.2, 0.5, -1))) / 2
    assert float(value) == pytest.approx(expected, rel=1e-3)
    distrusted = normal_losses.depth_normal_consistency(depth, turned, kappa, confidence * 0.5, ALL, LENS)
    assert float(distrusted) == 0


@pytest.mark.parametrize("loss", ["virtual", "plane", "consistency"])
def test_a_masked_pixel_changes_nothing(loss: str) -> None:
    mask = torch.rand((2, 1, *SIZE), generator=generator()) > 0.05
    ids = torch.ones(2, 1, *SIZE, dtype=torch.int64)
    target = planes(NORMALS)
    sure = torch.ones(2, 1, *SIZE)
    normals = torch.tensor(NORMALS)[:, :, None, None].expand(2, 3, *SIZE)

    def value(prediction: Tensor, truth: Tensor) -> float:
        if loss == "virtual":
            return float(normal_losses.virtual_normal(prediction, truth, mask, LENS, generator()))
        if loss == "plane":
            return float(normal_losses.plane_normal(prediction, ids, mask, LENS, generator(), least=100))
        return float(normal_losses.depth_normal_consistency(prediction, normals, sure, sure, mask, LENS))

    spoiled = value(torch.where(mask, BUMPY, 1e6), torch.where(mask, target, torch.nan))
    assert spoiled == value(BUMPY, target)
    assert spoiled > 0


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_gradients_are_finite(known: float) -> None:
    mask = torch.full((2, 1, *SIZE), known) > 0
    prediction = BUMPY.clone().requires_grad_()
    target = torch.where(mask, planes(NORMALS), torch.nan)
    value = normal_losses.virtual_normal(prediction, target, mask, LENS, generator())
    normals, valid = normal_losses.normals_of_depth(prediction, LENS, mask)
    value = value + normal_losses.normal_nll([normals], [torch.ones(2, 1, *SIZE)], normals.detach(), valid)
    value.backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
