//! Files and folders that only their owner may read: what a node keeps, logs, and keys. The store is no such place: it is
//! shared by the users of its machines, and its rights follow the umask.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// What the owner may do with a private folder.
const FOLDER_MODE: u32 = 0o700;

/// What the owner may do with a private file.
const FILE_MODE: u32 = 0o600;

/// Makes a folder, and those above it that are missing, for its owner alone. One that is there loses the rights of others;
/// true when it had some.
///
/// # Errors
/// When the folder cannot be made, or is another user's.
pub fn create_folder(path: &Path) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    let is_open = mode & 0o077 != 0;
    if is_open {
        std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
    }
    Ok(is_open)
}

/// Options to open a file with; one that is made so is for its owner alone.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// An empty file to write to, for its owner alone.
///
/// # Errors
/// When it cannot be made.
pub fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Opens a file to add to, made when missing, for its owner alone. One that is there loses the rights of others.
///
/// # Errors
/// When it cannot be opened, or is another user's.
pub fn append(path: &Path) -> io::Result<File> {
    let file = options().append(true).create(true).open(path)?;
    let metadata = file.metadata()?;
    // A device or a pipe that was named for a log keeps what it has.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(file)
}

/// Takes a file from others that something else has made with rights of its own.
///
/// # Errors
/// When the file is another user's.
pub fn restrict(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
}

/// Whether every user of the machine may read a file. A file that cannot be looked at is not said to be open.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

/// Replaces a file by one for its owner alone: a reader sees the old one or the new one, never a part. Not synced:
/// everything that is written so is made anew at the next start.
///
/// # Errors
/// When the folder cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, options())
}

/// As [`replace`], for a file that others may read as the umask says.
///
/// # Errors
/// When the folder cannot be written.
pub fn replace_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, OpenOptions::new())
}

fn replace_with(path: &Path, bytes: &[u8], mut options: OpenOptions) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    // What a process of this number left there may have other rights.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options.write(true).create_new(true).open(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_its_owners_and_loses_the_rights_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(!create_folder(&path).unwrap());
        assert_eq!((mode(&path), mode(&folder.path().join("a"))), (0o700, 0o700));
        set_mode(&path, 0o755);
        assert!(create_folder(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        std::fs::write(path.join("file"), "").unwrap();
        assert!(create_folder(&path.join("file")).is_err());
    }

    #[test]
    fn files_are_their_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path).unwrap().write_all(b"a").unwrap();
        assert_eq!(mode(&path), 0o600);
        set_mode(&path, 0o644);
        append(&path).unwrap().write_all(b"b").unwrap();
        assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (0o600, b"ab".to_vec()));

        let path = folder.path().join("key");
        std::fs::write(&path, "of before").unwrap();
        set_mode(&path, 0o644);
        // A leftover of a process that had this one's number.
        std::fs::write(path.with_extension(format!("tmp-{}", std::process::id())), "left").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (0o600, b"new".to_vec()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(create(&folder.path().join("spool")).unwrap());
        assert_eq!(mode(&folder.path().join("spool")), 0o600);
    }
}
