"""MindRecord files: from images and masks to checked rows, and back."""

from .checksums import check_sample
from .classes import VOC_CLASSES, Classes, class_names, read_classes, read_label_map
from .metadata import Metadata, index_file, metadata_file, read_metadata, record_files
from .read import COLUMNS, columns, open_record, read_samples, rows
from .survey import Survey, survey_record
from .write import build_records

__all__ = [
    "COLUMNS",
    "Classes",
    "Metadata",
    "Survey",
    "VOC_CLASSES",
    "build_records",
    "check_sample",
    "class_names",
    "columns",
    "index_file",
    "metadata_file",
    "open_record",
    "read_classes",
    "read_label_map",
    "read_metadata",
    "read_samples",
    "record_files",
    "rows",
    "survey_record",
]
