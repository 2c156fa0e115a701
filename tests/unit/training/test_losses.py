"""Each loss against a few lines of plain numpy, and each mask against a change behind it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.training import losses

RTOL = 1e-4
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    target = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    mask = torch.rand((2, 1, 40, 56), generator=generator) > 0.3
    return prediction, target, mask


def rpnl(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return losses.random_proposal_normalisation(prediction, target, mask, torch.Generator().manual_seed(5), crops=6)


def log_difference(prediction: Tensor, target: Tensor, mask: Tensor, picture: int) -> NDArray[np.float64]:
    p, t, m = (x[picture, 0].double().numpy() for x in (prediction, target, mask))
    return np.log(p[m > 0]) - np.log(t[m > 0])


def test_log_l1_is_the_mean_of_pictures_of_absolute_log_errors() -> None:
    expected = np.mean([np.abs(log_difference(*case(), i)).mean() for i in range(2)])
    assert float(losses.log_l1(*case())) == pytest.approx(expected, rel=RTOL)


def test_scale_invariant_log_follows_eigen() -> None:
    values = []
    for i in range(2):
        d = log_difference(*case(), i)
        values.append(np.sqrt((d**2).mean() - 0.5 * d.mean() ** 2))
    assert float(losses.scale_invariant_log(*case())) == pytest.approx(np.mean(values), rel=RTOL)


def test_full_focus_forgives_any_scale() -> None:
    prediction, _, mask = case()
    value = losses.scale_invariant_log(3 * prediction, prediction, mask, focus=1.0)
    assert float(value) < 2e-3  # the square root's epsilon


def test_rpnl_normalises_each_crop_by_median_and_mean_deviation() -> None:
    prediction, target, mask = case()
    generator = torch.Generator().manual_seed(5)
    rows, columns = losses._lattice(prediction.shape[-2:], 6, generator)
    values = []
    for picture in range(2):
        for crop in range(6):
            index = np.ix_(rows[crop, :, 0].numpy(), columns[crop, 0].numpy())
            m = mask[picture, 0].numpy()[index]
            if m.sum() < losses.RPNL_LEAST:
                continue
            p, t = prediction[picture, 0].numpy()[index][m], target[picture, 0].numpy()[index][m]
            values.append(np.abs(normalised(p) - normalised(t)).mean())
    assert float(rpnl(prediction, target, mask)) == pytest.approx(np.mean(values), rel=1e-3)


def normalised(x: NDArray[np.float32]) -> NDArray[np.float32]:
    median = np.sort(x)[(len(x) - 1) // 2]
    deviation = np.abs(x - median).mean() + losses.RPNL_FLOOR * abs(median) + 1e-6
    return (x - median) / deviation


def test_rpnl_forgives_scale_and_shift() -> None:
    _, target, mask = case()
    assert float(rpnl(2 * target + 1, target, mask)) < 0.02
    assert float(rpnl(target.flip(3), target, mask)) > 0.3


def test_gradient_sees_edges_not_scale() -> None:
    _, target, mask = case()
    assert float(losses.gradient(2 * target, target, mask)) == pytest.approx(0, abs=1e-5)
    assert float(losses.gradient(target.flip(3), target, mask)) > 0.1


def test_confidence_aims_at_one_minus_the_relative_error() -> None:
    prediction, target, mask = case()
    goal = (1 - (prediction - target).abs() / target).clamp(min=0)
    assert float(losses.confidence_l1(goal, prediction, target, mask)) == pytest.approx(0, abs=1e-6)
    worse = losses.confidence_l1(goal + 0.25, prediction, target, mask)
    assert float(worse) == pytest.approx(0.25, rel=RTOL)


def test_sky_is_free_beyond_the_limit_and_costs_its_log_below() -> None:
    is_sky = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert float(losses.sky(torch.full((1, 1, 4, 4), 200.0), 150, is_sky)) == 0
    near = losses.sky(torch.full((1, 1, 4, 4), 15.0), 150, is_sky)
    assert float(near) == pytest.approx(np.log(10), rel=RTOL)


@pytest.mark.parametrize("loss", [losses.log_l1, losses.scale_invariant_log, losses.gradient, rpnl])
def test_a_masked_pixel_changes_nothing(loss: Loss) -> None:
    prediction, target, mask = case()
    spoiled_target = torch.where(mask, target, torch.nan)
    spoiled = torch.where(mask, prediction, 1e6 + prediction)
    assert float(loss(spoiled, spoiled_target, mask)) == pytest.approx(float(loss(prediction, target, mask)), rel=1e-6)


@pytest.mark.parametrize("loss", [losses.log_l1, losses.scale_invariant_log, losses.gradient, rpnl])
def test_gradients_are_finite_where_nothing_is_known(loss: Loss) -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    value = loss(prediction, torch.full_like(target, torch.nan), torch.zeros_like(mask))
    value.backward()
    assert float(value.detach()) < 2e-3
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
