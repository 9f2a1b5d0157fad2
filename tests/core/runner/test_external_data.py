"""Tensors in other files are found from the bytes alone, wherever onnx would find them."""

import tracemalloc
from typing import Any

import onnx
import pytest
from onnx import helper

from erde_cli.core.runner import external_data
from erde_cli.core.runner.external_data import INSIDE, refuse_external_data

KINDS = {
    "ModelProto": external_data._MODEL, "GraphProto": external_data._GRAPH,
    "NodeProto": external_data._NODE, "AttributeProto": external_data._ATTRIBUTE,
    "SparseTensorProto": external_data._SPARSE, "TrainingInfoProto": external_data._TRAINING,
    "FunctionProto": external_data._FUNCTION, "TensorProto": external_data._TENSOR,
}  # fmt: skip


def leads_to_a_tensor(message: Any, seen: frozenset[str] = frozenset()) -> bool:
    if message.name == "TensorProto":
        return True
    inner = [field.message_type for field in message.fields if field.message_type is not None]
    seen |= {message.name}
    return any(leads_to_a_tensor(one, seen) for one in inner if one.name not in seen)


def test_the_tables_are_those_of_onnx() -> None:
    waiting, found = [onnx.ModelProto.DESCRIPTOR], {}
    while waiting:
        message = waiting.pop()
        inside = {
            field.number: field.message_type
            for field in message.fields
            if field.message_type is not None and leads_to_a_tensor(field.message_type)
        }
        kinds = {number: KINDS[one.name] for number, one in inside.items()}
        if message.name != "TensorProto" and KINDS[message.name] not in found:
            found[KINDS[message.name]] = kinds
            waiting += inside.values()
    assert found == INSIDE
    fields = onnx.TensorProto.DESCRIPTOR.fields_by_name
    numbers = [fields[name].number for name in ("name", "external_data", "data_location")]
    assert numbers == [8, 13, 14]


def tensor(*, key: str = "", elsewhere: bool = False) -> onnx.TensorProto:
    made = helper.make_tensor("kept", onnx.TensorProto.FLOAT, [1], [0.0])
    if key:
        made.external_data.add(key=key, value="/etc/passwd")
    if elsewhere:
        made.data_location = onnx.TensorProto.EXTERNAL
    return made


def models(inner: onnx.TensorProto) -> dict[str, onnx.ModelProto]:
    """Models that hold a tensor in every place that can hold one."""
    places: dict[str, onnx.ModelProto] = {}

    def model(place: str) -> onnx.GraphProto:
        places[place] = onnx.ModelProto(doc_string="location")
        graph: onnx.GraphProto = places[place].graph
        return graph

    model("initializer").initializer.append(inner)
    sparse = onnx.SparseTensorProto(values=inner)
    model("sparse").sparse_initializer.append(sparse)
    for name, given in (
        ("t", {"t": inner}), ("tensors", {"tensors": [inner]}), ("sparse_tensor",
        {"sparse_tensor": sparse}), ("sparse_tensors", {"sparse_tensors": [sparse]}),
        ("g", {"g": onnx.GraphProto(initializer=[inner])}),
        ("graphs", {"graphs": [onnx.GraphProto(initializer=[inner])]}),
    ):  # fmt: skip
        attribute = onnx.AttributeProto(name="a", **given)
        model(name).node.append(onnx.NodeProto(attribute=[attribute]))
    function = onnx.FunctionProto(attribute_proto=[onnx.AttributeProto(t=inner)])
    places["function"] = onnx.ModelProto(functions=[function], doc_string="location")
    training = onnx.TrainingInfoProto(algorithm=onnx.GraphProto(initializer=[inner]))
    places["training"] = onnx.ModelProto(training_info=[training], doc_string="location")
    return places


@pytest.mark.parametrize(
    "inner", [tensor(key="location"), tensor(key="offset"), tensor(elsewhere=True)]
)
def test_every_place_is_searched(inner: onnx.TensorProto) -> None:
    for model in models(inner).values():
        with pytest.raises(ValueError, match="'kept' is in another file"):
            refuse_external_data(model.SerializeToString())
    for model in models(tensor()).values():
        refuse_external_data(model.SerializeToString())


def delimited(field: int, content: bytes) -> bytes:
    """A field of a message that contains another message, or a text."""
    size, left = b"", len(content)
    while left > 127:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([field << 3 | 2]) + size + bytes([left]) + content


def test_many_messages_take_little_memory() -> None:
    nodes = delimited(1, b"") * 100_000
    content = delimited(7, nodes) + delimited(6, b"location")
    assert len(onnx.ModelProto.FromString(content).graph.node) == 100_000
    tracemalloc.start()
    refuse_external_data(content)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < len(content)


def test_messages_nested_too_deeply_are_refused() -> None:
    graph = onnx.GraphProto(initializer=[tensor(key="location")]).SerializeToString()
    for _ in range(200):
        graph = delimited(1, delimited(5, delimited(6, graph)))  # node, attribute, graph
    with pytest.raises(ValueError, match="nested more than 100"):
        refuse_external_data(delimited(7, graph))


def test_odd_encodings_do_not_hide_a_tensor() -> None:
    hidden = tensor(key="location").SerializeToString()
    assert hidden.endswith(b"/etc/passwd")
    graph = b"\x2a" + bytes([len(hidden)]) + hidden
    assert onnx.GraphProto.FromString(graph).initializer[0].external_data
    for tag in (b"\x3a", b"\xba\x80\x00", b"\xba\x80\x80\x80\x10"):  # 7, long, with dropped bits
        with pytest.raises(ValueError, match=r"another file|too large"):
            refuse_external_data(tag + bytes([len(graph)]) + graph)
    for damaged in (
        b"\x3a\x7flocation", b"\x3b location", b"location\xff", b"\xff" * 12 + b"location",
        b"\x39location"[:5] + b"location",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"field|number"):
            refuse_external_data(damaged)
