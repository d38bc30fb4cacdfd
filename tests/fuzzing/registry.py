"""All kinds of hostile files: a line for each."""

from __future__ import annotations

from .config_text import ConfigText
from .csv_data import CsvData
from .export_archives import ExportArchives
from .interface import Generator
from .keras_files import KerasFiles
from .npy_data import NpyData
from .npz_data import NpzData
from .options import Options
from .other_data import KINDS as OTHER_DATA
from .part_files import PartFiles
from .report_bytes import ReportBytes
from .report_objects import ReportObjects
from .saved_models import SavedModels
from .spec_text import SpecText
from .torchscript_files import TorchScriptFiles

GENERATORS: tuple[Generator, ...] = (
    NpzData(),
    NpyData(),
    CsvData(),
    SpecText(),
    ConfigText(),
    ReportBytes(),
    ReportObjects(),
    PartFiles(),
    Options(),
    TorchScriptFiles(),
    ExportArchives(),
    SavedModels(),
    KerasFiles(),
    *OTHER_DATA,
)
