"""What every ``[source]`` table has; each format's own table stands beside its reader in ``data/``."""

from __future__ import annotations

from curvcli.spec.table import Table


class SourceTable(Table):
    """Where the samples lie.

    Attributes:
        format: tells the tables apart; a format narrows it to its own name.
    """

    format: str


def _arrays(read: str) -> str:
    return f"convert it once: {read}; np.savez('data.npz', **columns)"


# Files that are not read, by suffix or by what a person would call their format, and the line that helps.
CONVERSIONS: dict[str, str] = {
    "mat": _arrays("columns = {k: v for k, v in scipy.io.loadmat('data.mat').items() if k[0] != '_'}"),
    "zarr": _arrays("columns = {k: v[:] for k, v in zarr.open('data.zarr').arrays()}"),
    "xlsx": "save it as CSV, or convert it once: pandas.read_excel('data.xlsx').to_csv('data.csv', index=False)",
    "safetensors": _arrays("columns = safetensors.numpy.load_file('data.safetensors')"),
    "json": "write one JSON object per line (JSON Lines): pandas.read_json('data.json').to_json('data.jsonl', "
    "orient='records', lines=True)",
    "pickle": "a pickle runs code when it is read, so it never is; store its arrays: np.savez('data.npz', x=x, y=y)",
    "joblib": "a joblib file is a pickle, which is never read; store its arrays: np.savez('data.npz', x=x, y=y)",
    "orc": "convert it once: pandas.read_orc('data.orc').to_parquet('data.parquet')",
    "sqlite": "convert it once: pandas.read_sql('select * from t', connection).to_parquet('data.parquet')",
    "nc": 'write format = "hdf5" if it is netCDF-4 (and name it .h5), or convert it once: '
    "xarray.open_dataset('data.nc').to_dataframe().to_parquet('data.parquet')",
    "zip": 'unpack it, and write format = "imagefolder" for folders of images, or the format of the files in it',
    "tar": 'unpack it, and write format = "imagefolder" for folders of images, or the format of the files in it',
    "7z": "unpack it, and write the format of the files in it",
    "xz": "unpack it with unxz; gzip (.gz) is read as it is",
    "zst": "unpack it with unzstd; gzip (.gz) is read as it is",
    "bz2": "unpack it with bunzip2; gzip (.gz) is read as it is",
    "npy.gz": "unpack it with gunzip, so that it can be mapped into memory",
    "wav": _arrays("columns = {'sound': np.stack([scipy.io.wavfile.read(f)[1] for f in files])}"),
    "mp4": _arrays("columns = {'frames': np.stack(frames)}"),
    "rds": "write it from R: arrow::write_parquet(data, 'data.parquet')",
    "dta": "convert it once: pandas.read_stata('data.dta').to_parquet('data.parquet')",
    "sav": "convert it once: pandas.read_spss('data.sav').to_parquet('data.parquet')",
    "arff": "convert it once: pandas.DataFrame(scipy.io.arff.loadarff('data.arff')[0]).to_csv('data.csv', index=False)",
    "libsvm": _arrays("x, y = sklearn.datasets.load_svmlight_file('data.libsvm'); columns = dict(x=x.toarray(), y=y)"),
    "webdataset": 'unpack the .tar files, and write format = "imagefolder" for folders of images',
    "lmdb": _arrays("columns = dict(x=np.stack(images), y=np.array(labels))"),
}
for _name, _same in {
    "xls": "xlsx", "ods": "xlsx", "pkl": "pickle", "p": "pickle", "tgz": "tar", "db": "sqlite", "netcdf": "nc",
    "netcdf4": "nc", "rdata": "rds", "excel": "xlsx", "matlab": "mat", "stata": "dta", "svmlight": "libsvm",
    "avi": "mp4", "mp3": "wav", "flac": "wav",
}.items():  # fmt: skip
    CONVERSIONS[_name] = CONVERSIONS[_same]
# What people call formats that are read, and the format's name.
CALLED = {
    "tsv": "csv", "txt": "csv", "tab": "csv", "text": "csv", "h5": "hdf5", "hdf": "hdf5", "pt": "torch", "pth": "torch",
    "pytorch": "torch", "tensor": "torch", "tensors": "torch", "feather": "arrow", "ipc": "arrow", "ndjson": "jsonl",
    "jsonlines": "jsonl", "images": "imagefolder", "image_folder": "imagefolder", "folder": "imagefolder",
    "png": "imagefolder", "jpg": "imagefolder", "jpeg": "imagefolder", "tfrecords": "tfrecord", "tf_record": "tfrecord",
    "hf": "huggingface", "datasets": "huggingface", "hugging_face": "huggingface", "numpy": "npz", "pq": "parquet",
    "save_to_disk": "huggingface", "csv.gz": "csv",
}  # fmt: skip
