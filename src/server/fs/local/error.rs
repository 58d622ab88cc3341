//! What the system says, in the protocol's terms.
use super::std;
use crate::proto::failure::{Failure, FailureKind};
use rustix::io::Errno;
use std::io;

/// The failure that an error of the system is.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn failure(error: io::Error) -> Failure {
    let Some(errno) = Errno::from_io_error(&error) else {
        // So cap-std says that a link leads out.
        let refused = error.kind() == io::ErrorKind::PermissionDenied;
        return if refused { FailureKind::LinkRefused.into() } else { local(&error) };
    };
    let kind = match errno {
        Errno::NOENT => FailureKind::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => FailureKind::PermissionDenied,
        Errno::NOTDIR => FailureKind::NotADirectory,
        Errno::ISDIR => FailureKind::IsADirectory,
        // A socket, or a pipe that nobody reads.
        Errno::NXIO | Errno::NODEV => FailureKind::NotARegularFile,
        Errno::NOTEMPTY => FailureKind::NotEmpty,
        Errno::EXIST => FailureKind::Exists,
        Errno::NOSPC => FailureKind::NoSpace,
        Errno::DQUOT | Errno::FBIG => FailureKind::QuotaExceeded,
        Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => FailureKind::InvalidName,
        Errno::LOOP | Errno::MLINK => FailureKind::LinkRefused,
        Errno::TXTBSY | Errno::BUSY | Errno::AGAIN => FailureKind::Busy,
        Errno::XDEV => {
            return Failure::new(FailureKind::Unsupported).with_text("It cannot be moved to another device.");
        }
        Errno::OPNOTSUPP => FailureKind::Unsupported,
        _ => return local(&error),
    };
    kind.into()
}

/// The failure that comes of looking for the directory of a new name.
pub(super) fn no_parent(error: io::Error) -> Failure {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR) => FailureKind::NoParent.into(),
        Some(_) | None => failure(error),
    }
}

fn local(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Local).with_text(alloc::format!("Local error: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_kind() {
        for (errno, kind) in [
            (Errno::NOENT, FailureKind::NotFound),
            (Errno::ACCESS, FailureKind::PermissionDenied),
            (Errno::PERM, FailureKind::PermissionDenied),
            (Errno::ROFS, FailureKind::PermissionDenied),
            (Errno::NOTDIR, FailureKind::NotADirectory),
            (Errno::ISDIR, FailureKind::IsADirectory),
            (Errno::NXIO, FailureKind::NotARegularFile),
            (Errno::NOTEMPTY, FailureKind::NotEmpty),
            (Errno::EXIST, FailureKind::Exists),
            (Errno::NOSPC, FailureKind::NoSpace),
            (Errno::DQUOT, FailureKind::QuotaExceeded),
            (Errno::FBIG, FailureKind::QuotaExceeded),
            (Errno::NAMETOOLONG, FailureKind::InvalidName),
            (Errno::LOOP, FailureKind::LinkRefused),
            (Errno::TXTBSY, FailureKind::Busy),
            (Errno::XDEV, FailureKind::Unsupported),
            (Errno::IO, FailureKind::Local),
        ] {
            assert_eq!(failure(errno.into()).kind(), kind, "{errno:?}");
        }
        assert_eq!(no_parent(Errno::NOENT.into()).kind(), FailureKind::NoParent);
        assert_eq!(no_parent(Errno::ACCESS.into()).kind(), FailureKind::PermissionDenied);
    }
}
