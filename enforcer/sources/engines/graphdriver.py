"""Docker's own image store (storage driver overlay2), read from disk.

It keeps configurations and layers but no manifests; a signature cache supplies those.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.image import (
    MAX_CONFIG_BYTES,
    MAX_LAYERS,
    OCI_CONFIG,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    ImageConfig,
    image_manifest_bytes,
    parse_config,
)
from enforcer.core.strictjson import parse_json, require_object
from enforcer.core.subject import Content
from enforcer.files import FileMissingError, read_file
from enforcer.ports import EngineError
from enforcer.sources.engines.bundle import Start
from enforcer.sources.engines.layer_tar import layer_tar, tar_size
from enforcer.sources.engines.mount_table import OverlayMount

MAX_REPOSITORIES_BYTES = 64 * 1024 * 1024
MAX_IMAGES = 100_000  # a tenth of a second to list; a busy builder has thousands
MAX_LAYERS_KEPT = 20_000  # half a second to look through

_TAR_SPLIT = "tar-split.json.gz"  # beside each layer: how to make its tar again


class GraphDriver:
    """The overlay2 store below one Docker data root."""

    def __init__(self, root: Path) -> None:
        self._overlay = root / "overlay2"
        self._store = root / "image" / "overlay2"

    def config(self, digest: Digest) -> bytes:
        """Return an image configuration, hashed, or raise EngineError."""
        path = self._store / "imagedb" / "content" / digest.algorithm / digest.hex
        raw = self._read(path, MAX_CONFIG_BYTES)
        if not digest.matches(raw):
            raise EngineError(
                f"{path} holds other content than its name says",
                remedy="Remove the image and load it again; suspect the disk, or "
                "somebody.",
                code=Code.CONTENT_TAMPERED,
            )
        return raw

    def find(self, repository: str, name: str) -> Digest | None:
        """Return the image id of `hello-world:1` in repository `hello-world`."""
        found = self._repositories().get(repository, {}).get(name)
        return Digest.parse(found) if found else None

    def ids(self, prefix: str) -> tuple[Digest, ...]:
        """Return every image id that begins with these hex digits.

        Raises:
            EngineError: The folder cannot be read, or holds more than MAX_IMAGES.
        """
        folder = self._store / "imagedb" / "content" / "sha256"
        try:
            listed = list(islice(folder.iterdir(), MAX_IMAGES + 1))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise EngineError(
                f"Docker's images cannot be listed: {folder}: {error.strerror}",
                remedy="Check the docker `root` in enforcer.yaml.",
            ) from error
        if len(listed) > MAX_IMAGES:
            raise EngineError(
                f"{folder} holds more than {MAX_IMAGES} images",
                remedy="Ask by name, or by the whole id.",
                code=Code.TOO_LARGE,
            )
        names = sorted(path.name for path in listed if path.name[0] != ".")
        return tuple(Digest.parse(f"sha256:{n}") for n in names if n.startswith(prefix))

    def names_of(self, image: Digest) -> tuple[str, ...]:
        """Return the tags of an image id, sorted."""
        return tuple(
            sorted(
                name
                for tags in self._repositories().values()
                for name, found in tags.items()
                if found == str(image) and "@" not in name
            )
        )

    def tags(self) -> dict[Digest, tuple[str, ...]]:
        """Return every image id that has names, tags and digests, with those."""
        found: dict[Digest, list[str]] = {}
        for tags in self._repositories().values():
            for name, image in tags.items():
                found.setdefault(Digest.parse(image), []).append(name)
        return {image: tuple(sorted(names)) for image, names in found.items()}

    def has_origin(self, image: Digest) -> bool:
        """Whether a registry is recorded for this image: a repository digest."""
        return any(
            "@" in name and found == str(image)
            for tags in self._repositories().values()
            for name, found in tags.items()
        )

    def repository_digests(self) -> tuple[Digest, ...]:
        """Return the digests in registries of all images, as far as they are known."""
        names = {name for tags in self._repositories().values() for name in tags}
        return tuple(
            Digest.parse(name.partition("@")[2])
            for name in sorted(names)
            if "@" in name
        )

    def mounted_rootfs(self, start: Start) -> Digest:
        """Return the chain id of the layers mounted where runc will look.

        Raises:
            EngineError: No such container, or other layers are mounted.
        """
        mount = self._store / "layerdb" / "mounts" / start.container.id
        mount_id, init_id, parent = (
            self._text(mount / name) for name in ("mount-id", "init-id", "parent")
        )
        chain = Digest.parse(parent)
        init = str(self._overlay / init_id / "diff")
        expected = (init, *map(self._diff, self._layers(chain)))
        path = start.bundle.root
        actual = start.table.overlay_at(path).resolved_under(self._overlay)
        upper = str(self._overlay / mount_id / "diff")
        if actual.lower != expected or actual.upper != upper:
            raise EngineError(
                f"what is mounted at {clip(path)} is not the file system of container "
                f"{start.container.id[:12]}",
                remedy="Create the container again.",
                code=Code.ROOTFS_MISMATCH,
            )
        return chain

    def mounted_chain(self, overlay: OverlayMount) -> Digest | None:
        """Return the chain id whose layers are exactly those of an overlay."""
        lower = overlay.resolved_under(self._overlay).lower
        layers = self._store / "layerdb" / "sha256"
        listed = layers.iterdir() if layers.is_dir() else ()
        for folder in islice(listed, MAX_LAYERS_KEPT):
            if self._diff(folder) == lower[0]:
                chain = Digest.parse(f"sha256:{folder.name}")
                if tuple(map(self._diff, self._layers(chain))) == lower:
                    return chain
        return None

    def _diff(self, layer: Path) -> str:
        return str(self._overlay / self._text(layer / "cache-id") / "diff")

    def manifest(self, image: Digest) -> Content:
        """Make the manifest `docker save` would write for an image.

        Layer sizes are those of the layers' tars, from what Docker keeps to build
        them again (tar-split).
        """
        raw = self.config(image)
        config = parse_config(raw)
        layers = [
            Descriptor(OCI_LAYER_TAR, diff_id, tar_size(folder / _TAR_SPLIT))
            for diff_id, folder in zip(
                config.diff_ids, self._layers_of(config), strict=True
            )
        ]
        described = Descriptor(OCI_CONFIG, image, len(raw))
        return Content(OCI_MANIFEST, image_manifest_bytes(described, layers))

    def stream(self, image: Digest, wanted: Descriptor) -> Iterator[bytes]:
        """Yield the configuration of an image, or the tar of one of its layers.

        In parts, not hashed: who writes them down does.

        Raises:
            EngineError: It has no such, or cannot be read.
        """
        raw = self.config(image)
        if wanted.digest == image:
            yield raw
            return
        config = parse_config(raw)
        for diff_id, folder in zip(
            config.diff_ids, self._layers_of(config), strict=True
        ):
            if diff_id == wanted.digest:
                yield from layer_tar(folder / _TAR_SPLIT, Path(self._diff(folder)))
                return
        raise EngineError(
            f"Docker does not keep {wanted.digest.short} of {image.short}: its own "
            "store has layers unpacked, not as they were pulled",
            remedy="Export the image by the name Docker has for it.",
            code=Code.CONTENT_MISSING,
        )

    def _layers_of(self, config: ImageConfig) -> list[Path]:
        """Return the folders of an image's layers, lowest first."""
        return list(self._layers(config.chain_id))[::-1]

    def _layers(self, chain: Digest) -> Iterator[Path]:
        """Walk a chain's folders in the layer store, from the top down."""
        for _ in range(MAX_LAYERS):
            folder = self._store / "layerdb" / chain.algorithm / chain.hex
            yield folder
            try:
                chain = Digest.parse(self._text(folder / "parent"))
            except EngineError as error:
                if error.code is Code.CONTENT_MISSING:
                    return  # the lowest has no parent
                raise

    def _repositories(self) -> dict[str, dict[str, str]]:
        """Return repositories.json: repository -> name (tag or digest) -> image id."""
        path = self._store / "repositories.json"
        try:
            raw = self._read(path, MAX_REPOSITORIES_BYTES)
        except EngineError as error:
            if error.code is Code.CONTENT_MISSING:
                return {}
            raise
        what = str(path)
        document = parse_json(raw, what=what, max_bytes=MAX_REPOSITORIES_BYTES)
        members = require_object(document, what=what, known=("Repositories",))
        listed = members.get("Repositories")
        if not isinstance(listed, dict):
            return {}
        return {
            repository: {n: i for n, i in tags.items() if isinstance(i, str)}
            for repository, tags in listed.items()
            if isinstance(tags, dict)
        }

    def _text(self, path: Path) -> str:
        return self._read(path, 4096).decode("ascii", "replace").strip()

    def _read(self, path: Path, max_bytes: int) -> bytes:
        try:
            return read_file(path, max_bytes=max_bytes, follow=False)
        except EnforcerError as error:
            missing = isinstance(error, FileMissingError)
            raise EngineError(
                f"Docker's image store does not say: {error.what}",
                remedy="Load or build the image again.",
                code=Code.CONTENT_MISSING if missing else error.code,
            ) from error
