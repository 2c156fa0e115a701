"""The focal head's distribution, seen through the shape of a photo."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.camera import Camera
from m3d_cli.errors import WeightsError
from m3d_cli.inference import picture_focal
from m3d_cli.inference.photo import to_canonical
from m3d_cli.inference.picture_focal import PictureFocal
from m3d_cli.models.create import TEST_CONFIG
from m3d_cli.models.lite import Lite
from m3d_cli.models.prediction import FOCAL_RANGE
from m3d_cli.models.spec import TEST_LITE

CPU = torch.device("cpu")


class Certain(Lite):
    """Says one focal length, in pixels of its input, whatever it is shown."""

    focal = 70.0

    def focal_logits(self, x: Tensor) -> Tensor:
        low, high = (math.log(bound) for bound in FOCAL_RANGE)
        places = torch.linspace(low, high, self.config.focal_bins)
        truth = math.log(self.focal / math.hypot(self.config.height, self.config.width))
        return (-0.5 * ((places - truth) / 0.15) ** 2)[None]


def photo(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 120, dtype=np.uint8)


@pytest.mark.parametrize("size", [(84, 56), (840, 560), (300, 900), (1600, 400)])
def test_the_answer_is_in_the_photos_own_pixels(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_focal, "PHOTOS", picture_focal.SHOWN)
    monkeypatch.setattr(picture_focal, "EVIDENCE", 1.0)
    teller = PictureFocal(Certain(replace(TEST_CONFIG, focal_bins=64)), TEST_LITE, CPU)
    opinion = teller.opinion(photo(*size), *size)
    scale = to_canonical(photo(*size), Camera.centred(*size, 100), TEST_LITE).transform.scale
    assert opinion.ratio * math.hypot(*size) == pytest.approx(70 / scale, rel=0.01)


def test_a_reduced_copy_says_the_same_of_the_full_photo() -> None:
    teller = PictureFocal(Certain(TEST_CONFIG), TEST_LITE, CPU)
    assert teller.opinion(photo(400, 300), 4000, 3000).ratio == teller.opinion(photo(800, 600), 4000, 3000).ratio


def test_weaker_evidence_leaves_more_to_what_photos_are_like(monkeypatch: pytest.MonkeyPatch) -> None:
    teller = PictureFocal(Certain(TEST_CONFIG), TEST_LITE, CPU)
    opinions = []
    for evidence in (1.0, 0.4, 0.0):
        monkeypatch.setattr(picture_focal, "EVIDENCE", evidence)
        opinions.append(teller.opinion(photo(84, 56), 84, 56))
    sure, doubted, none = opinions
    assert sure.sigma < doubted.sigma < none.sigma
    # The bins end at 11 mm, which cuts a little off the prior.
    assert none.equivalent == pytest.approx(picture_focal.PHOTOS[0], rel=0.05)
    assert none.sigma == pytest.approx(picture_focal.PHOTOS[1], rel=0.1)


def test_a_network_without_the_head_is_refused() -> None:
    with pytest.raises(WeightsError, match="no head for the focal length"):
        PictureFocal(Lite(replace(TEST_CONFIG, focal_bins=0)), TEST_LITE, CPU)
