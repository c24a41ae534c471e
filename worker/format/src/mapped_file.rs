//! Files mapped into memory, and what becomes of one that is cut short under its readers.
//!
//! Reading a page that its file has no more of, or that its disk cannot give, raises SIGBUS, which ends a process. Here the
//! signal puts a page of zeros in the place, notes the file as torn, and the reader goes on. What it makes of the zeros must
//! not be believed: whoever hands on a result of mapped files asks for [`torn`] ones afterwards.
//!
//! Not noticed: bytes that others change, and an end that moves within its last page. What may change a file that is mapped
//! is kept away by rights; the checksums of the store's objects are looked at when they are opened.

use std::{
    fs::File,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst},
    },
};

use libc::{c_int, c_void, siginfo_t};
use memmap2::{Mmap, UncheckedAdvice};

use crate::regular_file::open_regular;

/// Where a file is mapped, as the signal's handler reads it: it may neither wait nor allocate. Slots are used again and never
/// freed.
struct Slot {
    /// 0 while it is free.
    start: AtomicUsize,
    length: AtomicUsize,
    is_torn: AtomicBool,
    next: AtomicPtr<Slot>,
}

/// The list of slots, which only grows.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

/// How often a file was found torn: without any nobody has to look further.
static TORN: AtomicUsize = AtomicUsize::new(0);

/// Files that are mapped, with their slots. Held to take and to give back a slot.
static FILES: Mutex<Vec<(&'static Slot, PathBuf)>> = Mutex::new(Vec::new());

/// What the signal did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A file's bytes, read-only.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    slot: &'static Slot,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("is_torn", &self.is_torn).finish_non_exhaustive()
    }
}

impl MappedFile {
    /// Maps a regular file. The file must not be changed while it is mapped: see the module's description.
    ///
    /// # Errors
    /// When it cannot be opened or mapped, or is empty.
    pub fn open(path: &Path) -> io::Result<Self> {
        catch_faults()?;
        let file: File = open_regular(path)?;
        // SAFETY: the mapping is read-only. Files that Shoal maps are written once under a temporary name, renamed, and never
        // changed in place; removing one keeps its mapping. One that is cut short by others reads as zeros, and is noted.
        let map = unsafe { Mmap::map(&file)? };
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free_slot();
        slot.is_torn.store(false, SeqCst);
        slot.length.store(map.len(), SeqCst);
        // From here on the handler knows it.
        slot.start.store(map.as_ptr() as usize, SeqCst);
        files.push((slot, path.to_owned()));
        Ok(Self { map, slot })
    }

    /// Gives up the memory that the bytes are in. They come back from the file when they are next looked at.
    pub fn release(&self) {
        // SAFETY: the mapping is a shared one of a file that is not changed (see `open`), and is never written
        // through: what comes back is what was there, or zeros where the file was noted as torn.
        let released = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        // It is a wish: the system takes memory back by itself when it needs it.
        let _ = released;
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(slot, _)| !ptr::eq(*slot, self.slot));
        // Before the mapping goes: another may be at its place next.
        self.slot.start.store(0, SeqCst);
    }
}

/// The files that are mapped now and were found torn.
#[must_use]
pub fn torn() -> Vec<PathBuf> {
    if TORN.load(SeqCst) == 0 {
        return Vec::new();
    }
    let files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files.iter().filter(|(slot, _)| slot.is_torn.load(SeqCst)).map(|(_, path)| path.clone()).collect()
}

/// Bytes of the files below a folder that are mapped now; a file that is mapped twice counts twice.
#[must_use]
pub fn mapped_bytes_below(folder: &Path) -> u64 {
    let files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let below = files.iter().filter(|(_, path)| path.starts_with(folder));
    below.map(|(slot, _)| slot.length.load(SeqCst) as u64).sum()
}

/// A slot that nobody uses. The lock of `FILES` is held.
fn free_slot() -> &'static Slot {
    if let Some(free) = slots().find(|slot| slot.start.load(SeqCst) == 0) {
        return free;
    }
    let slot: &'static mut Slot = Box::leak(Box::new(Slot {
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        is_torn: AtomicBool::new(false),
        next: AtomicPtr::new(SLOTS.load(SeqCst)),
    }));
    let slot: *mut Slot = slot;
    SLOTS.store(slot, SeqCst);
    // SAFETY: the slot was leaked just now, so it lives for ever, and it is only ever shared.
    unsafe { &*slot }
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: pointers in the list are null or of leaked slots, which live for ever and are only ever shared.
    let of = |slot: *mut Slot| unsafe { slot.as_ref() };
    std::iter::successors(of(SLOTS.load(SeqCst)), move |slot| of(slot.next.load(SeqCst)))
}

/// Has SIGBUS handled from now on.
fn catch_faults() -> io::Result<()> {
    static CAUGHT: Mutex<bool> = Mutex::new(false);
    let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
    if *caught {
        return Ok(());
    }
    // SAFETY: `sysconf` and `sigaction` are called as their manuals say, with structures that live as long as the calls; a
    // zeroed `sigaction` is a valid one. The handler does what a handler may: see there.
    unsafe {
        PAGE_BYTES.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4_096), SeqCst);
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        BEFORE.get_or_init(|| before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *caught = true;
    Ok(())
}

/// Puts a page of zeros where one is missing of a mapped file. Any other fault is left to whoever handled the signal before.
extern "C" fn on_fault(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the system hands in a valid description of the signal.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(slot) = slots().find(|slot| covers(slot, address)) {
        let page_bytes = PAGE_BYTES.load(SeqCst);
        let page = address - address % page_bytes;
        // SAFETY: the page lies in a mapping that this thread is reading, and that lives for as long as it reads; nothing
        // writes there. `mmap` is a system call that touches no memory of ours but the page, and errno is put back.
        let is_there = unsafe {
            let errno = libc::__errno_location();
            let kept = *errno;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let zeros = libc::mmap(page as *mut c_void, page_bytes, libc::PROT_READ, flags, -1, 0);
            *errno = kept;
            zeros != libc::MAP_FAILED
        };
        if is_there {
            slot.is_torn.store(true, SeqCst);
            TORN.fetch_add(1, SeqCst);
            return;
        }
    }
    // The instruction is begun again after this, and faults again.
    if let Some(before) = BEFORE.get() {
        // SAFETY: the action was read from the system.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }
}

/// Whether an address lies in the file of a slot, which may be given to another meanwhile.
fn covers(slot: &Slot, address: usize) -> bool {
    let (start, length) = (slot.start.load(SeqCst), slot.length.load(SeqCst));
    start != 0 && slot.start.load(SeqCst) == start && (start..start + length).contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the handler the test's process would end here.
    #[test]
    fn a_file_that_is_cut_short_reads_as_zeros_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [cut, whole] = ["cut", "whole"].map(|name| folder.path().join(name));
        for path in [&cut, &whole] {
            std::fs::write(path, vec![7; 100_000]).unwrap();
        }
        let [torn_file, other] = [&cut, &whole].map(|path| MappedFile::open(path).unwrap());
        assert_eq!((torn_file[0], torn_file[99_999]), (7, 7));
        let of_this_test =
            || torn().into_iter().filter(|path| path.starts_with(folder.path())).collect::<Vec<_>>();
        assert_eq!(of_this_test(), Vec::<PathBuf>::new());

        File::options().write(true).open(&cut).unwrap().set_len(10).unwrap();
        torn_file.release();
        let read = std::thread::scope(|scope| {
            let readers =
                [0, 1, 2].map(|_| scope.spawn(|| torn_file.iter().map(|&byte| u64::from(byte)).sum::<u64>()));
            readers.map(|reader| reader.join().unwrap())
        });
        assert_eq!(read, [70; 3]);
        assert_eq!(of_this_test(), [cut]);
        assert!(other.iter().all(|&byte| byte == 7));
        assert_eq!(mapped_bytes_below(folder.path()), 200_000);
        // It is no matter of those who map the file again, or another.
        drop(torn_file);
        assert_eq!(of_this_test(), Vec::<PathBuf>::new());
        let again = MappedFile::open(&whole).unwrap();
        assert!(again.len() == 100_000 && of_this_test().is_empty());
    }
}
