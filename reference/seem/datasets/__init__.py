"""Offline data sets: read, verified, downloaded and labelled."""

from seem.datasets.d4rl import read_d4rl
from seem.datasets.dataset import Dataset, load
from seem.datasets.download import Download, cache_dir, download
from seem.datasets.registry import ENTRIES, Entry, lookup
from seem.datasets.resolve import describe, environment_of, is_path, resolve

__all__ = [
    "ENTRIES",
    "Dataset",
    "Download",
    "Entry",
    "cache_dir",
    "describe",
    "download",
    "environment_of",
    "is_path",
    "load",
    "lookup",
    "read_d4rl",
    "resolve",
]
