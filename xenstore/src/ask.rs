//! What sends requests: a client, or one of its transactions.

use crate::error::{Request, XsError};

/// Sends requests: a client, or one of its transactions. Sealed.
pub trait Ask: sealed::Sealed {
    /// Sends a request and returns the reply's payload.
    #[doc(hidden)]
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError>;
}

pub(crate) mod sealed {
    /// Keeps [`super::Ask`] private to the crate.
    pub trait Sealed {}
}

impl<T: Ask> sealed::Sealed for &T {}

impl<T: Ask> Ask for &T {
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError> {
        (**self).ask(request, parts)
    }
}
