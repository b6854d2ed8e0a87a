"""Reads the graph of a SavedModel before it is loaded: a SavedModel is a program, and can write files.

A decoder calculates: it needs the operations below, variables, and functions that consist of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import FileError
from .files import read_bytes

LIMIT = 1 << 30  # bytes of saved_model.pb; weights are in other files
OPERATIONS = """
Abs Add AddN AddV2 All Any ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND BiasAdd BroadcastArgs
BroadcastTo Cast Ceil ClipByValue Complex ComplexAbs Concat ConcatV2 Conj Const Conv2D Conv2DBackpropInput Conv3D Cos
Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu Equal Erf Exp ExpandDims Expm1 FFT Fill Floor
FloorDiv FloorMod FusedBatchNorm FusedBatchNormV3 GatherNd GatherV2 Greater GreaterEqual IFFT IRFFT Identity IdentityN
Imag Inv InvertPermutation L2Loss LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul
Max MaxPool Maximum Mean Min Minimum MirrorPad Mod Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder
PlaceholderWithDefault Pow PreventGradient Prod RFFT Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape
ResizeNearestNeighbor Reverse ReverseV2 Roll Round Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Size Slice
Snapshot Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze
StopGradient StridedSlice Sub Sum Tan Tanh TensorScatterUpdate Tile Transpose Unpack Where XDivY ZerosLike
"""
CALCULATING = frozenset(OPERATIONS.split())
VARIABLES = frozenset({"VarHandleOp", "ReadVariableOp", "PartitionedCall", "StatefulPartitionedCall"})
# Every export has functions that save and restore variables, and nodes that call them. Nothing calls those here.
EXPORTED = """
AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch StringJoin
"""
SAVING = frozenset(EXPORTED.split())
OBJECTS = frozenset({"user_object", "function", "variable", "bare_concrete_function", "constant", "captured_tensor"})


def check(folder: Path) -> None:
    """Raises FileError if the SavedModel in `folder` has operations or objects that no decoder needs.

    It is read, not loaded. Needs TensorFlow. Any exception of Google's protobuf is of a damaged file.
    """
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for other in ("saved_model.cpb", "saved_model.pbtxt", "tfhub_module.pb"):
        if (folder / other).exists():
            raise FileError(f"{folder} has {other}, which a decoder does not need: it is not loaded")
    model = SavedModel.FromString(read_bytes(folder / "saved_model.pb", LIMIT))
    if [graph.HasField("object_graph_def") for graph in model.meta_graphs] != [True]:
        raise FileError(f"{folder} is no SavedModel of TensorFlow 2 with one graph: it is not loaded")
    (graph,) = model.meta_graphs
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    used = _reachable(graph.object_graph_def, functions)
    kinds = {node.WhichOneof("kind") for node in graph.object_graph_def.nodes} - {None}
    operations = {node.op for name in used for node in functions[name]} - CALCULATING - VARIABLES
    unused = [graph.graph_def.node, *(nodes for name, nodes in functions.items() if name not in used)]
    operations |= {node.op for nodes in unused for node in nodes} - CALCULATING - VARIABLES - SAVING
    if refused := sorted(operations | (kinds - OBJECTS)):
        raise FileError(
            f"{folder} is not loaded: its graph has {', '.join(refused[:5])[:200]!r}, which no decoder needs and "
            "which could do more than calculate"
        )


def _reachable(objects: Any, functions: dict[str, Any]) -> set[str]:
    """The names of the functions that loading or calling the model can run."""
    found: set[str] = set()
    waiting = [*objects.concrete_functions]
    for node in objects.nodes:
        waiting += node.function.concrete_functions
        waiting.append(node.bare_concrete_function.concrete_function_name)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting += _called(functions[name])
    return found


def _called(nodes: Iterable[Any]) -> list[str]:
    attributes = [value for node in nodes for value in node.attr.values()]
    return [a.func.name for a in attributes] + [function.name for a in attributes for function in a.list.func]
