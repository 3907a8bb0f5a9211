//! The content of a server's lock file: where it has published, which process created it, and whether it
//! takes one client after another.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::nodes::NodePath;

/// The maximum number of bytes read from a record.
const LONGEST: u64 = 1 << 20;

const MANY: &str = "many";
const OWNER: &str = "owner ";

/// The record of one slot. Each entry is terminated by NUL. Only paths begin with a slash.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) published: Vec<NodePath>,
    pub(super) owner: Option<Owner>,
    pub(super) many: bool,
}

impl Record {
    /// The content of the lock file.
    pub(super) fn text(&self) -> String {
        let owner =
            self.owner.iter().map(|owner| format!("{OWNER}{} {} {}", owner.space, owner.pid, owner.start));
        let many = self.many.then(|| MANY.to_owned());
        let paths = self.published.iter().map(|path| path.as_str().to_owned());
        owner.chain(many).chain(paths).map(|entry| entry + "\0").collect()
    }

    /// Parses such content. Incomplete and unknown entries are skipped.
    pub(super) fn read(file: &File) -> io::Result<Record> {
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|&b| b == 0).map_or(&[][..], |last| &bytes[..last]);
        let mut record = Record::default();
        for entry in complete.split(|&b| b == 0).filter_map(|entry| std::str::from_utf8(entry).ok()) {
            if entry.starts_with('/') {
                record.published.extend(NodePath::new(entry, 0));
            } else if let Some(owner) = entry.strip_prefix(OWNER) {
                record.owner = Owner::parse(owner);
            } else {
                record.many |= entry == MANY;
            }
        }
        Ok(record)
    }
}

/// The process that claimed a slot. Its forked children inherit the lock, so the lock alone does not prove
/// that the process lives.
#[derive(Debug, PartialEq)]
pub(super) struct Owner {
    /// The inode of its PID namespace.
    space: u64,
    pid: u32,
    /// Its start time in the kernel's clock ticks: the PID can be reused by another process.
    start: u64,
}

impl Owner {
    /// The calling process. `None` if `/proc` is not available.
    pub(super) fn own() -> Option<Owner> {
        let pid = std::process::id();
        Some(Owner { space: own_space()?, pid, start: start_of(pid).ok()? })
    }

    fn parse(text: &str) -> Option<Owner> {
        let mut numbers = text.split(' ');
        Some(Owner {
            space: numbers.next()?.parse().ok()?,
            pid: numbers.next()?.parse().ok()?,
            start: numbers.next()?.parse().ok()?,
        })
    }

    /// Whether the process has certainly ended. Processes of other PID namespaces are not visible.
    pub(super) fn has_ended(&self) -> bool {
        own_space() == Some(self.space)
            && match start_of(self.pid) {
                Ok(start) => start != self.start,
                Err(error) => matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
            }
    }
}

fn own_space() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|found| found.ino())
}

/// The start time of the process. `ESRCH` if it has ended, including zombies.
fn start_of(pid: u32) -> io::Result<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    // The name of the program is in parentheses, and can contain some.
    let behind_name = stat.iter().rposition(|&b| b == b')').map_or(stat.len(), |last| last + 1);
    let text = String::from_utf8_lossy(&stat[behind_name..]);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    // A main thread that has ended before the others is in the same state, but then the process has more
    // threads.
    if ["Z", "X"].contains(&field(0)) && ["0", "1"].contains(&field(17)) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    field(19).parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn read(text: &str) -> Record {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        Record::read(&file).unwrap()
    }

    fn paths(text: &str) -> Vec<String> {
        read(text).published.iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn written_record_is_read() {
        let published = ["/a/b", "/c"].map(|path| NodePath::new(path, 0).unwrap()).to_vec();
        let record = Record { published, owner: Owner::own(), many: true };
        assert!(record.owner.is_some());
        assert_eq!(read(&record.text()), record);
        assert_eq!(read(""), Record::default());
    }

    #[test]
    fn incomplete_and_unknown_entries_are_skipped() {
        assert_eq!(paths("/a/b\0/c\0"), ["/a/b", "/c"]);
        assert_eq!(paths("/a/b\0/c"), ["/a/b"]);
        assert_eq!(paths("relative\0/../x\0/ok\0"), ["/ok"]);
        assert_eq!(read("owner 1 x\0owner\0").owner, None);
    }

    #[test]
    fn zombie_has_ended() {
        let own = Owner::own().unwrap();
        assert!(!own.has_ended());
        assert!(Owner { start: own.start + 1, ..Owner::own().unwrap() }.has_ended());
        assert!(!Owner { space: own.space + 1, start: 0, pid: own.pid }.has_ended());
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let other = Owner { pid: child.id(), start: start_of(child.id()).unwrap(), ..own };
        assert!(!other.has_ended());
        child.kill().unwrap();
        // SAFETY: all zeros are a valid structure, and it is valid for the call, which leaves the child a
        // zombie.
        let waited = unsafe {
            let mut info = std::mem::zeroed();
            libc::waitid(libc::P_PID, child.id(), &mut info, libc::WEXITED | libc::WNOWAIT)
        };
        assert_eq!(waited, 0);
        assert!(other.has_ended());
        child.wait().unwrap();
        assert!(other.has_ended());
    }
}
