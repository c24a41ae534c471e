//! Files that are made row by row.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::spec::GenerateError;

/// A file with a header, and the bytes written to it.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl Output {
    pub(super) fn create(folder: &Path, name: &str, header: &str) -> Result<Self, GenerateError> {
        let path = folder.join(name);
        let file =
            File::create(&path).map_err(|source| GenerateError::File { path: path.clone(), source })?;
        let mut output = Self { path, file: BufWriter::with_capacity(1 << 20, file), bytes: 0 };
        output.write(header.as_bytes())?;
        Ok(output)
    }

    pub(super) fn write(&mut self, text: &[u8]) -> Result<(), GenerateError> {
        self.bytes += text.len() as u64;
        let path = &self.path;
        self.file.write_all(text).map_err(|source| GenerateError::File { path: path.clone(), source })
    }

    pub(super) fn finish(mut self) -> Result<u64, GenerateError> {
        let Self { path, file, bytes } = &mut self;
        file.flush().map_err(|source| GenerateError::File { path: path.clone(), source })?;
        Ok(*bytes)
    }
}
