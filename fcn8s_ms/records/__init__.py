"""MindRecord files: from images and masks to checked rows, and back."""

from .checksums import check_sample
from .classes import VOC_CLASSES, Classes, class_names, read_classes, read_label_map
from .metadata import Metadata, read_metadata
from .read import columns, open_record, read_samples
from .seal import seal_record
from .survey import Survey, survey_record
from .write import build_records

__all__ = [
    "VOC_CLASSES",
    "Classes",
    "Metadata",
    "Survey",
    "build_records",
    "check_sample",
    "class_names",
    "columns",
    "open_record",
    "read_classes",
    "read_label_map",
    "read_metadata",
    "read_samples",
    "seal_record",
    "survey_record",
]
