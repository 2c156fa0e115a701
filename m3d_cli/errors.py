"""The errors m3d raises on purpose: each names what happened, to which file, and what to do next."""

from __future__ import annotations


class M3dError(Exception):
    """Base of every deliberate error.

    ``code`` is a stable upper-case word for scripts, ``hint`` the way out, ``exit_code`` what the process returns
    when the error ends the run.
    """

    code = "ERROR"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        """One line: ``CODE: message. hint: way out``."""
        line = f"{self.code}: {self.message}"
        return f"{line}. hint: {self.hint}" if self.hint else line


class UsageError(M3dError):
    """The command line or a settings file asks for something impossible."""

    code = "USAGE"
    exit_code = 2


class CollisionError(UsageError):
    """Two inputs would write the same output, or an output would overwrite an input."""

    code = "OUTPUT_COLLISION"


class CalibrationError(UsageError):
    """An intrinsics, EXIF-sidecar or sensor file cannot be read or does not fit the photo."""

    code = "BAD_CALIBRATION"


class PoseError(UsageError):
    """Camera poses cannot be read, are impossible, or do not belong to the frames."""

    code = "BAD_POSES"


class PhotoError(M3dError):
    """One photo cannot be used; the others go on."""

    code = "BAD_PHOTO"
    exit_code = 3


class OutputError(M3dError):
    """A result cannot be written or read back."""

    code = "BAD_OUTPUT"
    exit_code = 3


class NoInputError(M3dError):
    """Nothing usable was found among the inputs."""

    code = "NO_INPUT"
    exit_code = 4


class DatasetError(M3dError):
    """Annotated frames are missing, mis-sized or contradictory."""

    code = "BAD_DATASET"
    exit_code = 4


class TrainingError(M3dError):
    """A training run that cannot go on."""

    code = "TRAINING"


class WeightsError(M3dError):
    """Model weights are missing, damaged or do not fit the architecture."""

    code = "BAD_WEIGHTS"
    exit_code = 5


class DeviceError(M3dError):
    """The compute device is missing or out of memory even for one photo."""

    code = "DEVICE"
    exit_code = 6


class FocalError(M3dError):
    """A focal length is required and unknown."""

    code = "NO_FOCAL"
    exit_code = 7
