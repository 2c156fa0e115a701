"""The cloud's image: something is seen, near things hide far ones, and no cloud is too strange for it."""

from __future__ import annotations

import cv2
import numpy as np

from m3d_cli.camera import Camera
from m3d_cli.depthmap import DepthMap
from m3d_cli.formats.cloud_preview import PAPER, encode_cloud_preview, render_cloud
from m3d_cli.pointcloud import Axes, CloudFilter, PointCloud


def scene():
    """A red card at 1.5 m before a blue wall at 3 m."""
    camera = Camera.centred(320, 240, 300.0)
    depth = np.full((240, 320), 3.0, dtype=np.float32)
    depth[80:160, 110:210] = 1.5
    image = np.zeros((240, 320, 3), dtype=np.uint8)
    image[..., 2] = 200
    image[80:160, 110:210] = (200, 0, 0)
    return PointCloud.from_depth(DepthMap(depth, camera), image, CloudFilter(edges=False))


def test_the_wall_and_the_card_before_it_are_seen():
    picture = render_cloud(scene(), 400, 300)
    painted = (picture != PAPER).any(axis=2)
    red = picture[..., 0] == 200
    assert 0.2 < painted.mean() < 0.98
    assert red.mean() > 0.02
    # Where the card is, the wall behind it must not shine through.
    box = cv2.erode(cv2.morphologyEx(red.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))), np.ones((15, 15))) > 0
    assert box.sum() > 100
    assert red[box].mean() > 0.99


def test_the_cloud_fills_its_picture_and_stands_in_the_middle():
    """Also one that reaches from 2 m to 60 m, whose median is far from the middle of what is seen."""
    camera = Camera.centred(320, 240, 300.0)
    rows = np.arange(240) + 0.5 - 120
    depth = np.where(rows > 8, 1.6 * 300 / np.maximum(rows, 1), np.nan).astype(np.float32)
    street = DepthMap(np.repeat(depth[:, None], 320, axis=1), camera)
    for cloud in (scene(), PointCloud.from_depth(street, None, CloudFilter(edges=False))):
        v, u = np.nonzero((render_cloud(cloud, 400, 300) != PAPER).any(axis=2))
        low, high = np.percentile(np.stack([u, v]), (1, 99), axis=1)
        assert ((high - low) / [400, 300]).max() > 0.8
        assert np.abs((low + high) / 2 / [400, 300] - 0.5).max() < 0.15


def test_the_axes_of_the_cloud_do_not_change_the_picture():
    first = render_cloud(scene(), 200, 150)
    np.testing.assert_array_equal(render_cloud(scene().turned(Axes.Z_UP), 200, 150), first)


def test_clouds_without_colour_points_or_extent_still_give_a_picture():
    nothing = np.zeros((0, 3), dtype=np.float32)
    lone = np.array([[0, 0, 2]], dtype=np.float32)
    assert (render_cloud(PointCloud(nothing), 60, 40) == PAPER).all()
    assert (render_cloud(PointCloud(lone), 60, 40) != PAPER).any()
    assert cv2.imdecode(np.frombuffer(encode_cloud_preview(PointCloud(lone)), np.uint8), 1).shape == (960, 1280, 3)
