from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m3d_cli.errors import DatasetError
from m3d_cli.synthesis import assets_pack as pack
from m3d_cli.synthesis.assets import AssetLibrary, load_assets
from m3d_cli.synthesis.assets_pack import fetch_assets, pack_assets
from m3d_cli.synthesis.wavefront import guessed_material, read_mtl, read_obj


def test_models_keep_their_catalogue_size(library: AssetLibrary) -> None:
    for model in library.models:
        for coarse in (False, True):
            part = library.part(model.index, coarse)
            np.testing.assert_allclose(part.size, model.size, rtol=1e-5)
            assert part.vertices[:, 2].min() == 0
    desk = library.find("desk", category="Office")[0]
    assert desk.size == pytest.approx((1.4, 0.7, 0.75))


def test_catalogue_facts_survive_packing(library: AssetLibrary) -> None:
    table, window = library.find("table")[0], library.find("window")[0]
    assert (table.licence, table.creator, table.category) == ("CC-0", "Nobody", "Living room")
    assert table.drop_height == pytest.approx(0.74)
    assert np.isnan(window.drop_height)
    assert window.elevation == pytest.approx(0.9)
    assert window.opening
    assert not table.opening


def test_colours_and_textures_survive_packing(library: AssetLibrary) -> None:
    part = library.part(0)
    textured = part.texture > 0
    assert len(part.triangles) == 12
    assert textured.sum() == 8
    red = library.textures[part.texture[textured][0]].reshape(-1, 4).mean(axis=0)
    np.testing.assert_allclose(red, (200, 0, 0, 255), atol=4)
    np.testing.assert_allclose(part.colour[~textured], np.tile((0.5, 0.25, 0.12), (4, 1)), atol=0.011)
    np.testing.assert_allclose(part.gloss[~textured], 0.4, atol=0.01)
    assert part.uv.min() >= 0


def test_the_front_of_a_model_looks_towards_minus_y() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2.0]], dtype=np.float32)
    upright = pack._upright(vertices, "")
    np.testing.assert_array_equal(upright[3], (0, -2, 0))  # OBJ +z is the front
    np.testing.assert_array_equal(upright[2], (0, 0, 1))


def test_fine_models_are_thinned_without_changing_size() -> None:
    n = 150
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 2, n))
    vertices = np.stack([x.ravel(), y.ravel(), np.sin(x * 9).ravel()], axis=1).astype(np.float32)
    i = np.arange(n * n).reshape(n, n)
    triangles = np.stack([i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()], axis=1).astype(np.int32)
    thin, kept, keep = pack._thinned(vertices, triangles, 2000)
    assert len(kept) == len(keep) <= 2000
    np.testing.assert_allclose(np.ptp(thin, axis=0), np.ptp(vertices, axis=0), atol=0.05)


def test_obj_polygons_become_fans_and_negative_indices_count_back() -> None:
    mesh = read_obj("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 2 0\nf 1 2 3 4 5\nf -3 -2 -1\n")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 3, 4], [2, 3, 4]])


def test_mtl_reads_texture_opacity_and_lifts_black_under_a_texture() -> None:
    found = read_mtl("newmtl a\nKd 0 0 0\nmap_Kd sub\\x.png\nnewmtl b\nKd 0.1 0.2 0.3\nd 0.25\n")
    assert found["a"].texture == "x.png"
    assert found["a"].colour == (1, 1, 1)
    assert found["b"].opacity == 0.25
    assert guessed_material("dark_Wood").colour == guessed_material("wood2").colour


def test_errors_name_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="fetch"):
        load_assets(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DatasetError, match="the packed asset library cannot be read"):
        load_assets(tmp_path / "bad.npz")
    with pytest.raises(DatasetError, match=r"no \.sh3f"):
        pack_assets(tmp_path, tmp_path / "out.npz")
    (tmp_path / "x.sh3f").write_bytes(b"not a zip")
    with pytest.raises(DatasetError, match=r"x\.sh3f: damaged"):
        pack_assets(tmp_path, tmp_path / "out.npz")
    monkeypatch.setattr(pack.shutil, "which", lambda name: None)
    with pytest.raises(DatasetError, match="apt-get") as caught:
        fetch_assets(tmp_path)
    assert "dpkg -x" in caught.value.hint
