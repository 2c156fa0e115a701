"""What images say about their focal length, fused and put in the place of an assumption."""

import math

import numpy as np
import pytest

from m3d_cli.camera import FocalSource
from m3d_cli.intrinsics.estimated import (
    FocalOpinion,
    candidate_of,
    contradiction,
    estimated_from_image,
    fused,
    opinion_of_distribution,
)
from m3d_cli.intrinsics.exif import ExifFacts
from m3d_cli.intrinsics.ladder import FocalFacts, UserFocal, recover_focal
from m3d_cli.intrinsics.vanishing_points import LineFocal

UNKNOWN = recover_focal(FocalFacts(4000, 3000))
SEEN = FocalOpinion(0.8, 0.2, "told by the image")


def test_a_distribution_becomes_its_mean_and_spread() -> None:
    places = np.linspace(-1, 1, 201)
    probability = np.exp(-0.5 * ((places - 0.1) / 0.15) ** 2)
    opinion = opinion_of_distribution(places, probability)
    assert opinion.ratio == pytest.approx(math.exp(0.1), rel=1e-3)
    assert opinion.sigma == pytest.approx(0.15, rel=1e-2)


def test_lines_that_agree_are_fused_by_variance() -> None:
    both = fused(SEEN, LineFocal(0.9, 0.1, 50))
    weight = 0.2**-2 / (0.2**-2 + 0.1**-2)
    assert math.log(both.ratio) == pytest.approx(weight * math.log(0.8) + (1 - weight) * math.log(0.9))
    assert both.sigma == pytest.approx(1 / math.sqrt(0.2**-2 + 0.1**-2))
    assert "50 of its lines" in both.note


def test_lines_that_contradict_the_picture_are_not_believed() -> None:
    assert fused(SEEN, LineFocal(2.5, 0.08, 50)) == SEEN
    assert fused(SEEN, None) == SEEN


def test_the_picture_takes_the_place_of_the_assumption() -> None:
    told = estimated_from_image(UNKNOWN, SEEN)
    assert told.focal_source is FocalSource.ESTIMATED
    assert told.focal == pytest.approx(0.8 * 5000)
    assert told.focal_rel_sigma == 0.2
    assert not told.is_assumed
    assert [one.source for one in told.candidates] == [FocalSource.ESTIMATED]
    [warning] = told.warnings
    assert "35 mm (35 mm equivalent) within 20%" in warning


def test_asked_for_it_stands_before_what_exif_says() -> None:
    known = recover_focal(FocalFacts(4000, 3000, exif=ExifFacts(focal_35mm=28.0)))
    told = estimated_from_image(known, SEEN)
    assert [one.source for one in told.candidates] == [FocalSource.ESTIMATED, FocalSource.EXIF_35MM]
    assert told.focal == pytest.approx(4000)


@pytest.mark.parametrize(("equivalent", "is_told"), [(34.0, False), (28.0, False), (90.0, True), (12.0, True)])
def test_a_tag_far_from_the_picture_is_told(equivalent: float, is_told: bool) -> None:
    known = recover_focal(FocalFacts(4000, 3000, user=UserFocal(equivalent=equivalent)))
    warning = contradiction(known, SEEN)
    assert (warning is not None) == is_told
    if warning is not None:
        assert "a crop, or a wrong tag?" in warning


def test_an_assumption_contradicts_nothing() -> None:
    assert contradiction(UNKNOWN, FocalOpinion(5.0, 0.01, "")) is None


def test_an_estimate_keeps_what_else_was_said_of_the_photo():
    photo = FocalFacts(2048, 1024, ExifFacts(projection="equirectangular"), notes=("tags.json has no entry",))
    opinion = FocalOpinion(0.8, 0.1, "estimated from the image")
    warnings = estimated_from_image(recover_focal(photo), opinion).warnings
    assert warnings[0] == "tags.json has no entry"
    assert "panorama" in warnings[1]
    assert not any("assumed" in warning for warning in warnings)


@pytest.mark.parametrize(("make", "sigma", "is_kept"), [("Jolla", 0.5, True), ("Jolla", 0.1, False), ("", 0.5, False)])
def test_what_is_assumed_of_a_phone_stays_where_the_image_says_less(make, sigma, is_kept):
    assumed = recover_focal(FocalFacts(3264, 2448, ExifFacts(make=make, model=make, focal_mm=4.0)))
    opinion = FocalOpinion(56 / 43.2666, sigma, "estimated from the image")
    camera = estimated_from_image(assumed, opinion)
    assert camera.is_assumed is is_kept
    assert camera.focal == pytest.approx(0.72 * 3264 if is_kept else candidate_of(assumed, opinion).focal)
    assert any(one.source is FocalSource.ESTIMATED for one in camera.candidates)


def test_who_asks_for_the_image_gets_what_it_says_of_a_phone_too():
    assumed = recover_focal(FocalFacts(3264, 2448, ExifFacts(make="Jolla", model="Jolla")))
    opinion = FocalOpinion(56 / 43.2666, 0.5, "estimated from the image")
    assert estimated_from_image(assumed, opinion, is_asked=True).focal_source is FocalSource.ESTIMATED
