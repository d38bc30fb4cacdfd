"""``tf.train.Example``, parsed by protobuf without TensorFlow."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from curvcli.data.files import needed

_PACKAGE: Final = "curvcli.examples"
_OPTIONAL, _REPEATED = 1, 3
_MESSAGE, _BYTES, _FLOAT, _INT64, _STRING = 11, 12, 2, 3, 9


@cache
def example_class() -> Any:
    """The message ``Example``: a map from names to lists of bytes, floats or whole numbers.

    Built from tensorflow/core/example/feature.proto's field numbers, in a pool of its own, so that TensorFlow's own may
    be there too.

    Raises:
        DataError: protobuf is not installed.
    """
    descriptors = needed("google.protobuf.descriptor_pb2", "protobuf", "TFRecord")
    pools = needed("google.protobuf.descriptor_pool", "protobuf", "TFRecord")
    factory = needed("google.protobuf.message_factory", "protobuf", "TFRecord")
    file = descriptors.FileDescriptorProto(name="curvcli_examples.proto", package=_PACKAGE, syntax="proto3")
    for name, kind in (("BytesList", _BYTES), ("FloatList", _FLOAT), ("Int64List", _INT64)):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        feature.field.add(
            name=name, number=number, type=_MESSAGE, type_name=f".{_PACKAGE}.{name}", label=_OPTIONAL, oneof_index=0
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_STRING, label=_OPTIONAL)
    entry.field.add(name="value", number=2, type=_MESSAGE, type_name=f".{_PACKAGE}.Feature", label=_OPTIONAL)
    inner = f".{_PACKAGE}.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type=_MESSAGE, type_name=inner, label=_REPEATED)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=_MESSAGE, type_name=f".{_PACKAGE}.Features", label=_OPTIONAL)
    pool = pools.DescriptorPool()
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))
