"""TensorFlow Serving's messages that its Python package does not hold, and its text files read by them."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_FIELD = descriptor_pb2.FieldDescriptorProto
INT64, BOOL, STRING = (getattr(_FIELD, f"TYPE_{name}") for name in ("INT64", "BOOL", "STRING"))

BATCHING = {
    "Value": {"value": INT64},
    "BatchingParameters": {
        "max_batch_size": "Value",
        "batch_timeout_micros": "Value",
        "max_enqueued_batches": "Value",
        "num_batch_threads": "Value",
        "pad_variable_length_inputs": BOOL,
    },
}
MONITORING = {"Prometheus": {"enable": BOOL, "path": STRING}, "MonitoringConfig": {"prometheus_config": "Prometheus"}}
# A map is a list of keys with values.
MODELS = {
    "Label": {"key": STRING, "value": INT64},
    "Specific": {"versions": [INT64]},
    "Policy": {"specific": "Specific"},
    "Model": {
        "name": STRING,
        "base_path": STRING,
        "model_platform": STRING,
        "model_version_policy": "Policy",
        "version_labels": ["Label"],
    },
    "List": {"config": ["Model"]},
    "ModelServerConfig": {"model_config_list": "List"},
}


def parsed(path, messages):
    """A text file as the last of the messages: fields by name, with a scalar type, a message, or a list of one."""
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="config", syntax="proto3")
    for message, fields in messages.items():
        added = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = _FIELD.LABEL_REPEATED if isinstance(kind, list) else _FIELD.LABEL_OPTIONAL
            (kind,) = kind if isinstance(kind, list) else (kind,)
            one = added.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                one.type, one.type_name = _FIELD.TYPE_MESSAGE, f".config.{kind}"
            else:
                one.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"config.{message}"))
    return text_format.Parse(path.read_text(), kind())
