"""Every deliberate error is one line with a code and a way out, and has the documented exit code."""

from __future__ import annotations

import pytest

from m3d_cli import errors


@pytest.mark.parametrize(
    ("kind", "code", "exit_code"),
    [
        (errors.M3dError, "ERROR", 1),
        (errors.UsageError, "USAGE", 2),
        (errors.CollisionError, "OUTPUT_COLLISION", 2),
        (errors.CalibrationError, "BAD_CALIBRATION", 2),
        (errors.PhotoError, "BAD_PHOTO", 3),
        (errors.OutputError, "BAD_OUTPUT", 3),
        (errors.NoInputError, "NO_INPUT", 4),
        (errors.DatasetError, "BAD_DATASET", 4),
        (errors.WeightsError, "BAD_WEIGHTS", 5),
        (errors.DeviceError, "DEVICE", 6),
        (errors.FocalError, "NO_FOCAL", 7),
    ],
)
def test_codes_and_exit_codes_are_those_of_the_manual(kind, code, exit_code):
    error = kind("what happened", hint="the way out")
    assert (error.code, error.exit_code) == (code, exit_code)
    assert str(error) == f"{code}: what happened. hint: the way out"


def test_an_error_without_a_hint_ends_with_its_message():
    assert str(errors.PhotoError("a.jpg: broken")) == "BAD_PHOTO: a.jpg: broken"


def test_one_error_may_carry_a_narrower_code():
    error = errors.PhotoError("too large", code="PHOTO_TOO_LARGE")
    assert error.code == "PHOTO_TOO_LARGE"
    assert errors.PhotoError.code == "BAD_PHOTO"
