//! Names in another encoding than UTF-8 on the wire.
use super::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile};
use crate::proto::{
    failure::{Failure, FailureKind},
    file::{Entry, Metadata},
    job::StoreMode,
    path::VirtualPath,
    time::UnixTime,
};
use alloc::{
    borrow::{Cow, ToOwned},
    boxed::Box,
    string::String,
    vec::Vec,
};
use encoding_rs::Encoding;

#[cfg(unix)]
use super::std::os::fd::BorrowedFd;

/// A file system whose clients write names in an old encoding, while the names below are UTF-8.
///
/// What a client sends that is not of the encoding is [`InvalidName`](FailureKind::InvalidName). A name below that the encoding
/// cannot write, or that is no UTF-8, is left out of listings: nobody could name it. Listings are in the order of the names
/// below.
///
/// ```
/// use std::sync::Arc;
/// use wharf::{
///     proto::{memory::Tree, path::VirtualPath},
///     server::{clock, fs::{FileSystem, Memory, Recoded}},
/// };
///
/// let mut tree = Tree::new(clock::unix_time());
/// tree.add_file("/文件", "text")?;
/// let files = Recoded::new(Memory::new(tree), "gbk")?;
/// let name = VirtualPath::root().join(b"\xce\xc4\xbc\xfe")?;
/// assert_eq!(files.metadata(&name, true)?.size, 4);
///
/// let error = Recoded::new(files, "klingon").err().unwrap();
/// assert!(error.to_string().starts_with("unknown encoding \"klingon\": use a label such as"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recoded<F> {
    files: F,
    encoding: &'static Encoding,
}

/// The encoding cannot be that of names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// It is not known.
    #[error(
        "unknown encoding {0:?}: use a label such as \"gbk\", \"gb18030\", \"big5\", \"shift_jis\", \"euc-jp\", \"euc-kr\", \
         \"koi8-r\", \"windows-1251\" or \"iso-8859-1\" (all of https://encoding.spec.whatwg.org/#names-and-labels)"
    )]
    Unknown(String),
    /// In it an octet that looks like `/`, NUL or the end of a line can be a part of a character.
    #[error("names cannot be in {0}, whose characters have octets that mean something else to FTP: use one that extends ASCII")]
    NotAscii(&'static str),
}

impl<F: FileSystem> Recoded<F> {
    /// Translates the names of `files` from and to the encoding with this label of the WHATWG Encoding Standard; case does not
    /// matter.
    ///
    /// # Errors
    /// [`EncodingError`].
    pub fn new(files: F, label: &str) -> core::result::Result<Self, EncodingError> {
        let encoding = Encoding::for_label(label.as_bytes()).ok_or_else(|| EncodingError::Unknown(label.to_owned()))?;
        if !encoding.is_ascii_compatible() {
            return Err(EncodingError::NotAscii(encoding.name()));
        }
        Ok(Self { files, encoding })
    }

    fn below<'a>(&self, path: &'a VirtualPath) -> Result<Cow<'a, VirtualPath>> {
        if path.as_bytes().is_ascii() {
            return Ok(Cow::Borrowed(path));
        }
        let mut below = VirtualPath::root();
        for component in path.components() {
            below = below.join(self.decode(component)?.as_bytes()).map_err(|_| FailureKind::InvalidName)?;
        }
        Ok(Cow::Owned(below))
    }

    fn decode<'a>(&self, name: &'a [u8]) -> Result<Cow<'a, str>> {
        self.encoding
            .decode_without_bom_handling_and_without_replacement(name)
            // None of the encodings has a second way to write these; but if one had, it would lead elsewhere.
            .filter(|name| !name.contains(['/', '\0']) && name != "." && name != "..")
            .ok_or_else(|| {
                let text = alloc::format!("File name is not in {}.", self.encoding.name());
                Failure::new(FailureKind::InvalidName).with_text(text)
            })
    }
}

/// The octets that stand for a name below; `None` if there are none.
fn encode(encoding: &'static Encoding, name: &[u8]) -> Option<Vec<u8>> {
    let (octets, _, unmappable) = encoding.encode(core::str::from_utf8(name).ok()?);
    (!unmappable).then(|| octets.into_owned())
}

impl<F: FileSystem> FileSystem for Recoded<F> {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        self.files.change_directory(&*self.below(path)?)
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        self.files.metadata(&*self.below(path)?, follow)
    }

    fn size(&self, path: &VirtualPath) -> Result<u64> {
        self.files.size(&*self.below(path)?)
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        let target = self.files.read_link(&*self.below(path)?)?;
        Ok(target.and_then(|target| encode(self.encoding, &target)))
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        let directory = self.files.list(&*self.below(path)?, detail)?;
        Ok(Box::new(RecodedDirectory { directory, encoding: self.encoding }))
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        self.files.open_read(&*self.below(path)?, offset)
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let path = self.below(path)?;
        match mode {
            StoreMode::Replace | StoreMode::At(_) | StoreMode::Append => self.files.open_write(&path, mode, umask),
            StoreMode::Unique { prefix } => {
                let prefix = self.decode(prefix)?.into_owned().into_bytes();
                let file = self.files.open_write(&path, &StoreMode::Unique { prefix }, umask)?;
                Ok(Box::new(RecodedWriter { file, encoding: self.encoding }))
            }
        }
    }

    fn begin_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        match mode {
            StoreMode::Replace | StoreMode::At(_) | StoreMode::Append => {
                self.files.begin_write(&*self.below(path)?, mode, umask)
            }
            StoreMode::Unique { .. } => {
                let mut file = self.open_write(path, mode, umask)?;
                file.begin()?;
                Ok(file)
            }
        }
    }

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        self.files.make_directory(&*self.below(path)?, umask)
    }

    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        let components = target.split(|octet| *octet == b'/').map(|component| self.decode(component));
        let components: Vec<_> = components.collect::<Result<_>>()?;
        self.files.make_symlink(&*self.below(path)?, components.join("/").as_bytes())
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        self.files.available(&*self.below(path)?)
    }

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        self.files.remove_directory(&*self.below(path)?)
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        self.files.remove_file(&*self.below(path)?)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.files.rename(&*self.below(from)?, &*self.below(to)?, replace)
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        self.files.set_modified(&*self.below(path)?, modified)
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.files.set_mode(&*self.below(path)?, mode)
    }

    fn is_quick(&self) -> bool {
        self.files.is_quick()
    }

    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        self.below(path).ok().is_none_or(|path| self.files.is_at_hand(&path))
    }
}

struct RecodedDirectory {
    directory: Box<dyn Directory>,
    encoding: &'static Encoding,
}

impl Directory for RecodedDirectory {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        loop {
            let entry = match self.directory.next_entry()? {
                Ok(entry) => entry,
                Err(failure) => return Some(Err(failure)),
            };
            if let Some(name) = encode(self.encoding, &entry.name) {
                let target = entry.target.and_then(|target| encode(self.encoding, &target));
                return Some(Ok(Entry { name, target, metadata: entry.metadata, symlink: entry.symlink }));
            }
        }
    }

    fn is_at_hand(&self) -> bool {
        self.directory.is_at_hand()
    }
}

/// A file under a new name, which must be told as the client can write it.
struct RecodedWriter {
    file: Box<dyn WriteFile>,
    encoding: &'static Encoding,
}

impl WriteFile for RecodedWriter {
    fn path(&self) -> Option<VirtualPath> {
        // It was made of octets of the encoding, so that it can be written in it again.
        let octets = encode(self.encoding, self.file.path()?.as_bytes())?;
        VirtualPath::root().join(&octets).ok()
    }

    fn begin(&mut self) -> Result<()> {
        self.file.begin()
    }

    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.file.write(buffer)
    }

    fn is_quick(&self) -> bool {
        self.file.is_quick()
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.file.commit()
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}
