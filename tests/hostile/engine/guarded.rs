//! A transport within one process whose pages are surrounded by guard pages: an access beyond a ring kills
//! the process at once. It also lets the peer act in the middle of a call, whenever the library uses the
//! event channel.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::mman::{mmap_anonymous, mprotect, munmap, MapFlags, ProtFlags};
use vchan::transport::in_process::{Domain, InProcess};
use vchan::transport::{
    CrashNotice, EventChannel, EventSet, Events, Mapping, Memory, Parts, Readiness, Received, Role, Tokens,
    Transport,
};
use vchan::unstable::ring::PAGE_SIZE;
use vchan::{DomId, Error, Result};

/// Called whenever the library uses the event channel of a guarded transport.
pub type Hook = Arc<dyn Fn() + Send + Sync>;

type Blocks = Arc<Mutex<HashMap<u32, Arc<Block>>>>;

/// The state shared by both sides.
pub struct Machine {
    events: InProcess,
    blocks: Blocks,
}

impl Machine {
    pub fn new() -> Machine {
        Machine { events: InProcess::new(), blocks: Blocks::default() }
    }

    /// The transport as seen from a domain.
    pub fn domain(&self, id: DomId, hook: Option<Hook>) -> Guarded {
        Guarded { below: self.events.domain(id), blocks: self.blocks.clone(), hook }
    }

    /// Whether nothing is shared, bound or published any more.
    pub fn is_clean(&self) -> bool {
        self.events.is_clean() && lock(&self.blocks).is_empty()
    }
}

fn lock(blocks: &Blocks) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Block>>> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Guarded {
    below: Domain,
    blocks: Blocks,
    hook: Option<Hook>,
}

impl Transport for Guarded {
    fn name(&self) -> &'static str {
        "guarded"
    }

    fn own_domid(&self) -> Result<DomId> {
        self.below.own_domid()
    }

    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
        let parts = self.below.open(role, peer, path)?;
        let events: Box<dyn Events> = match &self.hook {
            Some(hook) => Box::new(HookedEvents { below: parts.events, hook: hook.clone() }),
            None => parts.events,
        };
        Ok(Parts { memory: Box::new(GuardedMemory(self.blocks.clone())), events, ..parts })
    }
}

/// Zeroed pages between two guard pages.
struct Block {
    start: NonNull<u8>,
    pages: usize,
}

// SAFETY: plain memory, accessed only through raw pointers.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn new(pages: usize) -> Block {
        let len = ((pages + 2) * PAGE_SIZE).try_into().expect("not 0");
        // SAFETY: a new mapping touches no memory in use; its middle is then made accessible.
        let start = unsafe {
            let whole = mmap_anonymous(None, len, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE).expect("mmap");
            let start = whole.byte_add(PAGE_SIZE);
            let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            mprotect(start, pages * PAGE_SIZE, access).expect("mprotect");
            start.cast()
        };
        Block { start, pages }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, and no reference to it remains.
        let result = unsafe { munmap(self.start.byte_sub(PAGE_SIZE).cast(), (self.pages + 2) * PAGE_SIZE) };
        result.expect("munmap");
    }
}

struct GuardedMemory(Blocks);

impl Memory for GuardedMemory {
    fn share(&self, pages: usize, _crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        let mut blocks = lock(&self.0);
        let first = blocks.keys().max().map_or(1, |last| last + 1024);
        let block = Arc::new(Block::new(pages));
        blocks.insert(first, block.clone());
        let grants = (first..).take(pages).collect();
        Ok(Box::new(Mapped { block, grants, shared_in: Some(self.0.clone()) }))
    }

    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>> {
        let blocks = lock(&self.0);
        let block = grants.first().and_then(|first| blocks.get(first));
        let block = block.filter(|block| block.pages == grants.len());
        let block = block.ok_or_else(|| Error::Invalid(format!("{} grants are not shared", grants.len())))?;
        Ok(Box::new(Mapped { block: block.clone(), grants: grants.to_vec(), shared_in: None }))
    }
}

struct Mapped {
    block: Arc<Block>,
    grants: Vec<u32>,
    shared_in: Option<Blocks>,
}

// SAFETY: the block stays mapped while the `Arc` lives.
unsafe impl Mapping for Mapped {
    fn base(&self) -> NonNull<u8> {
        self.block.start
    }

    fn pages(&self) -> usize {
        self.block.pages
    }

    fn grants(&self) -> &[u32] {
        &self.grants
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(blocks) = &self.shared_in {
            lock(blocks).remove(&self.grants[0]);
        }
    }
}

struct HookedEvents {
    below: Box<dyn Events>,
    hook: Hook,
}

impl HookedEvents {
    fn around(&self, below: Box<dyn EventChannel>) -> Box<dyn EventChannel> {
        Box::new(HookedChannel { below, hook: self.hook.clone() })
    }
}

impl Events for HookedEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        Ok(self.around(self.below.listen()?))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        (self.hook)();
        Ok(self.around(self.below.connect(remote)?))
    }
}

struct HookedChannel {
    below: Box<dyn EventChannel>,
    hook: Hook,
}

impl EventChannel for HookedChannel {
    fn name(&self) -> String {
        self.below.name()
    }

    fn local_port(&self) -> u32 {
        self.below.local_port()
    }

    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        self.below.always_ready()
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        self.below.attach(set, tokens)
    }

    fn notify(&self) -> Result<()> {
        self.below.notify()?;
        (self.hook)();
        Ok(())
    }

    fn receive(&self) -> Result<Received> {
        (self.hook)();
        self.below.receive()
    }

    fn ended(&self) -> bool {
        (self.hook)();
        self.below.ended()
    }

    fn serve_many(&self, many: bool) -> Result<()> {
        self.below.serve_many(many)
    }

    fn rearm(&self) -> Result<bool> {
        (self.hook)();
        self.below.rearm()
    }
}
