"""Entries of a spec that name a thing and give its parameters, checked against the thing's own signature."""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.errors import PydanticUserError
from torch import Tensor

from eadbench.harness.errors import UserError
from eadbench.harness.spec.yaml import NUMBER, at, fits, shown
from eadbench.models.code import imported

Model = TypeVar("Model", bound=BaseModel)

AXES = ("beta", "kappa", "norm")
"""Parameters of an attack that a spec may give as a list: the grid is their product."""


class Strict(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_only_where_asked_for(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, of which pydantic would make 1 and 0."""
        given = any(isinstance(each, bool) for each in (value if isinstance(value, list) else [value]))
        if given and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("must not be true or false")
        return value

    @field_validator("*")
    @classmethod
    def _numbers_in_range(cls, value: Any) -> Any:
        """Refuse what texts such as "inf" have become."""
        if not all(fits(number) for number in (value if isinstance(value, list) else [value])):
            raise ValueError(f"must be {NUMBER}")
        return value


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
        known = f"{', '.join(table)}, or package.module:name"
        raise UserError(f"must name a known {kind}: {known}; got {shown(name)}{hint}")
    try:
        return imported(name)
    except ValueError as error:
        raise UserError(str(error)) from error


def parameters_of(
    thing: Callable[..., Any], *, axes: Sequence[str] = AXES, leave_out: Sequence[str] = ()
) -> type[BaseModel]:
    """A model of the keyword parameters of `thing`, a function or a dataclass; its `axes` become lists.

    Raises
    ------
    UserError
        It has parameters that a spec cannot give.
    """
    try:
        return _parameters_of(thing, axes, leave_out)
    except (TypeError, ValueError, NameError, PydanticUserError) as error:
        name, reason = getattr(thing, "__qualname__", repr(thing)), " ".join(str(error).split())
        raise UserError(f"{name} does not take keyword parameters that a spec can give: {reason}") from error


def _parameters_of(thing: Callable[..., Any], axes: Sequence[str], leave_out: Sequence[str]) -> type[BaseModel]:
    found: dict[str, Any] = {}
    for parameter in inspect.signature(thing, eval_str=True).parameters.values():
        if parameter.name in leave_out:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter} is no keyword parameter")
        annotated = Any if parameter.annotation is parameter.empty else parameter.annotation
        annotation, default = _without_tensors(annotated), parameter.default
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
        model = parameters_of(look_up(parameters.pop("name", None), table, kind), leave_out=leave_out)
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    resolved = validated(model, parameters, where)
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
    path, around, given = where, model, shown(problem["input"])
    for part in problem["loc"]:
        field = around.model_fields.get(part) if isinstance(part, str) else None
        path = at(path, part)
        if field is not None and field.description and problem["type"] != "missing":
            return f"{path}: must be {field.description}; got {given}"
        around = _model_in(field.annotation) or around if field is not None else around
    if problem["type"] == "missing":
        return f"{path}: is missing"
    if problem["type"] == "extra_forbidden":
        close = get_close_matches(str(problem["loc"][-1]), around.model_fields, n=1)
        known = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(around.model_fields)}"
        return f"{path}: unknown key; {known}"
    if problem["type"] == "too_short":
        return f"{path}: must not be empty"
    said = problem["msg"].removeprefix("Value error, ")
    message = said[0].lower() + said[1:]
    message = (
        message.replace("input should", "must")
        .replace("must be a valid", "must be a")
        .replace("a integer", "an integer")
    )
    message = re.sub(r"dictionary( or instance of \w+)?", "mapping", message)
    return f"{path}: {message}; got {given}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, one or a list of them."""
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _takes_truth(annotation: Any) -> bool:
    """Whether true and false, or anything at all, may stand in a field."""
    return annotation in (bool, Any) or any(map(_takes_truth, get_args(annotation)))


def _without_tensors(annotation: Any) -> Any:
    """`float | Tensor` as `float`: a spec holds numbers."""
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(part for part in get_args(annotation) if part is not Tensor)]  # noqa: UP007
    return annotation


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
