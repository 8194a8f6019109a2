"""OCI image layouts, as a folder or a plain tar archive, read without trusting them."""

from enforcer.sources.layout.archive import ArchiveFiles, open_archive
from enforcer.sources.layout.files import FolderFiles
from enforcer.sources.layout.index import Entry, LayoutError
from enforcer.sources.layout.reader import Layout, open_layout, whole_layout
from enforcer.sources.layout.tar_header import ArchiveError

__all__ = [
    "ArchiveError",
    "ArchiveFiles",
    "Entry",
    "FolderFiles",
    "Layout",
    "LayoutError",
    "open_archive",
    "open_layout",
    "whole_layout",
]
