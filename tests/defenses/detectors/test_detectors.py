"""Detectors against scikit-learn, slow transcriptions and cases by hand."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.neighbors import KernelDensity as Reference
from torch import Tensor, nn

from eadbench.attacks.engine.declaration import dataclass_breaches
from eadbench.defenses.detectors import DETECTORS, Detector, Fitted, breaches, scores_of
from eadbench.defenses.detectors.crafted import adversarial, noisy
from eadbench.defenses.detectors.feature_squeezing import FeatureSqueezing
from eadbench.defenses.detectors.hidden import dropped_out, last_hidden, relu_outputs
from eadbench.defenses.detectors.kernel_density import KernelDensity, likeliest, log_density
from eadbench.defenses.detectors.mmd import MMD, squared_mmd
from eadbench.defenses.detectors.outlier_class import OutlierClass
from eadbench.defenses.detectors.safetynet import SafetyNet, codes
from eadbench.defenses.squeezers import bit_depth, median, non_local_means


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, 6, 6, generator=generator(seed))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A random network with dropout; its labels are what it predicts."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, hidden, last = nn.Linear(36, 16), nn.Linear(16, 8), nn.Linear(8, 3)
        with torch.no_grad():
            for layer in (first, hidden, last):
                layer.weight *= 3
                layer.bias.zero_()
            first.bias -= 0.5 * first.weight.sum(1)  # images are centred
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Dropout(0.5), hidden, nn.ReLU(), last).eval()


def fitted(detector: Detector, network: nn.Module, count: int = 400) -> Any:
    given = images(count)
    with torch.no_grad():
        return detector.fit(network, given, network(given).argmax(1))


class TestEvery:
    @pytest.mark.parametrize("name", DETECTORS)
    def test_keeps_the_protocol(self, name: str) -> None:
        assert breaches(DETECTORS[name]) == []
        assert dataclass_breaches(DETECTORS[name]) == []

    @pytest.mark.parametrize(
        "detector",
        [FeatureSqueezing(), KernelDensity(), KernelDensity(dropout=4), SafetyNet(layers=2), OutlierClass(epochs=4)],
    )
    def test_rejects_the_share_of_unseen_clean_images_that_is_asked_for(
        self, detector: Detector, network: nn.Module
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            learnt = fitted(detector, network, 1000)
            clean = scores_of(detector, network, images(2000, seed=1), learnt)
        count = 1000 if not detector.LEARNS else 500
        deviation = math.sqrt(0.05 * 0.95 * (1 / 2000 + 1 / count))
        assert abs((clean > learnt["threshold"]).double().mean().item() - 0.05) < 3 * deviation

    @pytest.mark.parametrize(
        "detector", [FeatureSqueezing(), KernelDensity(), OutlierClass(epochs=1), SafetyNet(), MMD()]
    )
    def test_is_fitted_alike_twice_and_leaves_the_model_as_it_was(self, detector: Detector, network: nn.Module) -> None:
        first, again = fitted(detector, network, 200), fitted(detector, network, 200)
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not any(module.training for module in network.modules())

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda: KernelDensity(bandwidth=-1), "bandwidth must be above 0"),
            (lambda: KernelDensity(dropout=1), "dropout must be 0, or at least 2"),
            (lambda: FeatureSqueezing(bits=9), "bits must be 0 to 8"),
            (lambda: FeatureSqueezing(bits=0, median=0), "give bits, median or non_local"),
            (lambda: FeatureSqueezing(median=1), "median must be 0, or 2 to 32"),
            (lambda: FeatureSqueezing(images=3), "images must be at least 20"),
            (lambda: FeatureSqueezing(false_positives=1), "false_positives must be between 0 and 1"),
            (lambda: MMD(reference=2), "reference must be at least 10"),
            (lambda: MMD(permutations=5), "permutations must be at least 20"),
            (lambda: OutlierClass(epochs=0), "epochs must be at least 1"),
            (lambda: OutlierClass(learning_rate=0), "learning_rate must be above 0"),
            (lambda: SafetyNet(layers=0), "layers must be at least 1"),
            (lambda: SafetyNet(levels=1), "levels must be 2 to 256"),
            (lambda: SafetyNet(penalty=0), "penalty must be above 0"),
        ],
    )
    def test_refuses_parameters_in_a_line(self, make: Callable[[], Detector], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            make()

    def test_refuses_a_victim_without_the_layers_that_it_reads(self) -> None:
        bare = nn.Sequential(nn.Flatten(), nn.Softplus())
        for read in (lambda: last_hidden(bare, images(2)), lambda: relu_outputs(bare, images(2), 1)):
            with pytest.raises(ValueError, match="the victim has"):
                read()
        with pytest.raises(ValueError, match="no dropout"), dropped_out(bare):
            pass

    @pytest.mark.parametrize(
        ("score", "text"),
        [
            (lambda sums: sums[:, None], r"must return a tensor of shape \(256,\), got \(256, 1\)"),
            (lambda sums: sums.max(), r"must return a tensor of shape \(256,\), got \(\)"),
            (lambda sums: sums.numpy(), r"must return a tensor of shape \(256,\), got ndarray"),
            (lambda sums: torch.where(sums > 18, torch.nan, sums), "training images have no finite score"),
        ],
    )
    def test_refuses_scores_that_are_not_a_number_for_each_image(
        self, score: Callable[[Tensor], Any], text: str, network: nn.Module
    ) -> None:
        @dataclass(frozen=True, kw_only=True)
        class Own(Detector):
            LEARNS: ClassVar[bool] = False

            def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Any:
                return score(images.flatten(1).sum(1))

        with pytest.raises(ValueError, match=text):
            fitted(Own(), network)


class TestFeatureSqueezing:
    def test_is_the_greatest_distance_of_the_published_squeezers(self, network: nn.Module) -> None:
        x = images(5)
        with torch.no_grad():
            p = network(x).softmax(1)
            squeezed = [bit_depth(x, 1), median(x, 2)]
            expected = torch.stack([(p - network(each).softmax(1)).abs().sum(1) for each in squeezed]).amax(0)
            torch.testing.assert_close(FeatureSqueezing().score(network, x, {}), expected)
        assert FeatureSqueezing().passes(1) == 3 and FeatureSqueezing().passes(3) == 4

    def test_its_gradient_goes_straight_through(self, network: nn.Module) -> None:
        x = images(2).requires_grad_()
        (gradient,) = torch.autograd.grad(FeatureSqueezing(median=0).score(network, x, {}).sum(), x)
        clean, squeezed = images(2).requires_grad_(), bit_depth(images(2), 1).requires_grad_()
        score = (network(clean).softmax(1) - network(squeezed).softmax(1)).abs().sum()
        torch.testing.assert_close(gradient, sum(torch.autograd.grad(score, (clean, squeezed))))

    def test_non_local_means_is_its_formula(self) -> None:
        image = torch.rand(1, 2, 5, 4, generator=generator()) / 20
        framed = np.pad(image[0].numpy(), ((0, 0), (3, 3), (3, 3)), mode="symmetric")

        def patch(i: int, j: int) -> Any:
            return framed[:, i + 2 : i + 5, j + 2 : j + 5]

        expected = np.zeros((2, 5, 4))
        for i in range(5):
            for j in range(4):
                places = [(i + y, j + x) for y in range(-2, 3) for x in range(-2, 3)]
                weights = [np.exp(-((patch(*place) - patch(i, j)) ** 2).mean() / (2 / 255) ** 2) for place in places]
                values = [patch(*place)[:, 1, 1] for place in places]
                expected[:, i, j] = np.average(values, axis=0, weights=weights)
        actual = non_local_means(image, search=5, patch=3, strength=2)[0]
        torch.testing.assert_close(actual, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-6)


class TestKernelDensity:
    def test_is_that_of_scikit_learn_by_class(self) -> None:
        data, points = torch.randn(60, 5, generator=generator()), torch.randn(9, 5, generator=generator(1))
        classes, own = torch.arange(60) % 3, torch.arange(9) % 3
        actual = log_density(points, own, data, classes, torch.tensor([0.7]))
        for k in range(3):
            reference = Reference(kernel="gaussian", bandwidth=0.7).fit(data[classes == k].numpy())
            expected = torch.from_numpy(reference.score_samples(points[own == k].numpy())).double()
            torch.testing.assert_close(actual[own == k], expected, rtol=1e-6, atol=1e-6)

    def test_the_bandwidth_has_the_greatest_likelihood_on_held_out_points(self) -> None:
        data, points = torch.randn(300, 2, generator=generator()), torch.randn(200, 2, generator=generator(1))
        one = torch.zeros(300, dtype=torch.int64)
        chosen = likeliest(points, one[:200], data, one)
        scores = [
            Reference(bandwidth=h).fit(data.numpy()).score(points.numpy()) for h in (chosen / 1.2, chosen, chosen * 1.2)
        ]
        assert scores[1] == max(scores) and 0.1 < chosen < 1

    def test_a_class_without_data_has_no_density(self) -> None:
        point = torch.zeros(1, 2)
        density = log_density(point, torch.tensor([1]), point, torch.tensor([0]), torch.ones(1))
        assert not density.isfinite()

    def test_the_dropout_variance_is_that_of_the_probabilities(self, network: nn.Module) -> None:
        x, detector = images(4), KernelDensity(dropout=3)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            actual = detector.uncertainty(network, x)
            torch.manual_seed(0)
            with dropped_out(network):
                passes = np.stack([network(x).softmax(1).numpy() for _ in range(3)])
        expected = passes.var(axis=0).sum(1)
        torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-3, atol=1e-7)
        assert (actual > 0).all() and not detector.differentiable

    def test_negatives_are_as_far_from_the_original_as_the_adversarial_images(self, network: nn.Module) -> None:
        x = 0.3 + 0.4 * images(20)
        with torch.no_grad():
            originals, attacked = adversarial(network, x, network(x).argmax(1))
        noise = noisy(originals, attacked, generator())
        torch.testing.assert_close(
            (noise - originals).flatten(1).norm(dim=1), (attacked - originals).flatten(1).norm(dim=1)
        )


class TestMMD:
    def test_is_a_double_loop(self) -> None:
        points = torch.randn(9, 4, generator=generator(), dtype=torch.float64)
        kernel = (-torch.cdist(points, points).square() / 2).exp()
        orders = torch.stack([torch.arange(9), torch.randperm(9, generator=generator(1))])
        for order, actual in zip(orders.tolist(), squared_mmd(kernel, orders, 4).tolist(), strict=True):
            x, y = points[order[:4]], points[order[4:]]

            def k(a: Tensor, b: Tensor) -> float:
                return math.exp(-float((a - b).square().sum()) / 2)

            within = sum(k(x[i], x[j]) for i in range(4) for j in range(4) if i != j) / 12
            others = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
            across = sum(k(a, b) for a in x for b in y) / 20
            assert actual == pytest.approx(within + others - 2 * across, abs=1e-12)

    def test_p_values_are_uniform_under_the_null(self) -> None:
        detector = MMD(permutations=99)
        draws = torch.randn(200, 25, 3, generator=generator(), dtype=torch.float64)
        p = [detector.p_value((-torch.cdist(each, each).square() / 2).exp(), 10) for each in draws]
        assert kstest(p, "uniform").pvalue > 0.01
        assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09

    def test_all_images_of_a_set_share_a_verdict_and_other_images_are_told_apart(self, network: nn.Module) -> None:
        detector = MMD(permutations=99)
        learnt = fitted(detector, network, 200)
        clean = scores_of(detector, network, images(50, seed=5), learnt)
        other = scores_of(detector, network, images(50, seed=5) * 0.5, learnt)
        assert len(set(clean.tolist())) == len(set(other.tolist())) == 1
        assert clean[0] < learnt["threshold"] < other[0]


class TestSafetyNet:
    def test_codes_of_a_case_by_hand(self) -> None:
        outputs = torch.tensor([[0.0, 0.5, 1.0, 7.0], [1.5, 0.0, 2.5, 2.0]])
        expected = torch.tensor([[0, 1, 1, 3], [2, 0, 3, 2]], dtype=torch.float64) / 3
        assert torch.equal(codes(outputs, torch.tensor([0.0, 1.0, 2.0])), expected)

    def test_the_decision_is_that_of_scikit_learn(self, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        import sklearn.svm

        kept: list[Any] = []

        class Remembered(sklearn.svm.SVC):
            def fit(self, *arguments: Any, **keywords: Any) -> Any:
                kept.append(self)
                return super().fit(*arguments, **keywords)

        monkeypatch.setattr(sklearn.svm, "SVC", Remembered)
        detector = SafetyNet(layers=2, levels=3)
        learnt = fitted(detector, network, 100)
        x = images(20, seed=3)
        code = detector.codes(network, x, learnt["thresholds"])
        expected = torch.from_numpy(kept[0].decision_function(code.numpy()))
        torch.testing.assert_close(detector.score(network, x, learnt), expected)

    def test_levels_have_equal_shares_of_the_positive_outputs(self, network: nn.Module) -> None:
        learnt = fitted(SafetyNet(layers=1, levels=4), network, 600)
        code = SafetyNet().codes(network, images(600), learnt["thresholds"])
        shares = [(code == level / 3).double().mean().item() for level in (1, 2, 3)]
        assert max(shares) - min(shares) < 0.1 * sum(shares)


class TestOutlierClass:
    def test_scores_by_the_lead_of_the_class_added(self, network: nn.Module) -> None:
        learnt = fitted(OutlierClass(epochs=2), network)
        given = images(5, seed=3)
        first, hidden, last = ((learnt[str(at)], learnt[str(at + 1)]) for at in (0, 2, 4))
        z = given.flatten(1) @ first[0].T + first[1]
        z = z.clamp(min=0) @ hidden[0].T + hidden[1]
        z = z.clamp(min=0) @ last[0].T + last[1]
        assert z.shape == (5, 4)
        expected = z[:, 3] - z[:, :3].max(1).values
        torch.testing.assert_close(OutlierClass().score(network, given, learnt), expected)
        torch.testing.assert_close(OutlierClass().score(nn.Sequential(network), given, learnt), expected)

    def test_begins_as_the_victim_with_an_output_of_zero(self, network: nn.Module) -> None:
        learnt = fitted(OutlierClass(epochs=1, learning_rate=1e-12), network)
        given = images(5, seed=3)
        expected = -network(given).amax(1)
        torch.testing.assert_close(OutlierClass().score(network, given, learnt), expected, rtol=1e-4, atol=1e-4)

    def test_tells_images_off_the_plane_of_clean_ones(self, network: nn.Module) -> None:
        """Every other column of a clean image is black, and an attack moves these too."""

        def striped(count: int, seed: int) -> Tensor:
            return images(count, seed=seed) * torch.tensor([1.0, 0.0]).repeat(3)

        known, unseen = striped(800, 1), striped(200, 5)
        with torch.no_grad():
            learnt = OutlierClass(epochs=40).fit(network, known, network(known).argmax(1))
            originals, attacked = adversarial(network, unseen, network(unseen).argmax(1))
        clean, fooling = (scores_of(OutlierClass(), network, each, learnt) for each in (originals, attacked))
        assert (fooling[:, None] > clean).double().mean() > 0.8  # the AUC

    def test_learns_the_same_twice_and_leaves_the_victim(self, network: nn.Module) -> None:
        before = [each.clone() for each in network.parameters()]
        first, second = (fitted(OutlierClass(epochs=2), network) for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert all(map(torch.equal, before, network.parameters()))

    def test_refuses_a_network_whose_logits_are_of_no_linear_layer(self) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.LogSoftmax(1), _Doubled()).eval()
        with pytest.raises(ValueError, match="takes no further class"):
            fitted(OutlierClass(), network)


class _Doubled(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return 2 * logits[:, :3]
