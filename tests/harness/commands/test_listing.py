"""`eadbench models --search`: names of every source, one a line."""

from tests.command import eadbench


def test_models_are_searched() -> None:
    names = eadbench("models", "--search", "ResNet18").out.split()
    assert {"resnet18", "timm:resnet18"} <= {*names} and all("resnet18" in name.lower() for name in names)
    assert eadbench("models", "--search", "no such name").out == ""
