//! The disk below the raft log. The log is right only on a disk that keeps what it has synced; a test puts a disk
//! of its own here that fails, or forgets at a loss of power everything else.

use std::{
    fmt,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};
use shoal_common::private_files;

/// What may happen to writes of the log. The defaults are those of a disk that works.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Asked before bytes go to a file of the log.
    ///
    /// # Errors
    /// The write fails with the error.
    fn before_write(&self, file: &Path) -> io::Result<()> {
        let _ = file;
        Ok(())
    }

    /// Told of a file whose bytes now survive a loss of power.
    fn synced(&self, file: &Path) {
        let _ = file;
    }
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {}

type Descriptor = <DefaultFileSystem as FileSystem>::Handle;
type File = <DefaultFileSystem as FileSystem>::Writer;

/// The engine's own files on a [`Disk`].
pub(super) struct Files(pub(super) Arc<dyn Disk>);

/// One file of the log.
pub(super) struct OpenFile {
    descriptor: Arc<Descriptor>,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

/// Writes one file of the log.
pub(super) struct FileWriter {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Files {
    fn opened(&self, path: &Path, descriptor: Descriptor) -> OpenFile {
        OpenFile { descriptor: Arc::new(descriptor), path: path.to_owned(), disk: Arc::clone(&self.0) }
    }
}

impl FileSystem for Files {
    type Handle = OpenFile;
    type Reader = <DefaultFileSystem as FileSystem>::Reader;
    type Writer = FileWriter;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<OpenFile> {
        let descriptor = DefaultFileSystem.create(&path)?;
        // The engine makes files that others may read.
        private_files::restrict(path.as_ref())?;
        Ok(self.opened(path.as_ref(), descriptor))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<OpenFile> {
        Ok(self.opened(path.as_ref(), DefaultFileSystem.open(&path, permission)?))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        DefaultFileSystem.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        DefaultFileSystem.rename(from, to)
    }

    fn new_reader(&self, file: Arc<OpenFile>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(Arc::clone(&file.descriptor))
    }

    fn new_writer(&self, file: Arc<OpenFile>) -> io::Result<FileWriter> {
        let (path, disk) = (file.path.clone(), Arc::clone(&file.disk));
        Ok(FileWriter { file: DefaultFileSystem.new_writer(Arc::clone(&file.descriptor))?, path, disk })
    }
}

impl Handle for OpenFile {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        Handle::truncate(&*self.descriptor, offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        Handle::file_size(&*self.descriptor)
    }

    fn sync(&self) -> io::Result<()> {
        Handle::sync(&*self.descriptor)?;
        self.disk.synced(&self.path);
        Ok(())
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.before_write(&self.path)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for FileWriter {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl WriteExt for FileWriter {
    fn truncate(&mut self, offset: usize) -> io::Result<()> {
        self.file.truncate(offset)
    }

    fn allocate(&mut self, offset: usize, size: usize) -> io::Result<()> {
        self.file.allocate(offset, size)
    }
}
