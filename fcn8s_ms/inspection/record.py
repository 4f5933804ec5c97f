"""Facts of a record, whose samples are compared with their checksums."""

from pathlib import Path

from .. import records
from ..errors import InputError
from ..formats import sealing
from ..records import Metadata
from ..records.metadata import metadata_file
from ..records.read import first_file, unchecked_samples
from .facts import MISMATCH, VERIFIED, Facts, names

__all__ = ["record_facts"]


def record_facts(path: Path) -> Facts:
    """Facts of a record.

    Args:
        path: as for `records.open_record`.

    Raises:
        InputError: the record cannot be read, and has no JSON that tells what it should be.
    """
    file = first_file(path)
    sealing.known(file)
    metadata = records.read_metadata(path)
    shards = (file.name,) if metadata is None else metadata.files
    present = [one for one in map(file.with_name, shards) if one.is_file()]
    facts = Facts(path, "record", sum(one.stat().st_size for one in present))
    samples = _checksum(facts, file, metadata)
    facts.values |= {"files": shards, "samples": samples}
    facts.lines.append(("samples", f"{samples:,} in {', '.join(shards)}"))
    if metadata is None:
        facts.values |= {"json": None, "classes": None}
        facts.lines.append(("classes", "unknown: they stand in the .json"))
        return facts
    for name in ("classes", "palette", "pixel_counts", "image_counts", "source", "list_name"):
        facts.values[name] = getattr(metadata, name)
    facts.values["version"] = metadata.version
    facts.lines += [
        ("classes", names(metadata.classes)),
        ("palette", " ".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in metadata.palette)),
        ("source", f"{metadata.source}: {metadata.list_name}"),
        ("sealed by" if metadata.sha256 else "built by", f"fcn8s-ms {metadata.version}"),
    ]
    return facts


def _checksum(facts: Facts, file: Path, metadata: Metadata | None) -> int:
    """Adds the state of the checksums; returns the number of samples."""
    try:
        _, count = records.open_record(file)
        if metadata is None:
            facts.note = f"there is no {metadata_file(file).name}"
        elif metadata.sha256:
            facts.checksum, facts.note = VERIFIED, "SHA-256 of every file in the .json"
            facts.values["sha256"] = metadata.sha256
        else:
            sealed = sum(
                records.check_sample(file, name, image, label)
                for name, image, label in unchecked_samples(file)
            )
            if sealed == count and metadata.index_checksums:
                facts.checksum = VERIFIED
                facts.note = "index in the .json, images and labels in every sample"
            else:
                facts.note = f"{sealed:,} of {count:,} samples have one"
    except InputError as error:
        if metadata is None:
            raise
        facts.checksum, facts.note = MISMATCH, str(error)
        return metadata.num_samples
    return count
