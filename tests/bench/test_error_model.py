"""The error model found on simulated depth is the one it was simulated with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from m3d_cli.camera import Camera

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from error_model import fit_confidence, fit_errors, picture_errors

WIDTH, HEIGHT = 48, 36
SCALE, SHAPE, REACH = 0.12, 0.06, 0.4


def wall(camera):
    """A slanted wall: one plane over the whole image."""
    return (2 / (camera.rays() @ np.array([0.2, -0.1, 1.0], dtype=np.float32))).astype(np.float32)


def shape_errors(rng):
    """A random field of the model's covariance at every pixel."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1)
    apart = np.hypot(u[:, None] - u, v[:, None] - v) / WIDTH
    root = np.linalg.cholesky(SHAPE**2 * np.exp(-apart / REACH) + 1e-12 * np.eye(len(u)))
    return (root @ rng.standard_normal((len(u), 16))).T.reshape(16, HEIGHT, WIDTH)


def test_scale_shape_and_reach_are_found_again():
    camera = Camera.centred(WIDTH, HEIGHT, 40.0)
    truth = wall(camera)
    rng = np.random.default_rng(0)
    scales = rng.normal(0, SCALE, 16)
    pictures = [
        picture_errors((truth * np.exp(scale + field)).astype(np.float32), truth, camera)
        for scale, field in zip(scales, shape_errors(rng), strict=True)
    ]
    found = fit_errors(pictures)
    assert found.scale_sigma == pytest.approx(np.sqrt(np.mean(scales**2)), rel=0.2)
    for apart in (0.05, 0.2):
        wanted = SHAPE * np.sqrt(1 - np.exp(-apart / REACH))
        assert found.shape_sigma * np.sqrt(1 - np.exp(-apart / found.shape_reach)) == pytest.approx(wanted, rel=0.2)
    assert found.object_sigma < SHAPE


def test_errors_of_things_at_different_depths_are_object_errors():
    camera = Camera.centred(WIDTH, HEIGHT, 40.0)
    truth = np.full((HEIGHT, WIDTH), 2.0, dtype=np.float32)
    rng = np.random.default_rng(1)
    pictures = []
    for _ in range(24):
        errors = np.zeros((HEIGHT, WIDTH))
        for left in range(0, WIDTH, 6):
            truth[:, left : left + 6] = 1 + left / 10
            errors[:, left : left + 6] = rng.normal(0, 0.2)
        prediction = (truth * np.exp(errors + rng.normal(0, 0.002, errors.shape))).astype(np.float32)
        pictures.append(picture_errors(prediction, truth, camera))
    found = fit_errors(pictures)
    assert found.object_sigma == pytest.approx(0.2, rel=0.25)
    assert found.shape_sigma < 0.01


def test_surfaces_that_recede_too_little_are_told():
    """In each image the network flattens a floor by another share."""
    camera = Camera.centred(WIDTH, HEIGHT, 40.0)
    rays, true = camera.rays().astype(np.float64), np.array([0.3, -0.9, 1.0])
    shares = np.random.default_rng(5).normal(-0.15, 0.2, 12)
    pictures = []
    for share in shares:
        said = np.array([true[0] * (1 + share), true[1] * (1 + share), true[2]])
        truth, prediction = ((1.5 / (rays @ plane)).astype(np.float32) for plane in (true, said))
        pictures.append(picture_errors(prediction, truth, camera))
    assert fit_errors(pictures).relief_sigma == pytest.approx(np.sqrt(np.mean(shares**2)), rel=0.25)
    noisy = wall(camera) * np.random.default_rng(6).normal(1, 0.01, (HEIGHT, WIDTH)).astype(np.float32)
    facing = picture_errors(noisy, wall(camera), camera)
    assert np.isnan(facing.relief)
    assert fit_errors([facing]).relief_sigma == 0


def test_unknown_depth_takes_no_part():
    camera = Camera.centred(WIDTH, HEIGHT, 40.0)
    truth = wall(camera)
    prediction = truth * np.float32(1.1)
    truth[:10] = np.nan
    prediction[:, :10] = np.nan
    found = picture_errors(prediction, truth, camera)
    assert found.scale == pytest.approx(np.log(1.1), abs=1e-4)
    assert found.spread < 1e-4


def test_errors_by_confidence_are_found_again():
    rng = np.random.default_rng(2)
    confidences = [rng.random((120, 160)).astype(np.float32) for _ in range(4)]
    errors = [rng.normal(0, 0.3 - 0.2 * one) for one in confidences]
    errors[0][:20] = np.nan
    table = fit_confidence(confidences, errors)
    said, sizes = (np.array(column) for column in zip(*table, strict=True))
    assert (np.diff(said) > 0).all()
    assert (np.diff(sizes) <= 0).all()
    assert np.sqrt(np.mean(sizes**2)) == pytest.approx(1, abs=0.01)
    assert sizes[0] / sizes[-1] == pytest.approx((0.3 - 0.2 * said[0]) / (0.3 - 0.2 * said[-1]), rel=0.1)


def test_a_confidence_that_says_nothing_changes_nothing():
    rng = np.random.default_rng(3)
    table = fit_confidence([rng.random((120, 160)).astype(np.float32)], [rng.normal(0, 0.1, (120, 160))])
    assert [size for _, size in table] == pytest.approx([1] * len(table), abs=0.05)
