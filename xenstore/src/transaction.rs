//! Transactions: several changes as one step.

use std::{thread, time::Duration};

use nix::errno::Errno;

use crate::{
    ask::{sealed::Sealed, Ask},
    client::XsClient,
    error::{Request, XsError},
    nodes::{protocol, Nodes},
    wire::{self, Malformed, Operation},
};

/// Maximum number of attempts of [`XsClient::transaction`].
pub(crate) const TRANSACTION_ATTEMPTS: u32 = 100;
/// Number of conflicts without a pause. Later pauses grow, which lets other clients finish.
const QUICK_ATTEMPTS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A transaction: other clients see its changes after the commit. A dropped transaction is abandoned.
///
/// ```no_run
/// # use vchan_xenstore::{Nodes, XsClient, XsError};
/// # let xs = XsClient::open()?;
/// let transaction = xs.begin()?;
/// transaction.rm("data/greeting")?;
/// transaction.commit()?;
/// # Ok::<(), XsError>(())
/// ```
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a XsClient,
    id: u32,
    open: bool,
}

impl XsClient {
    /// Runs `body` in a transaction and commits it. After a conflict with another client, a new transaction runs `body`
    /// again, in at most 100 attempts. Any other error of `body` abandons the transaction.
    ///
    /// # Errors
    ///
    /// The error of `body`, of beginning or of committing; [`XsError::Conflict`] if all attempts met conflicts.
    pub fn transaction<T>(
        &self,
        mut body: impl FnMut(&Transaction<'_>) -> Result<T, XsError>,
    ) -> Result<T, XsError> {
        let mut attempts = 0;
        loop {
            let transaction = self.begin()?;
            let done = body(&transaction).and_then(|value| transaction.commit().map(|()| value));
            match done {
                Err(conflict) if conflict.refused_with(Errno::EAGAIN as i32) => {
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

    /// Begins a transaction. The caller handles conflicts: the commit is then refused with EAGAIN.
    ///
    /// # Errors
    ///
    /// [`XsError::Refused`], with ENOSPC if the domain has too many open transactions, or a failure of the connection.
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

    /// Removes a node if it has no children, as one step. True if it was removed.
    ///
    /// # Errors
    ///
    /// [`XsError::Refused`], with ENOENT if the node does not exist, or an error of [`transaction`](Self::transaction).
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
    /// Commits the changes.
    ///
    /// # Errors
    ///
    /// [`XsError::Refused`] with EAGAIN after a conflict with another client, or a failure of the connection.
    pub fn commit(mut self) -> Result<(), XsError> {
        self.end(b"T\0")
    }

    /// Abandons the changes.
    ///
    /// # Errors
    ///
    /// A failure of the connection. The transaction is abandoned in any case.
    pub fn abort(mut self) -> Result<(), XsError> {
        self.end(b"F\0")
    }

    /// With any reply, the transaction has ended.
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
            // After the end of the connection, xenstored abandons its transactions.
            let _abandoned_either_way = self.end(b"F\0");
        }
    }
}

/// The path of the conflict, if it is known.
fn about(conflict: &XsError) -> &str {
    conflict.path().unwrap_or("nodes")
}

fn pause_after(conflicts: u32) -> Duration {
    Duration::from_millis(conflicts.saturating_sub(QUICK_ATTEMPTS).into()).min(LONGEST_PAUSE)
}
