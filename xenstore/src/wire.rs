//! The messages of the Xenstore protocol: encoding, decoding, and the checks of replies. No I/O.
//!
//! A reply is accepted only if its length, type and request ID fit the request.

use std::fmt;

use nix::errno::Errno;

/// Maximum size of a message without its header, in bytes, for requests and replies.
pub const PAYLOAD_MAX: usize = 4096;
/// Size of a header: type, request ID, transaction ID, length.
pub(crate) const HEADER_LEN: usize = 16;

const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;

/// A request of the protocol. The discriminant is its type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Operation {
    /// List the children of a node.
    Directory = 1,
    /// Read a node's value.
    Read = 2,
    /// Read a node's permissions.
    GetPerms = 3,
    /// Start watching a path.
    Watch = 4,
    /// Stop watching a path.
    Unwatch = 5,
    /// Begin a transaction.
    TransactionStart = 6,
    /// Commit or abandon a transaction.
    TransactionEnd = 7,
    /// Ask for a domain's home path.
    GetDomainPath = 10,
    /// Set a node's value, making the node and its parents if needed.
    Write = 11,
    /// Make an empty node.
    Mkdir = 12,
    /// Remove a node and all below it.
    Rm = 13,
    /// Set a node's permissions.
    SetPerms = 14,
    /// Ask whether a domain is known to xenstored.
    IsDomainIntroduced = 17,
    /// List a part of the children of a node: one message has no room for all.
    DirectoryPart = 22,
}

impl Operation {
    /// The verb for error messages; the path follows it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Directory | Self::DirectoryPart => "list",
            Self::Read => "read",
            Self::GetPerms => "read the permissions of",
            Self::Watch => "watch",
            Self::Unwatch => "stop watching",
            Self::TransactionStart => "begin a transaction on",
            Self::TransactionEnd => "end a transaction on",
            Self::GetDomainPath => "ask for the path of domain",
            Self::Write => "write",
            Self::Mkdir => "make",
            Self::Rm => "remove",
            Self::SetPerms => "set the permissions of",
            Self::IsDomainIntroduced => "ask about domain",
        }
    }
}

/// The header of a message, in the byte order of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: u32,
    pub request: u32,
    pub transaction: u32,
    pub length: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields = [self.kind, self.request, self.transaction, self.length];
        for (at, field) in bytes.chunks_exact_mut(4).zip(fields) {
            at.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// Refuses a length beyond [`PAYLOAD_MAX`], which bounds allocations.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Malformed> {
        let field = |i: usize| {
            u32::from_ne_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
        };
        let header = Header { kind: field(0), request: field(1), transaction: field(2), length: field(3) };
        if header.length as usize > PAYLOAD_MAX {
            return Err(Malformed(format!(
                "a message announces {} bytes, more than the {PAYLOAD_MAX} allowed",
                header.length
            )));
        }
        Ok(header)
    }
}

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub header: Header,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn is_watch_event(&self) -> bool {
        self.header.kind == WATCH_EVENT
    }
}

/// The daemon broke the protocol; the text says how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The request does not fit into one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub length: usize,
}

/// A request on the wire: the header, then the parts. Terminators belong to the parts.
pub(crate) fn encode(
    operation: Operation,
    request: u32,
    transaction: u32,
    parts: &[&[u8]],
) -> Result<Vec<u8>, TooLong> {
    let length = parts.iter().map(|part| part.len()).sum();
    if length > PAYLOAD_MAX {
        return Err(TooLong { length });
    }
    let header = Header { kind: operation as u32, request, transaction, length: length as u32 };
    let mut bytes = Vec::with_capacity(HEADER_LEN + length);
    bytes.extend_from_slice(&header.encode());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// Why a reply has no payload for the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The daemon refused the request, with this error name.
    Refused { errno: Errno, name: String },
    /// The reply does not belong to the request.
    Malformed(Malformed),
}

/// The payload of `reply`, if it is the reply to `operation` with the ID `request`.
pub(crate) fn check_reply(operation: Operation, request: u32, reply: Message) -> Result<Vec<u8>, Rejection> {
    let Header { kind, request: got, .. } = reply.header;
    if got != request {
        let detail = format!("a reply to request {got} came where {request} was asked");
        return Err(Rejection::Malformed(Malformed(detail)));
    }
    if kind == ERROR {
        let (errno, name) = error_of(&reply.payload);
        return Err(Rejection::Refused { errno, name });
    }
    if kind != operation as u32 {
        let detail = format!("a reply of type {kind} came where {} was asked", operation as u32);
        return Err(Rejection::Malformed(Malformed(detail)));
    }
    Ok(reply.payload)
}

/// Checks an acknowledgement. Both daemons and the kernel send `OK`, with or without a NUL.
pub(crate) fn check_ok(payload: &[u8]) -> Result<(), Malformed> {
    match payload {
        b"OK" | b"OK\0" => Ok(()),
        other => Err(Malformed(format!("an acknowledgement reads {:?}", preview(other)))),
    }
}

/// The errno of an error name in a reply, such as `ENOENT`; `None` for an unknown name.
///
/// ```
/// assert_eq!(vchan_xenstore::errno_of("EQUOTA"), Some(libc::EDQUOT));
/// ```
pub fn errno_of(name: &str) -> Option<i32> {
    known_errno(name).map(|errno| errno as i32)
}

fn known_errno(name: &str) -> Option<Errno> {
    Some(match name {
        "EINVAL" => Errno::EINVAL,
        "EACCES" => Errno::EACCES,
        "EEXIST" => Errno::EEXIST,
        "EISDIR" => Errno::EISDIR,
        "ENOENT" => Errno::ENOENT,
        "ENOMEM" => Errno::ENOMEM,
        "ENOSPC" => Errno::ENOSPC,
        "EIO" => Errno::EIO,
        "ENOTEMPTY" => Errno::ENOTEMPTY,
        "ENOSYS" => Errno::ENOSYS,
        "EROFS" => Errno::EROFS,
        "EBUSY" => Errno::EBUSY,
        "EAGAIN" => Errno::EAGAIN,
        "EISCONN" => Errno::EISCONN,
        "E2BIG" => Errno::E2BIG,
        "EPERM" => Errno::EPERM,
        // oxenstored sends EQUOTA for EDQUOT.
        "EQUOTA" | "EDQUOT" => Errno::EDQUOT,
        _ => return None,
    })
}

/// Errno and printable name of an error reply. The errno of an unknown name is EIO.
fn error_of(payload: &[u8]) -> (Errno, String) {
    let name = preview(payload.strip_suffix(b"\0").unwrap_or(payload));
    (known_errno(&name).unwrap_or(Errno::EIO), name)
}

/// The beginning of untrusted bytes, printable.
fn preview(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

/// The NUL-terminated strings of a payload.
pub(crate) fn strings(payload: &[u8]) -> Result<Vec<String>, Malformed> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let body = payload
        .strip_suffix(b"\0")
        .ok_or_else(|| Malformed(format!("a list does not end: {:?}", preview(payload))))?;
    body.split(|&byte| byte == 0).map(text).collect()
}

/// UTF-8 text.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed(format!("{:?} is no text", preview(bytes))))
}

/// The payload as one string, with or without a terminator.
pub(crate) fn single(payload: &[u8]) -> Result<String, Malformed> {
    let body = payload.strip_suffix(b"\0").unwrap_or(payload);
    if body.contains(&0) {
        return Err(Malformed(format!("one string was expected, not {:?}", preview(payload))));
    }
    text(body)
}

/// The path and the token of a watch event.
pub(crate) fn watch_event(payload: &[u8]) -> Result<(String, String), Malformed> {
    match <[String; 2]>::try_from(strings(payload)?) {
        Ok([path, token]) => Ok((path, token)),
        Err(fields) => Err(Malformed(format!("a watch event has {} fields, not 2", fields.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u32, request: u32, payload: &[u8]) -> Message {
        let header = Header { kind, request, transaction: 0, length: payload.len() as u32 };
        Message { header, payload: payload.to_vec() }
    }

    #[test]
    fn request_has_the_protocols_layout() {
        let bytes = encode(Operation::Write, 7, 9, &[b"/a\0", b"v"]).unwrap();
        let fields: Vec<u32> =
            bytes[..16].chunks(4).map(|c| u32::from_ne_bytes(c.try_into().unwrap())).collect();
        assert_eq!(fields, [11, 7, 9, 4]);
        assert_eq!(&bytes[16..], b"/a\0v");
    }

    #[test]
    fn request_is_limited_to_the_maximum() {
        assert!(encode(Operation::Write, 0, 0, &[&[b'x'; PAYLOAD_MAX]]).is_ok());
        let parts: [&[u8]; 2] = [&[b'x'; PAYLOAD_MAX], b"y"];
        assert_eq!(encode(Operation::Write, 0, 0, &parts), Err(TooLong { length: PAYLOAD_MAX + 1 }));
    }

    #[test]
    fn oversized_length_is_refused() {
        let header = |length| Header { kind: 2, request: 1, transaction: 0, length }.encode();
        assert!(Header::decode(&header(PAYLOAD_MAX as u32)).is_ok());
        assert!(Header::decode(&header(PAYLOAD_MAX as u32 + 1)).is_err());
        assert!(Header::decode(&header(u32::MAX)).is_err());
    }

    #[test]
    fn only_the_matching_reply_is_accepted() {
        assert_eq!(check_reply(Operation::Read, 5, reply(2, 5, b"v")), Ok(b"v".to_vec()));
        for wrong in [reply(2, 6, b"v"), reply(1, 5, b"v"), reply(99, 5, b"v"), reply(ERROR, 6, b"ENOENT\0")]
        {
            assert!(matches!(check_reply(Operation::Read, 5, wrong), Err(Rejection::Malformed(_))));
        }
    }

    #[test]
    fn refusals_have_errno_and_name() {
        let refused = |payload: &[u8]| match check_reply(Operation::Read, 1, reply(ERROR, 1, payload)) {
            Err(Rejection::Refused { errno, name }) => (errno, name),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"ENOENT\0"), (Errno::ENOENT, "ENOENT".into()));
        assert_eq!(refused(b"EQUOTA\0"), (Errno::EDQUOT, "EQUOTA".into()));
        assert_eq!(refused(b"EAGAIN"), (Errno::EAGAIN, "EAGAIN".into()));
        assert_eq!(refused(b"EWHATEVER\0"), (Errno::EIO, "EWHATEVER".into()));
        assert_eq!(refused(b""), (Errno::EIO, "".into()));
        assert_eq!(refused(b"\xff\n\0"), (Errno::EIO, "\\xff\\n".into()));
        assert!(refused(&[b'E'; 4096]).1.len() < 50);
    }

    #[test]
    fn incomplete_lists_and_events_are_refused() {
        assert_eq!(strings(b""), Ok(vec![]));
        assert_eq!(strings(b"a\0b\0"), Ok(vec!["a".into(), "b".into()]));
        assert!(strings(b"a\0b").is_err());
        assert!(strings(b"\xff\0").is_err());
        assert_eq!(watch_event(b"/p\0t\0"), Ok(("/p".into(), "t".into())));
        for wrong in [&b""[..], b"/p\0", b"/p\0t", b"/p\0t\0more\0", b"\xc3\0t\0"] {
            assert!(watch_event(wrong).is_err(), "{wrong:?}");
        }
        assert!(single(b"a\0b\0").is_err());
        assert_eq!(single(b"12\0"), Ok("12".into()));
    }
}
