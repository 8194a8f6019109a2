"""OCI image layouts, as a folder or a plain tar archive, read without trusting them."""

from enforcer.sources.layout.files import ArchiveFiles, FolderFiles
from enforcer.sources.layout.reader import Entry, Layout, LayoutError, open_layout

__all__ = [
    "ArchiveFiles",
    "Entry",
    "FolderFiles",
    "Layout",
    "LayoutError",
    "open_layout",
]
