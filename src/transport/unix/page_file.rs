//! The memory file of the shared page, in the client that has locked it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::stat::{fstat, futimens};
use nix::sys::time::TimeSpec;

use super::lock::Locked;
use crate::ring::{SharedPage, WAITING};
use crate::{Error, Result};

/// The open file of the shared page, locked by its only client.
pub(super) struct PageFile {
    file: Option<Locked<File>>,
    connected: AtomicBool,
}

impl PageFile {
    pub(super) fn new(lock: Locked<File>) -> PageFile {
        PageFile { file: Some(lock), connected: AtomicBool::new(false) }
    }

    pub(super) fn file(&self) -> Result<&File> {
        self.file.as_deref().ok_or(Error::Closed)
    }

    /// Whether the file still exists: the server or a later sweep removes it.
    pub(super) fn is_current(&self) -> Result<bool> {
        let stat = fstat(self.file()?).map_err(|errno| Error::os("look at the page's memory file", errno))?;
        Ok(stat.st_nlink > 0)
    }

    /// Whether the server has, or had, a client, by the page.
    pub(super) fn has_had_client(&self) -> Result<bool> {
        let mut live = [WAITING];
        let offset = SharedPage::CLI_LIVE_OFFSET as u64;
        match self.file()?.read_exact_at(&mut live, offset) {
            Ok(()) => Ok(live != [WAITING]),
            Err(error) => Err(Error::os("read the page's memory file", error)),
        }
    }

    /// Records that its client has reached the server.
    pub(super) fn set_connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take().and_then(Locked::unlock) else { return };
        // A client that waits for this one to leave watches the file's times. A client that did not reach the
        // server must not touch them, or two waiting clients would wake each other for ever. After a failure
        // the waiting client still has the events of the server's socket.
        if *self.connected.get_mut() {
            let _ = futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
        }
    }
}
