"""Follow defensive distillation epoch by epoch: accuracy, mean |Z| and margin of teachers and students.

    uv run python benchmarks/distillation.py --data ROOT

ROOT holds MNIST in torchvision's format. The network is Carlini and Wagner's, trained as in
sweeps/paper/table_11.yaml: SGD at 0.01 with momentum 0.9, batches of 128. `--init torch` begins with torch's initial
weights in place of Keras's.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, Subset

from eadbench.attacks.criterion import margin
from eadbench.defenses.distillation import SoftLabels
from eadbench.defenses.undefended import initial_model
from eadbench.harness import datasets
from eadbench.models import Recipe, Training, train


class Course:
    """Trainings of one architecture on one data set, each measured after every epoch on the same test images."""

    def __init__(self, root: str, *, images: int, init: str) -> None:
        data = datasets.load("mnist", root=root)
        self.data: Dataset[tuple[Tensor, int]] = Subset(data.train, range(images))
        self.images, self.labels = data.test.images(range(1000)), data.test.labels[:1000]
        self.size = images
        training = Training(epochs=1, optimizer="sgd", learning_rate=0.01, init=init)  # type: ignore[arg-type]
        self.recipe = Recipe(
            arch="cw_mnist",
            parameters={},
            num_classes=10,
            trained_on="mnist",
            defense={"name": "none"},
            training=training,
        )

    def run(
        self,
        name: str,
        start: nn.Module | None,
        *,
        epochs: int,
        temperature: float = 1.0,
        teacher: nn.Module | None = None,
    ) -> nn.Module:
        """Train from the weights of `start`, on the labels or on those of `teacher`, and print a line per epoch."""
        model = initial_model(self.recipe)
        if start is not None:
            model.load_state_dict(start.state_dict())
        assert self.recipe.training is not None
        training = Training(epochs=epochs, optimizer="sgd", learning_rate=self.recipe.training.learning_rate)
        data = self.data if teacher is None else SoftLabels(self.data, teacher, temperature)
        train(model, data, training, loss=loss_at(temperature), on_batch=self._printer(name, model))
        return model

    def _printer(self, name: str, model: nn.Module) -> Callable[[int, int, float], None]:
        def after_batch(done: int, total: int, loss: float) -> None:
            if done % self.size == 0:
                print(f"| {name} | {done // self.size} | {self._figures(model)} |", flush=True)

        return after_batch

    @torch.no_grad()
    def _figures(self, model: nn.Module) -> str:
        """Return accuracy, mean |Z| and the mean lead of the true class, on the test images."""
        was_training = model.training
        logits = model.eval()(self.images)
        model.train(was_training)
        correct = (logits.argmax(1) == self.labels).double().mean()
        return f"{correct:.3f} | {logits.abs().mean():.2f} | {margin(logits, self.labels, targeted=True).mean():.2f}"


def loss_at(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the cross-entropy of softmax(Z / T)."""
    return lambda logits, labels: functional.cross_entropy(logits / temperature, labels)


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="the root that holds MNIST")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--init", choices=["glorot", "torch"], default="glorot")
    parser.add_argument("--temperatures", type=float, nargs="*", default=[1, 10, 100])
    arguments = parser.parse_args()
    course = Course(arguments.data, images=arguments.images, init=arguments.init)
    print("| network | epoch | accuracy | mean abs(Z) | margin |\n| --- | ---: | ---: | ---: | ---: |")
    start = course.run(f"start, {arguments.init}", None, epochs=1)
    for temperature in arguments.temperatures:
        fixed = {"epochs": arguments.epochs, "temperature": temperature}
        teacher = course.run(f"teacher, T = {temperature:g}", start, **fixed)
        course.run(f"student, T = {temperature:g}", start, teacher=teacher, **fixed)


if __name__ == "__main__":
    main()
