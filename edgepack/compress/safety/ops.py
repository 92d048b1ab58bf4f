"""Which TensorFlow operations a model has no reason to hold."""

from __future__ import annotations

_PYTHON = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}
_FILES = {
    "CreateSummaryDbWriter",
    "CreateSummaryFileWriter",
    "ExperimentalDatasetToTFRecord",
    "DatasetToTFRecord",
    "FixedLengthRecordDataset",
    "FixedLengthRecordDatasetV2",
    "FixedLengthRecordReader",
    "FixedLengthRecordReaderV2",
    "LoadDataset",
    "LoadDatasetV2",
    "MatchingFiles",
    "ReadFile",
    "SaveDataset",
    "SaveDatasetV2",
    "SqlDataset",
    "TFRecordDataset",
    "TFRecordDatasetV2",
    "TFRecordReader",
    "TFRecordReaderV2",
    "TextLineDataset",
    "TextLineReader",
    "TextLineReaderV2",
    "WholeFileReader",
    "WholeFileReaderV2",
    "WriteFile",
}
_NETWORK = {"DataServiceDataset", "DataServiceDatasetV2", "RemoteCall", "RpcCall", "RpcClient"}
# A SavedModel's own saver needs these; nothing that computes does.
_SAVER = {
    "MergeV2Checkpoints",
    "Restore",
    "RestoreSlice",
    "RestoreV2",
    "Save",
    "SaveSlices",
    "SaveV2",
}


def reason_against(op: str, *, in_saver: bool = False) -> str | None:
    """Why a model may not hold the operation, or None. in_saver: in its own save functions."""
    if op in _PYTHON:
        return "calls back into a Python process that is gone"
    if op in _FILES or (op in _SAVER and not in_saver):
        return "reads or writes files"
    if op in _NETWORK:
        return "talks to the network"
    return None
