//! Shared memory: one file per block of pages, mapped by both sides.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use nix::sys::stat::fstat;

use super::grants::{file_name, unfinished_name};
use super::lock::Locked;
use super::page_file::PageFile;
use super::root::{Missing, MEMORY};
use super::side::{ClientSide, ServerSide};
use super::sigbus::Guard;
use super::size_limit::without_signal;
use super::slot::Slot;
use crate::transport::{CrashNotice, Mapping, Memory};
use crate::{Error, Result};

const PAGE: usize = 4096;

/// How long a client tries to lock the page. A client that was killed can hold its lock for a moment after
/// its socket has reported the end to the server, and the server has published it.
const RETRY_TIMEOUT: Duration = Duration::from_millis(250);

/// The server's memory.
pub(super) struct ServerMemory(pub(super) Arc<ServerSide>);

impl Memory for ServerMemory {
    // A killed server is detected by its socket, so no notice is needed.
    fn share(&self, pages: usize, _crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        let slot = Arc::clone(self.0.slot()?);
        let grants = slot.allot(pages)?;
        let unfinished = MemoryFile { slot: Arc::clone(&slot), name: unfinished_name(&grants) };
        let (memory, file) = {
            // With the root locked, so that no other server removes the directory while it is empty.
            let locked = slot.lock_root()?;
            let memory = locked.dir().make_sub(MEMORY)?;
            let file = memory.create(&unfinished.name)?;
            (memory, file)
        };
        // Allocate everything now: on a full file system this fails here, instead of killing the process at a
        // later access.
        allocate(&file, pages)
            .map_err(|errno| Error::os(format!("allocate {pages} pages for {}", unfinished.path()), errno))?;
        // The final name comes last: a client that waits for it finds the file complete.
        let name = file_name(&grants);
        memory.give_name(&unfinished.name, &name)?;
        let shared = MemoryFile { slot, name };
        drop(unfinished);
        let mapped = Mapped::new(&file, pages, grants).map_err(|errno| map_failed(&shared.path(), errno))?;
        Ok(Box::new(Block { mapped, _keeper: Keeper::Shared(shared) }))
    }

    fn map(&self, _grants: &[u32]) -> Result<Box<dyn Mapping>> {
        Err(Error::Invalid("a server shares memory, it does not map the client's".into()))
    }
}

/// The client's memory.
pub(super) struct ClientMemory(pub(super) Arc<ClientSide>);

impl ClientMemory {
    fn open(&self, name: &str) -> Result<File> {
        let missing = |what: &str| self.0.no_server(format!("there is no {what} in {}", self.0.root.path()));
        let root = self.0.root.open(Missing::Leave)?.ok_or_else(|| missing("directory"))?;
        let memory = root.sub(MEMORY)?.ok_or_else(|| missing("directory memory"))?;
        memory.open_file(name)?.ok_or_else(|| missing(&format!("memory file {name}")))
    }

    fn check_size(&self, file: &File, name: &str, pages: usize) -> Result<()> {
        let stat =
            fstat(file).map_err(|errno| Error::os(format!("look at the memory file {name}"), errno))?;
        if usize::try_from(stat.st_size).is_ok_and(|size| size >= pages * PAGE) {
            return Ok(());
        }
        let root = self.0.root.path();
        if stat.st_size == 0 {
            // A historical server creates the file first and sets its size later.
            return Err(self.0.no_server(format!("the memory file {root}/{MEMORY}/{name} is still empty")));
        }
        Err(Error::Refused(format!(
            "the memory file {root}/{MEMORY}/{name} has {} bytes, expected at least {pages} pages of {PAGE}; does \
             its server use this protocol?",
            stat.st_size
        )))
    }

    /// Ensures that no other client of this implementation has mapped the page.
    fn lock_page(&self, mut file: File, name: &str) -> Result<PageFile> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        loop {
            match Locked::try_lock(file) {
                Ok(lock) => return Ok(PageFile::new(lock)),
                Err((again, Errno::EAGAIN)) if Instant::now() < deadline => {
                    file = again;
                    sleep(Duration::from_millis(5));
                }
                Err((_, Errno::EAGAIN)) => return Err(self.0.has_another_client()),
                Err((_, errno)) => return Err(Error::os(format!("lock the memory file {name}"), errno)),
            }
        }
    }
}

impl Memory for ClientMemory {
    fn share(&self, _pages: usize, _crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        Err(Error::Invalid("a client maps the server's memory, it does not share its own".into()))
    }

    /// The first mapped block is the shared page. It is locked against other clients while it is mapped.
    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>> {
        if grants.is_empty() {
            return Err(Error::Invalid("no grants to map".into()));
        }
        let (name, pages) = (file_name(grants), grants.len());
        let file = self.open(&name)?;
        self.check_size(&file, &name, pages)?;
        let failed = |errno| map_failed(&format!("{}/{MEMORY}/{name}", self.0.root.path()), errno);
        if self.0.page().is_some() {
            let mapped = Mapped::new(&file, pages, grants.to_vec()).map_err(failed)?;
            return Ok(Box::new(Block { mapped, _keeper: Keeper::None }));
        }
        let page = Arc::new(self.lock_page(file, &name)?);
        let mapped = Mapped::new(page.file()?, pages, grants.to_vec()).map_err(failed)?;
        self.0.set_page(&page);
        Ok(Box::new(Block { mapped, _keeper: Keeper::Page(page) }))
    }
}

fn allocate(file: &File, pages: usize) -> nix::Result<()> {
    loop {
        match without_signal(|| posix_fallocate(file, 0, (pages * PAGE) as libc::off_t)) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn map_failed(path: &str, errno: Errno) -> Error {
    Error::os(format!("map the memory file {path}"), errno)
}

/// A memory file that the server created, removed with the mapping.
struct MemoryFile {
    slot: Arc<Slot>,
    name: String,
}

impl MemoryFile {
    fn path(&self) -> String {
        format!("{}/{MEMORY}/{}", self.slot.root_path(), self.name)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        // A file that cannot be removed here is removed with the slot, at the latest by the next sweep.
        let removed = self.slot.dir().and_then(|root| {
            let memory = root.map(|root| root.sub(MEMORY)).transpose()?.flatten();
            memory.map(|memory| memory.remove(&self.name)).transpose()
        });
        if removed.is_err() {
            self.slot.note_memory_left();
        }
    }
}

/// Resources held by a mapping, released after it.
enum Keeper {
    Shared(#[allow(dead_code, reason = "held for its drop")] MemoryFile),
    Page(#[allow(dead_code, reason = "held for its drop")] Arc<PageFile>),
    None,
}

/// A block of mapped pages. The fields are dropped in this order: the pages are unmapped, then the keeper is
/// released.
struct Block {
    mapped: Mapped,
    _keeper: Keeper,
}

// SAFETY: `Mapped` maps `grants.len()` whole pages, checked to be within the file, while it lives.
unsafe impl Mapping for Block {
    fn base(&self) -> NonNull<u8> {
        self.mapped.base.cast()
    }

    fn pages(&self) -> usize {
        self.mapped.grants.len()
    }

    fn grants(&self) -> &[u32] {
        &self.mapped.grants
    }
}

/// Pages mapped for reading and writing, shared.
struct Mapped {
    base: NonNull<libc::c_void>,
    grants: Vec<u32>,
    /// Dropped before the pages are unmapped.
    guard: Option<Guard>,
}

impl Mapped {
    fn new(file: impl AsFd, pages: usize, grants: Vec<u32>) -> nix::Result<Mapped> {
        let bytes = pages.checked_mul(PAGE).and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no memory in use.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, file, 0) }?;
        let mut mapped = Mapped { base, grants, guard: None };
        let guard = Guard::new(base.as_ptr() as usize, bytes.get());
        mapped.guard = Some(guard.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?);
        Ok(mapped)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: exactly what `new` mapped; no reference to it outlives this value. It cannot fail for a
        // mapped range.
        let _ = unsafe { munmap(self.base, self.grants.len() * PAGE) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread; the value only hands out its address.
unsafe impl Send for Mapped {}
// SAFETY: as above; nothing in it changes after construction.
unsafe impl Sync for Mapped {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use crate::transport::unix::root::Root;
    use crate::transport::unix::side::{Exported, RendezvousSource};
    use crate::transport::Rendezvous;
    use std::fs;
    use std::os::unix::fs::{symlink, PermissionsExt};
    use std::path::Path;

    fn server(root: &Path) -> ServerMemory {
        ServerMemory(Arc::new(ServerSide::new(Root::new(root.to_str().unwrap(), false))))
    }

    fn client(root: &Path) -> ClientMemory {
        let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/nowhere".into() };
        let root = Root::new(root.to_str().unwrap(), false);
        ClientMemory(Arc::new(ClientSide::new(
            root,
            RendezvousSource::Exported(Exported::new(rendezvous, None)),
        )))
    }

    fn refusal(result: Result<Box<dyn Mapping>>) -> String {
        match result {
            Err(error @ Error::Refused(_)) => error.to_string(),
            Err(error) => panic!("not refused: {error}"),
            Ok(_) => panic!("not refused"),
        }
    }

    #[test]
    fn both_sides_see_the_same_pages() {
        let temp = private_dir();
        let (server, client) = (server(temp.path()), client(temp.path()));
        let shared = [1, 16, 256].map(|pages| server.share(pages, None).unwrap());
        let mapped = shared.each_ref().map(|block| client.map(block.grants()).unwrap());
        for (ours, theirs) in shared.iter().zip(&mapped) {
            assert_eq!((ours.pages(), ours.grants()), (theirs.pages(), theirs.grants()));
            assert_ne!(ours.base(), theirs.base());
            let last = ours.pages() * PAGE - 1;
            // SAFETY: `last` is the last byte of both mappings, which only this thread uses.
            unsafe {
                assert_eq!(ours.base().add(last).read_volatile(), 0);
                ours.base().add(last).write_volatile(7);
                assert_eq!(theirs.base().add(last).read_volatile(), 7);
            }
        }
        for name in ["0", "16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1", "272-17"] {
            let status = fs::metadata(temp.path().join("memory").join(name)).unwrap();
            assert_eq!(status.permissions().mode() & 0o777, 0o600, "{name}");
        }
        drop((shared, server));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn page_has_one_client_at_a_time() {
        let temp = private_dir();
        let server = server(temp.path());
        let page = server.share(1, None).unwrap();
        let first = client(temp.path()).map(page.grants()).unwrap();
        let second = client(temp.path()).map(page.grants()).err().unwrap();
        assert!(matches!(second, Error::InUse { serving: false, .. }), "{second}");
        drop(first);
        drop(client(temp.path()).map(page.grants()).unwrap());
    }

    #[test]
    fn file_of_wrong_size_or_type_is_refused() {
        let temp = private_dir();
        let memory = temp.path().join("memory");
        let client = client(temp.path());
        let missing = client.map(&[0]).err().unwrap();
        assert!(matches!(missing, Error::NoServer { .. }), "{missing}");
        fs::create_dir(&memory).unwrap();
        fs::write(memory.join("0"), [0; PAGE - 1]).unwrap();
        assert!(refusal(client.map(&[0])).contains("has 4095 bytes"));
        fs::write(memory.join("page"), [0; PAGE]).unwrap();
        symlink("page", memory.join("1")).unwrap();
        assert!(refusal(client.map(&[1])).contains("not a regular file"));
        assert!(matches!(client.map(&[]), Err(Error::Invalid(_))));
        assert!(matches!(client.share(1, None), Err(Error::Invalid(_))));
    }

    #[test]
    fn removed_page_is_detected() {
        let temp = private_dir();
        let server = server(temp.path());
        let page = server.share(1, None).unwrap();
        let client = client(temp.path());
        let _mapped = client.map(page.grants()).unwrap();
        assert!(client.0.page().unwrap().is_current().unwrap());
        drop(page);
        assert!(!client.0.page().unwrap().is_current().unwrap());
    }

    #[test]
    fn failed_share_leaves_no_file() {
        let temp = private_dir();
        let server = server(temp.path());
        let page = server.share(1, None).unwrap();
        assert!(matches!(server.share(1024, None), Err(Error::Invalid(_))));
        fs::write(temp.path().join("memory/2,1"), "in the way").unwrap();
        assert_eq!(server.share(2, None).err().unwrap().errno(), libc::EEXIST);
        assert_eq!(fs::read(temp.path().join("memory/2,1")).unwrap(), b"in the way");
        drop(page);
    }
}
