"""A checkpoint into the folder of installed weights, and the proof that what is there is what came."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from m3d_cli.atomic import atomic_path, part_of, take_name
from m3d_cli.errors import UsageError, WeightsError
from m3d_cli.models.registry import BUNDLED, PUBLISHED, PublishedFile, published_file
from m3d_cli.models.store import (
    Installed,
    StoredFile,
    again_hint,
    file_name,
    find_installed,
    require_space,
    sha256_of,
    size_of,
    sweep,
    write_record,
    writing,
)

if TYPE_CHECKING:
    from torch import Tensor

LOADED = ".safetensors"


def checkpoint_name(model: str, sha256: str, called: str) -> str:
    """The name a checkpoint gets in the folder, apart from that of the file made from it."""
    return file_name(model, sha256, ".source.safetensors" if Path(called).suffix == LOADED else ".pth")


def check_published(file: PublishedFile, path: Path, shown: str = "") -> None:
    """Raise WeightsError unless ``path`` holds the published bytes; an error calls it ``shown``."""
    shown = shown or str(path)
    size = size_of(path)
    if file.is_size_exact and size != file.size:
        raise WeightsError(f"{shown}: {size} bytes, the published file of {file.model} has {file.size}")
    found = sha256_of(path)
    if found != file.sha256:
        raise WeightsError(f"{shown}: the checksum is wrong ({found}, published is {file.sha256})")


def place(model: str, part: Path, sha256: str, called: str) -> Installed:
    """Install the checkpoint ``part``, which lies in the folder and whose checksum is known.

    It must fit the network. Call it while holding the folder (`store.writing`); what was installed before stays until
    everything new is there, and for good if anything fails.
    """
    folder = part.parent
    size = size_of(part)
    loaded = folder / file_name(model, sha256, LOADED)
    _convert(model, part, loaded, called)
    checkpoint = folder / checkpoint_name(model, sha256, called)
    take_name(part, checkpoint)
    installed = Installed(
        model,
        folder,
        called,
        StoredFile(checkpoint.name, size, sha256),
        StoredFile(loaded.name, size_of(loaded), sha256_of(loaded)),
    )
    write_record(installed)
    return installed


def _convert(model: str, checkpoint: Path, loaded: Path, called: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in _fitting(model, checkpoint, called).items()}
    try:
        with atomic_path(loaded) as part:
            save_file(state, part, {"model": model})
    except SafetensorError as error:
        raise WeightsError(f"{loaded}: cannot be written ({error})", hint="check space and permissions") from error


def recognise(path: Path, sha256: str, name: str | None) -> str:
    """The network that a carried checkpoint is for: by its checksum, or as the user says; raises WeightsError."""
    known = next((file.model for file in PUBLISHED.values() if file.sha256 == sha256), None)
    if known is not None:
        if name not in (None, known):
            raise WeightsError(f"{path}: these are the published weights of {known}, not of {name}")
        return known
    if name is not None:
        _require_importable(name)
        return name
    twin = next((file for file in PUBLISHED.values() if file.is_size_exact and file.size == size_of(path)), None)
    if twin is not None:
        raise WeightsError(
            f"{path}: as large as the published file of {twin.model}, but the checksum is wrong ({sha256})",
            hint=f"copy it again; if it is meant to differ, --name {twin.model}",
        )
    raise WeightsError(f"{path}: not a published checkpoint (sha256 {sha256})", hint="say which network with --name")


def _require_importable(name: str) -> None:
    if name in BUNDLED:
        raise UsageError(f"{name} comes with the package", hint="m3d depth --weights FILE uses other weights for it")
    published_file(name)


def import_checkpoint(source: Path, name: str | None, say: Callable[[str], None]) -> Installed:
    """Install a checkpoint that was carried here by hand; the file itself is copied and stays."""
    try:
        sha256 = sha256_of(source)
    except OSError as error:
        raise WeightsError(f"{source}: cannot be read ({error.strerror})", hint="check the path") from error
    model = recognise(source, sha256, name)
    with writing(model, say) as folder:
        if _is_there(model, sha256):
            say(f"{model}: these weights are installed already")
        else:
            _import(model, source, sha256, folder)
        installed = find_installed(model)
        assert installed is not None  # noqa: S101 - it was installed while the folder was held
        sweep(installed)
    if model not in PUBLISHED or PUBLISHED[model].sha256 != sha256:
        say(f"{model}: not the published weights; results will name yours by their checksum {sha256}")
    return installed


def _is_there(model: str, sha256: str) -> bool:
    try:
        installed = find_installed(model)
        if installed is not None:
            installed.check()
    except WeightsError:
        return False
    return installed is not None and installed.sha256 == sha256


def _import(model: str, source: Path, sha256: str, folder: Path) -> None:
    require_space(folder, 2 * size_of(source))
    target = folder / checkpoint_name(model, sha256, source.name)
    part = part_of(target)
    try:
        shutil.copyfile(source, part)
        if sha256_of(part) != sha256:
            raise WeightsError(f"{source}: changed while it was copied", hint="import it again")
        place(model, part, sha256, source.name)
    finally:
        part.unlink(missing_ok=True)


def verify_installed(installed: Installed) -> str:
    """Read every byte of an installation and say what that proves; raises WeightsError when something was altered.

    The checkpoint is compared with the published checksum, or the recorded one for weights of one's own; the file that
    is loaded against its record, and tensor by tensor against the checkpoint.
    """
    hint = again_hint(installed.model)
    published = PUBLISHED.get(installed.model)
    is_published = published is not None and published.sha256 == installed.sha256
    words = "as published" if is_published else "weights of your own, as recorded"
    _verify_file(installed.path, installed.loaded, hint)
    if not installed.checkpoint_path.exists():
        return f"{words}; the checkpoint was removed, so the record alone vouches"
    _verify_file(installed.checkpoint_path, installed.checkpoint, hint)
    _verify_same(installed, hint)
    return words


def _verify_file(path: Path, recorded: StoredFile, hint: str) -> None:
    size = size_of(path)
    if size != recorded.size:
        raise WeightsError(f"{path}: {size} bytes, expected {recorded.size}", hint=hint)
    if sha256_of(path) != recorded.sha256:
        raise WeightsError(f"{path}: the checksum is wrong", hint=hint)


def _verify_same(installed: Installed, hint: str) -> None:
    import torch

    expected = _fitting(installed.model, installed.checkpoint_path, installed.called)
    found = _fitting(installed.model, installed.path, installed.loaded.name)
    for key, value in expected.items():
        if value.dtype != found[key].dtype or not torch.equal(value, found[key]):
            raise WeightsError(f"{installed.path}: {key} is not what the checkpoint holds", hint=hint)


def _fitting(model: str, path: Path, called: str) -> Mapping[str, Tensor]:
    import torch

    from m3d_cli.models.metric3d import build_network
    from m3d_cli.models.weights import fit, read_tensors

    # Only names and shapes of the network are needed, no memory for its tensors.
    with torch.device("meta"):
        network = build_network(model)
    return fit(network, read_tensors(path, called), called)
