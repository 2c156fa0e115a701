"""Each loss against a few lines of plain numpy, and each mask against a change behind it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3d_cli.models.prediction import FOCAL_RANGE
from m3d_cli.training import losses

RTOL = 1e-4
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    target = 0.5 + 5 * torch.rand((2, 1, 40, 56), generator=generator)
    mask = torch.rand((2, 1, 40, 56), generator=generator) > 0.3
    return prediction, target, mask


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


def test_the_sequence_weighs_later_estimates_more_by_the_published_rule() -> None:
    small, large = losses.sequence_weights(5), losses.sequence_weights(9)
    assert small[-1] == large[-1] == 1
    assert small[-2] == pytest.approx(0.674, abs=5e-4)
    assert large[-2] == pytest.approx(0.821, abs=5e-4)
    assert small[0] == pytest.approx(small[1] ** 2 / small[2])
    assert losses.sequence_weights(1) == (1,)


def test_l1_sequence_is_error_plus_confidence_error_of_every_estimate() -> None:
    prediction, target, mask = case()
    other, _, _ = case(3)
    confidences = [torch.full_like(target, 0.4), torch.full_like(target, 0.7)]
    expected = 0.0
    for weight, depth, said in zip((0.9**15, 1.0), (other, prediction), confidences, strict=True):
        for picture in range(2):
            p, t, m, c = (x[picture, 0].double().numpy() for x in (depth, target, mask, said))
            error = np.abs(p - t)
            near = (m > 0) & (error < t)
            expected += weight / 2 * (error[m > 0].mean() + np.abs(c - (1 - error / t))[near].mean())
    value = losses.l1_sequence([other, prediction], confidences, target, mask)
    assert float(value) == pytest.approx(expected, rel=RTOL)


def test_the_goal_of_the_confidence_does_not_pull_the_depth() -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    confidence = torch.full_like(target, 0.4)
    losses.l1_sequence([prediction], [confidence], target, mask).backward()
    sign = torch.where(mask, (prediction.detach() - target).sign(), 0.0)
    per_picture = sign / mask.sum(dim=(1, 2, 3), keepdim=True) / 2
    assert prediction.grad is not None
    assert torch.allclose(prediction.grad, per_picture)


def test_sky_regularisation_is_the_distance_to_200_and_to_a_normal_that_faces_us() -> None:
    is_sky = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    is_sky[..., 0, :] = True
    depth = torch.tensor([[[[150.0, 190.0], [3.0, 4.0]]]])
    normals = torch.zeros(1, 3, 2, 2)
    normals[:, 2] = torch.tensor([[-1.0, 0.0], [1.0, 1.0]])
    assert float(losses.sky_regularisation(depth, None, is_sky)) == pytest.approx(30)
    assert float(losses.sky_regularisation(depth, normals, is_sky)) == pytest.approx(30.5)
    assert float(losses.sky_regularisation(depth, normals, torch.zeros_like(is_sky))) == 0


def test_the_focal_loss_is_least_where_the_distribution_lies_on_the_truth() -> None:
    low, high = np.log(FOCAL_RANGE)
    centres = np.linspace(low, high, 40)
    ratio = torch.tensor([0.9, 2.0])

    def logits(shift: float) -> Tensor:
        away = (torch.tensor(centres)[None] - ratio.double().log()[:, None] - shift) / ((high - low) / 39 * 1.5)
        return (-0.5 * away**2).float()

    values = [float(losses.focal_cross_entropy(logits(shift), ratio)) for shift in (-0.3, 0.0, 0.3)]
    assert min(values) == values[1]
    goal = torch.softmax(logits(0.0).double(), dim=1)
    entropy = -(goal * goal.log()).sum(dim=1).mean()
    assert values[1] == pytest.approx(float(entropy), rel=RTOL)


def test_sky_is_free_beyond_the_limit_and_costs_its_log_below() -> None:
    is_sky = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    assert float(losses.sky(torch.full((1, 1, 4, 4), 200.0), 150, is_sky)) == 0
    near = losses.sky(torch.full((1, 1, 4, 4), 15.0), 150, is_sky)
    assert float(near) == pytest.approx(np.log(10), rel=RTOL)


def sequence(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return losses.l1_sequence([prediction], [torch.full_like(prediction, 0.5)], target, mask)


@pytest.mark.parametrize("loss", [losses.log_l1, losses.scale_invariant_log, losses.gradient, sequence])
def test_a_masked_pixel_changes_nothing(loss: Loss) -> None:
    prediction, target, mask = case()
    spoiled_target = torch.where(mask, target, torch.nan)
    spoiled = torch.where(mask, prediction, 1e6 + prediction)
    assert float(loss(spoiled, spoiled_target, mask)) == pytest.approx(float(loss(prediction, target, mask)), rel=1e-6)


@pytest.mark.parametrize("loss", [losses.log_l1, losses.scale_invariant_log, losses.gradient, sequence])
def test_gradients_are_finite_where_nothing_is_known(loss: Loss) -> None:
    prediction, target, mask = case()
    prediction.requires_grad_()
    value = loss(prediction, torch.full_like(target, torch.nan), torch.zeros_like(mask))
    value.backward()
    assert float(value.detach()) < 2e-3
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
