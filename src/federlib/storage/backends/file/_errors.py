"""What the operating system's errors about the files of a store mean in our tree."""

from __future__ import annotations

import errno

from federlib.errors import CorruptRecord, FederlibError
from federlib.storage.backends._embedded.filesystem import translate_os_error

__all__ = ["translate"]

_GONE = {errno.ENOENT, errno.ESTALE}
_OTHER_KIND = {errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENXIO, errno.EEXIST}


def translate(error: OSError, where: str) -> FederlibError:
    """Name an error about a file inside a store."""
    reason = error.strerror or str(error)
    what = f"{where}, {error.filename}" if error.filename else where
    if error.errno in _GONE:
        return CorruptRecord(
            what,
            expected="the file that was there",
            found="no file: it was deleted",
            hint="close the store and open it again",
        )
    if error.errno in _OTHER_KIND:
        return CorruptRecord(what, expected="a regular file or directory of ours", found=reason)
    return translate_os_error(error, where)
