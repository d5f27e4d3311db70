"""Entries of a spec that name a thing and give its parameters, checked against the thing's own signature."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from torch import Tensor

from harness.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

AXES = ("beta", "kappa", "norm")
"""Parameters of an attack that a spec may give as a list: the grid is their product."""


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def look_up(name: object, table: Mapping[str, Any], kind: str) -> Any:
    """The thing called `name` in the `table` of a kind of thing, or at that import path.

    Raises
    ------
    UserError
        There is no such thing.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    if not isinstance(name, str) or ":" not in name:
        close = get_close_matches(str(name), table, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"must name a known {kind}: {', '.join(table)}, or package.module:name; got {name!r}{hint}")
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{name} cannot be imported: {error}") from error


def parameters_of(
    thing: Callable[..., Any], *, axes: Sequence[str] = AXES, leave_out: Sequence[str] = ()
) -> type[BaseModel]:
    """A model of the keyword parameters of `thing`, a function or a dataclass; its `axes` become lists."""
    found: dict[str, Any] = {}
    for parameter in inspect.signature(thing, eval_str=True).parameters.values():
        if parameter.name in leave_out:
            continue
        annotation, default = _without_tensors(parameter.annotation), parameter.default
        if parameter.name in axes:
            several = types.GenericAlias(list, (annotation,))
            annotation = Annotated[several, BeforeValidator(_as_list), Field(min_length=1)]
            default = default if default is parameter.empty else [default]
        found[parameter.name] = (annotation, ... if default is parameter.empty else default)
    return create_model(getattr(thing, "__name__", "parameters"), __base__=Strict, **found)


def named(
    entry: Mapping[str, Any],
    table: Mapping[str, Any],
    kind: str,
    where: str,
    *,
    leave_out: Sequence[str] = (),
) -> dict[str, Any]:
    """An entry `{name: …, parameter: …}` with the defaults of the thing that it names.

    Raises
    ------
    UserError
        One line that begins with `where`.
    """
    parameters = dict(entry)
    try:
        thing = look_up(parameters.pop("name", None), table, kind)
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    resolved = validated(parameters_of(thing, leave_out=leave_out), parameters, where)
    return {"name": entry["name"], **resolved.model_dump(mode="json")}


def validated(model: type[Model], content: Mapping[str, Any], where: str = "") -> Model:
    """`content` as a `model`.

    Raises
    ------
    UserError
        The first thing wrong, in one line: where, what is wrong, what would be right.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        raise UserError(_in_words(problem, model, where)) from error


def _in_words(problem: Any, model: type[BaseModel], where: str) -> str:
    """`path: what is wrong, and what would be right`; a field's description says that best where it has one."""
    path, around = where, model
    for part in problem["loc"]:
        field = around.model_fields.get(part) if isinstance(part, str) else None
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        if field is not None and field.description:
            return f"{path.lstrip('.')}: must be {field.description}; got {problem['input']!r}"
        around = _model_in(field.annotation) or around if field is not None else around
    path = path.lstrip(".")
    if problem["type"] == "missing":
        return f"{path}: is missing"
    if problem["type"] == "extra_forbidden":
        close = get_close_matches(str(problem["loc"][-1]), around.model_fields, n=1)
        known = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(around.model_fields)}"
        return f"{path}: unknown key; {known}"
    if problem["type"] == "too_short":
        return f"{path}: must not be empty"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    message = message.replace("input should", "must").replace("must be a valid", "must be a")
    return f"{path}: {message}; got {problem['input']!r}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, one or a list of them."""
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _without_tensors(annotation: Any) -> Any:
    """`float | Tensor` as `float`: a spec holds numbers."""
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(part for part in get_args(annotation) if part is not Tensor)]  # noqa: UP007
    return annotation


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
