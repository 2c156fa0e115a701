"""lite's own vision transformer, against timm's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import timm
import torch
from torch import nn

from m3d_cli.models.vit import VisionTransformer

PHOTO = Path(__file__).parents[2] / "data" / "photos" / "palace.jpg"


def test_tokens_are_those_of_timm() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(
        "vit_small_patch14_dinov2", pretrained=False, img_size=(70, 98), depth=4, num_classes=0
    ).eval()
    theirs.norm = nn.Identity()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    ours = VisionTransformer(rows=5, columns=7, patch=14, dim=384, heads=6, depth=4).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 70, 98)
    with torch.no_grad():
        expected = theirs.forward_intermediates(
            image, indices=[0, 3], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        found = ours(image, (1, 4))
    assert len(found) == 2
    for (tokens, prefix), (own, own_class) in zip(expected, found, strict=True):
        torch.testing.assert_close(own, tokens, atol=1e-5, rtol=0)
        torch.testing.assert_close(own_class, prefix[:, 0], atol=1e-5, rtol=0)


def test_a_photo_needs_neither_timm_nor_what_timm_imports(tmp_path: Path) -> None:
    script = (
        "import sys; from m3d_cli.cli.app import main\n"
        f"code = main(['depth', {str(PHOTO)!r}, '--out', {str(tmp_path / 'out')!r}, '-q'])\n"
        "print(code, [name for name in ('timm', 'torchvision', 'sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
