"""Weight files by network: those in the package, those their authors publish, those installed. Loads no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models.spec import METRIC3D_LICENCE, ModelSpec
from m3d_cli.models.store import Installed, find_installed, sha256_of

__all__ = [
    "BUNDLED",
    "PUBLISHED",
    "ChosenWeights",
    "PublishedFile",
    "WeightsFile",
    "choose_weights",
    "default_model",
    "published_file",
    "sha256_of",
    "verify",
]

BUNDLE = Path(__file__).parent / "bundled"
METRIC3D = "JUGGHM/Metric3D"

# Used when nobody names a network: the first if it is installed, else the second, which always is.
BEST_DEFAULT, BUNDLED_DEFAULT = "vit-small", "lite"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weight file of the package; ``size`` in bytes."""

    model: str
    path: Path
    size: int
    sha256: str

    @property
    def is_installed(self) -> bool:
        """Whether a file of the right size is there; `verify` looks closer."""
        return self.size > 0 and self.path.is_file() and self.path.stat().st_size == self.size

    def check(self) -> None:
        """Raise WeightsError unless the file is there, whole and unchanged."""
        verify(self)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A checkpoint that its authors publish on the Hugging Face hub; ``size`` in bytes, rounded where not exact.

    The checksum alone decides whether a file is the published one.
    """

    model: str
    file: str
    size: int
    sha256: str
    is_size_exact: bool = True
    repo: str = METRIC3D
    revision: str = "main"
    licence: str = METRIC3D_LICENCE

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.file}"


BUNDLED = {
    "lite": WeightsFile(
        "lite",
        BUNDLE / "lite.safetensors",
        21412740,
        "fbe5ec66711bf00ea62a192c51ea646c658a961289e8d073bd35f66389033d9d",
    ),
}

PUBLISHED = {
    file.model: file
    for file in (
        PublishedFile(
            "convnext-tiny",
            "convtiny_hourglass_v1.pth",
            123851407,
            "bc41f5f919bb0388bbc88fe1d9e60b49b826c620b4acc1b6c10f473f6d4741a5",
        ),
        PublishedFile(
            "convnext-large",
            "convlarge_hourglass_0.3_150_step750k_v1.1.pth",
            813_000_000,
            "0eaaa2501557ac627ada0070e257c6bc74e3e60b45477b29c2efceb70440cfe8",
            is_size_exact=False,
        ),
        PublishedFile(
            "vit-small",
            "metric_depth_vit_small_800k.pth",
            150120967,
            "b34b2a2be9148054991cef7e417930e1320602ba7bc503b0ee4e7888543728f6",
        ),
        PublishedFile(
            "vit-large",
            "metric_depth_vit_large_800k.pth",
            1647972663,
            "15328ffc42b528b95f188687418f6f03b3f123eb34ccdbd686c112abbea6d972",
        ),
        PublishedFile(
            "vit-giant2",
            "metric_depth_vit_giant2_800k.pth",
            5510989187,
            "22d64c4dec098fa56eb17b6f22b1fb7d16b4742c66a9c8ee73e7dae61c0d2a1b",
        ),
    )
}


def published_file(model: str) -> PublishedFile:
    """The published checkpoint of a network; raises UsageError for any other name."""
    if model not in PUBLISHED:
        listed = ", ".join(name for name in PUBLISHED if not name.startswith("m3d-test"))
        raise UsageError(f"no published weights of {model}", hint=f"one of {listed}", code="NO_MODEL")
    return PUBLISHED[model]


def verify(file: WeightsFile) -> None:
    """Raise WeightsError unless the file is there, whole and unchanged."""
    hint = "reinstall m3d"
    if not file.path.exists():
        raise WeightsError(f"{file.path}: the weights of {file.model} are not installed", hint=hint)
    size = file.path.stat().st_size
    if size != file.size:
        raise WeightsError(f"{file.path}: {size} bytes, expected {file.size}", hint=hint)
    if sha256_of(file.path) != file.sha256:
        raise WeightsError(f"{file.path}: the checksum is wrong", hint=hint)


@dataclass(frozen=True, slots=True)
class ChosenWeights:
    """The weights a run uses: a file (None for the seeded test network) and what names them in every sidecar."""

    path: Path | None
    sha256: str
    vouched: WeightsFile | Installed | None = None

    def check(self) -> None:
        """Raise WeightsError when a vouched file is missing or not the one vouched for."""
        if self.vouched is not None:
            self.vouched.check()


def choose_weights(spec: ModelSpec, local: Path | None = None) -> ChosenWeights:
    """The user's own file, the installed one, the bundled one, or, for hidden test networks, none.

    Raises WeightsError when there is none of them.
    """
    if local is not None:
        return ChosenWeights(local, _digest_of_local(local))
    if (installed := find_installed(spec.name)) is not None:
        return ChosenWeights(installed.path, installed.sha256, installed)
    if spec.hidden:
        return ChosenWeights(None, seeded_sha256(spec.name))
    file = BUNDLED.get(spec.name)
    if file is None:
        hint = f"m3d weights pull {spec.name}, or give a file with --weights"
        raise WeightsError(f"the weights of {spec.name} are not installed", hint=hint)
    return ChosenWeights(file.path, file.sha256, file)


def seeded_sha256(model: str) -> str:
    """What names the random weights of a hidden test network."""
    return hashlib.sha256(model.encode()).hexdigest()


def default_model() -> str:
    """The network of a run that names none."""
    return BEST_DEFAULT if find_installed(BEST_DEFAULT) is not None else BUNDLED_DEFAULT


def _digest_of_local(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: the weights cannot be read ({error.strerror})", hint="check --weights") from error
