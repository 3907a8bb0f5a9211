//! Several changes as one.

use std::{thread, time::Duration};

use nix::errno::Errno;

use super::{
    client::{sealed::Sealed, Ask, XsClient},
    error::{Request, XsError},
    nodes::{protocol, Nodes},
    wire::{self, Malformed, Operation},
};

/// How often a transaction is tried before the conflict is reported.
pub const TRANSACTION_ATTEMPTS: u32 = 100;
/// Conflicts up to this many are retried at once; then the pauses grow, so that the others get done.
const QUICK_ATTEMPTS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A transaction: its changes are seen by nobody else until it is committed. Dropped, it is abandoned.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a XsClient,
    id: u32,
    open: bool,
}

impl XsClient {
    /// Runs `body` in a transaction and commits it. When others changed what it touched, everything is done again,
    /// at most [`TRANSACTION_ATTEMPTS`] times. Any other error of `body` abandons the transaction.
    pub fn transaction<T>(
        &self,
        mut body: impl FnMut(&Transaction<'_>) -> Result<T, XsError>,
    ) -> Result<T, XsError> {
        let mut attempts = 0;
        loop {
            let transaction = self.begin()?;
            let done = body(&transaction).and_then(|value| transaction.commit().map(|()| value));
            match done {
                Err(conflict) if conflict.refused_with(Errno::EAGAIN) => {
                    attempts += 1;
                    if attempts == TRANSACTION_ATTEMPTS {
                        let request = Request::new(Operation::TransactionEnd, about(&conflict));
                        return Err(XsError::Conflict { request, attempts, source: Box::new(conflict) });
                    }
                    thread::sleep(pause_after(attempts));
                }
                done => return done,
            }
        }
    }

    /// Begins a transaction, for callers who handle conflicts themselves: the commit is then refused with EAGAIN.
    pub fn begin(&self) -> Result<Transaction<'_>, XsError> {
        let request = Request::new(Operation::TransactionStart, "nodes");
        let payload = self.call(&request, 0, &[b"\0"])?;
        let id = wire::single(&payload).and_then(|text| match text.parse() {
            Ok(id) if id != 0 => Ok(id),
            _ => Err(Malformed(format!("{:?} is no transaction id", text.escape_debug().to_string()))),
        });
        let id = id.map_err(|wrong| protocol(request, wrong))?;
        Ok(Transaction { client: self, id, open: true })
    }

    /// Removes a node if it has no children, as one step: a child made meanwhile saves it. True if it was removed.
    pub fn remove_if_empty(&self, path: &str) -> Result<bool, XsError> {
        self.transaction(|transaction| {
            let empty = transaction.directory(path)?.is_empty();
            if empty {
                transaction.rm(path)?;
            }
            Ok(empty)
        })
    }
}

impl Transaction<'_> {
    /// Makes the changes real. Refused with EAGAIN if others changed what this transaction touched.
    pub fn commit(mut self) -> Result<(), XsError> {
        self.end(b"T\0")
    }

    /// Forgets the changes.
    pub fn abort(mut self) -> Result<(), XsError> {
        self.end(b"F\0")
    }

    /// Whatever the answer, the daemon has no such transaction afterwards.
    fn end(&mut self, verdict: &[u8]) -> Result<(), XsError> {
        self.open = false;
        let request = Request::new(Operation::TransactionEnd, "nodes");
        let payload = self.client.call(&request, self.id, &[verdict])?;
        wire::check_ok(&payload).map_err(|wrong| protocol(request, wrong))
    }
}

impl Sealed for Transaction<'_> {}

impl Ask for Transaction<'_> {
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError> {
        self.client.call(request, self.id, parts)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // If the connection is broken, xenstored abandons the transaction by itself.
            let _abandoned_either_way = self.end(b"F\0");
        }
    }
}

/// What the conflict was about, as far as it is known.
fn about(conflict: &XsError) -> &str {
    conflict.path().unwrap_or("nodes")
}

fn pause_after(conflicts: u32) -> Duration {
    Duration::from_millis(conflicts.saturating_sub(QUICK_ATTEMPTS).into()).min(LONGEST_PAUSE)
}
