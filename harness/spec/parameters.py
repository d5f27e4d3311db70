"""Mappings of a spec, checked against a model or against the signature of the thing that they name."""

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic.errors import PydanticUserError
from torch import Tensor

from eadbench.harness.errors import UserError
from eadbench.harness.messages import NUMBER, at, fits, one_line, shown

__all__ = ["Right", "Strict", "each_made", "listed", "parameters_of", "scalars_of", "takes_tensor", "validated"]

Model = TypeVar("Model", bound=BaseModel)

_NORMS = {"0": "l0", "1": "l1", "2": "l2", "inf": "linf", "infinity": "linf", "∞": "linf"} | {
    f"{number}.0": f"l{number}" for number in (0, 1, 2)
}
"""Our names of norms, by how people write them after an L."""
_FRACTION = re.compile(r"\s*(\d+(?:\.\d*)?)\s*/\s*(\d+(?:\.\d*)?)\s*")

_FRACTIONS = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_FRACTION.pattern}$"})]


class Right(NamedTuple):
    """Say in a field's annotation what would be right, for the message that refuses a value."""

    text: str


class Strict(BaseModel):
    """Refuse keys that the model does not have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_only_where_asked_for(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number; pydantic would make 1 and 0 of them."""
        given = any(isinstance(each, bool) for each in (value if isinstance(value, list) else [value]))
        if given and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("must not be true or false")
        return value

    @field_validator("*")
    @classmethod
    def _numbers_in_range(cls, value: Any) -> Any:
        """Refuse infinities and the like that texts such as "inf" have become."""
        if not all(fits(number) for number in (value if isinstance(value, list) else [value])):
            raise ValueError(f"must be {NUMBER}")
        return value


def parameters_of(
    thing: Callable[..., Any], *, axes: Sequence[str] = (), leave_out: Sequence[str] = ()
) -> type[BaseModel]:
    """Return a model of the keyword parameters of `thing`, a function or a dataclass; its `axes` become lists.

    Raises
    ------
    UserError
        The thing has parameters that a spec cannot give.
    """
    try:
        return _parameters_of(thing, axes, leave_out)
    except (TypeError, ValueError, NameError, PydanticUserError) as error:
        name = getattr(thing, "__qualname__", repr(thing))
        raise UserError(f"{name} does not take keyword parameters that a spec can give: {one_line(error)}") from error


def _parameters_of(thing: Callable[..., Any], axes: Sequence[str], leave_out: Sequence[str]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(thing, eval_str=True).parameters.values():
        if parameter.name in leave_out:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter} is no keyword parameter")
        annotated = Any if parameter.annotation is parameter.empty else parameter.annotation
        annotation, default = _as_written(_without_tensors(annotated)), _default(thing, parameter)
        if parameter.name in axes:
            several = types.GenericAlias(list, (annotation,))
            annotation = Annotated[several, BeforeValidator(_as_list), Field(min_length=1)]
            default = default if default is parameter.empty else [default]
        fields[parameter.name] = (annotation, ... if default is parameter.empty else default)
    return create_model(getattr(thing, "__name__", "parameters"), __base__=Strict, **fields)


def _default(thing: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the default of a parameter; a dataclass may make it anew each time. A spec has lists, and no tuples."""
    field = getattr(thing, "__dataclass_fields__", {}).get(parameter.name)
    factory = dataclasses.MISSING if field is None else field.default_factory
    default = parameter.default if factory is dataclasses.MISSING else factory()
    kinds = (parameter.annotation, *get_args(parameter.annotation))
    takes_tuple = any(tuple in (kind, get_origin(kind)) for kind in kinds)
    return list(default) if isinstance(default, tuple) and not takes_tuple else default


def scalars_of(thing: Callable[..., Any]) -> list[str]:
    """Return the keyword parameters of a thing that hold one number, text or truth, so that a list is several values.

    Empty if its parameters cannot be read; :func:`parameters_of` says why.
    """
    try:
        parameters = inspect.signature(thing, eval_str=True).parameters.values()
    except (TypeError, ValueError, NameError):
        return []
    return [parameter.name for parameter in parameters if _is_scalar(_without_tensors(parameter.annotation))]


def listed(given: Mapping[str, Any], scalars: Sequence[str]) -> list[str]:
    """Return the scalar parameters that a mapping gives as lists, in its order: each is an axis of the grid."""
    return [name for name, value in given.items() if name in scalars and isinstance(value, list)]


def _is_scalar(annotation: Any) -> bool:
    """Return whether an annotation takes single numbers, texts and truths alone."""
    if get_origin(annotation) in (Union, types.UnionType):
        return all(map(_is_scalar, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _is_scalar(get_args(annotation)[0])
    return get_origin(annotation) is Literal or annotation in (int, float, str, bool, None, types.NoneType)


def takes_tensor(thing: Callable[..., Any], parameter: str) -> bool:
    """Return whether a parameter may be a tensor, so that every example of a batch can have its own value."""
    known = inspect.signature(thing, eval_str=True).parameters.get(parameter)
    return known is not None and Tensor in (known.annotation, *get_args(known.annotation))


def each_made(
    thing: Callable[..., Any], parameters: Mapping[str, Any], axes: Mapping[str, Sequence[Any]], where: str
) -> Iterator[Any]:
    """Yield the thing made with every value of every axis, the other axes at their first value."""
    for axis, values in axes.items():
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise UserError(f"{where}.{axis}: has the value {shown(twice[0])} twice; leave out one")
    first = {axis: values[0] for axis, values in axes.items()}
    settings = [{**first, axis: value} for axis, values in axes.items() for value in values] or [{}]
    for setting in settings:
        fields = {**parameters, **setting}
        try:
            yield thing(**fields)
        except Exception as error:  # an outsider's class may raise anything
            text = one_line(error)
            separator = "." if text.split(" ", 1)[0] in fields else ": "
            raise UserError(f"{where}{separator}{text}") from error


def validated(model: type[Model], content: Mapping[str, Any], where: str = "") -> Model:
    """Return `content` as a `model`.

    Raises
    ------
    UserError
        The first thing wrong, in one line: where it is, what is wrong, what would be right.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(_refusal(error.errors()[0], model, where)) from error


def _refusal(problem: Any, model: type[BaseModel], where: str) -> str:
    """Return ``path: what is wrong, and what would be right``, the latter as the field's `Right` has it."""
    path, around, given = where, model, shown(problem["input"])
    for part in problem["loc"]:
        field = around.model_fields.get(part) if isinstance(part, str) else None
        path = at(path, part)
        if field is None:
            continue
        right = next((each.text for each in field.metadata if isinstance(each, Right)), None)
        if right and problem["type"] != "missing":
            return f"{path}: must be {right}; got {given}"
        around = _model_in(field.annotation) or around
    if problem["type"] == "missing":
        return f"{path}: is missing"
    if problem["type"] == "extra_forbidden":
        close = get_close_matches(str(problem["loc"][-1]), around.model_fields, n=1)
        known = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(around.model_fields)}"
        return f"{path}: unknown key; {known}"
    if problem["type"] == "too_short":
        return f"{path}: must not be empty"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    for theirs, ours in (("input should", "must"), ("must be a valid", "must be a"), ("a integer", "an integer")):
        message = message.replace(theirs, ours)
    message = re.sub(r"dictionary( or instance of \w+)?", "mapping", message)
    return f"{path}: {message}; got {given}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, one or a list of them."""
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _takes_truth(annotation: Any) -> bool:
    """Return whether true and false, or anything at all, may stand in a field."""
    return _takes(annotation, bool) or _takes(annotation, Any)


def _takes(annotation: Any, kind: Any) -> bool:
    """Return whether values of a kind may stand in a field, or in a list there."""
    return annotation is kind or any(_takes(part, kind) for part in get_args(annotation))


def _without_tensors(annotation: Any) -> Any:
    """Return `float | Tensor` as `float`: a spec holds numbers."""
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(part for part in get_args(annotation) if part is not Tensor)]  # noqa: UP007
    return annotation


def _as_written(annotation: Any) -> Any:
    """Return an annotation that takes norms and fractions as people write them: 2, inf, L2 and 8/255.

    The JSON Schema takes them too.
    """
    if get_origin(annotation) is Literal and set(get_args(annotation)) <= set(_NORMS.values()):
        return Annotated[annotation, BeforeValidator(_norm, json_schema_input_type=_written_norms(annotation))]
    if not _takes(annotation, float):
        return annotation
    return Annotated[annotation, BeforeValidator(_fraction, json_schema_input_type=_written_numbers(annotation))]


def _written_norms(annotation: Any) -> Any:
    """Return a type whose JSON Schema has every way to write some norms."""
    names = get_args(annotation)
    spellings = [spelling for spelling, name in _NORMS.items() if name in names]
    numbers = [int(spelling) for spelling in spellings if spelling.isdecimal()]
    letters = "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in "|".join(spellings))
    pattern = f"^([lL][_ ]?)?({letters.replace(re.escape('|'), '|')})$"
    schema = {"anyOf": [{"enum": [*names, *numbers]}, {"type": "string", "pattern": pattern}]}
    return Annotated[Any, WithJsonSchema(schema)]


def _written_numbers(annotation: Any) -> Any:
    """Return an annotation whose JSON Schema has fractions wherever it has floats."""
    if annotation is float:
        return Union[float, _FRACTIONS]  # noqa: UP007
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated or not _takes(annotation, float):
        return annotation
    return (Union if origin is types.UnionType else origin)[tuple(map(_written_numbers, parts))]


def _norm(value: Any) -> Any:
    """Return a norm by our name; anything else as it is."""
    return value if isinstance(value, bool) else _NORMS.get(re.sub(r"^l[_ ]?", "", str(value).lower()), value)


def _fraction(value: Any) -> Any:
    """Return a fraction such as ``8/255`` as a number, also within a list; anything else as it is."""
    if isinstance(value, list):
        return [_fraction(each) for each in value]
    match = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) / float(match[2]) if match and float(match[2]) else value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
