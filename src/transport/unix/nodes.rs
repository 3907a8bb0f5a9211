//! The configuration tree: xenstore's layout as directories and files under the root.
//!
//! Everything except [`read`] is called with the root locked.

use std::io::{Read, Write};

use super::dir::Dir;
use super::grants::{number, slot_of};
use super::size_limit::without_signal;
use crate::transport::Rendezvous;
use crate::{DomId, Error, Result};

const RING_REF: &str = "ring-ref";
const EVENT_CHANNEL: &str = "event-channel";

/// The names of incomplete nodes. Only the holder of the root's lock creates such files, so an existing one
/// was left by a killed process.
const UNFINISHED: [&str; 2] = ["ring-ref.new", "event-channel.new"];

/// The maximum size of a node in bytes, as in xenstore.
const LONGEST_NODE: usize = 4096;

/// The maximum length of a path in bytes, well above xenstore's 3072.
const LONGEST_PATH: usize = 65536;

/// A configuration path that was checked: absolute, and safe to walk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodePath(String);

impl NodePath {
    /// Checks `path`; a relative one means `/local/domain/<own>/<path>`.
    pub(super) fn new(path: &str, own: DomId) -> Result<NodePath> {
        let whole =
            if path.starts_with('/') { path.to_owned() } else { format!("/local/domain/{own}/{path}") };
        let invalid = |why: &str| Err(Error::Invalid(format!("the configuration path {path:?} {why}")));
        if whole.len() > LONGEST_PATH {
            return Err(Error::Invalid(format!(
                "the configuration path is longer than {LONGEST_PATH} bytes"
            )));
        }
        for component in whole[1..].split('/') {
            match component {
                "" => return invalid("has an empty component; remove the extra slash"),
                "." | ".." => return invalid("has a component `.` or `..`; remove it"),
                _ if component.contains('\0') => return invalid("contains a NUL byte"),
                _ if component.len() > 255 => return invalid("has a component of more than 255 bytes"),
                _ => {}
            }
        }
        // The transport uses these names in the root itself.
        let first = whole[1..].split('/').next().unwrap_or_default();
        if first == "memory" || first == "locks" || first.starts_with(|c: char| c.is_ascii_digit()) {
            return invalid("begins with a name that is reserved for the transport; begin it with /local");
        }
        Ok(NodePath(whole))
    }

    /// The path as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The names between the slashes.
    pub(super) fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }
}

/// Opens the directories along the path, as far as they exist. Returns the last one and its depth.
fn descend(root: &Dir, path: &NodePath) -> Result<(Dir, usize)> {
    let (mut dir, mut depth) = (root.reopen()?, 0);
    for component in path.components() {
        match dir.sub(component)? {
            Some(next) => (dir, depth) = (next, depth + 1),
            None => break,
        }
    }
    Ok((dir, depth))
}

/// The path's own directory, where it exists.
fn leaf(root: &Dir, path: &NodePath) -> Result<Option<Dir>> {
    let (dir, depth) = descend(root, path)?;
    Ok((depth == path.components().count()).then_some(dir))
}

fn read_node(dir: &Dir, name: &str) -> Result<Option<String>> {
    let Some(file) = dir.open_file(name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LONGEST_NODE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::os(format!("read {}", dir.path_of(name)), error))?;
    if bytes.len() > LONGEST_NODE {
        return Err(Error::Refused(format!(
            "{} holds more than {LONGEST_NODE} bytes; remove it",
            dir.path_of(name)
        )));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Error::Refused(format!("{} is not text; remove it", dir.path_of(name))));
    };
    Ok(Some(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)))
}

fn write_node(dir: &Dir, name: &str, unfinished: &str, text: &str) -> Result<()> {
    dir.remove(unfinished)?;
    let mut file = dir.create(unfinished)?;
    without_signal(|| file.write_all(text.as_bytes()))
        .map_err(|error| Error::os(format!("write {}", dir.path_of(unfinished)), error))?;
    dir.rename(unfinished, name)
}

/// How often a publication is read if it changes in the meantime.
const READS: usize = 16;

/// Reads a publication. `Err` in the inner result is what is missing. The root need not be locked: a server
/// that publishes removes ring-ref first and writes it last, so the two nodes belong together if ring-ref is
/// the same before and after event-channel is read.
pub(super) fn read(root: &Dir, path: &NodePath) -> Result<std::result::Result<Rendezvous, String>> {
    let Some(dir) = leaf(root, path)? else { return Ok(Err("nothing is published there".into())) };
    let Some(mut ring_ref) = read_node(&dir, RING_REF)? else {
        return Ok(Err(format!("there is no {RING_REF}")));
    };
    let mut reads = 0;
    let event_channel = loop {
        let event_channel = read_node(&dir, EVENT_CHANNEL)?;
        let again = read_node(&dir, RING_REF)?;
        if again.as_ref() == Some(&ring_ref) {
            break event_channel;
        }
        reads += 1;
        match again {
            Some(changed) if reads < READS => ring_ref = changed,
            _ => return Ok(Err("it is being replaced".into())),
        }
    };
    let Some(event_channel) = event_channel else {
        return Ok(Err(format!("there is no {EVENT_CHANNEL}")));
    };
    let Some(ring_ref) = number(&ring_ref) else {
        let path = dir.path_of(RING_REF);
        return Err(Error::Refused(format!(
            "{path} holds {ring_ref:?}, which is no grant number; remove it"
        )));
    };
    if event_channel.is_empty() || event_channel.contains('\0') {
        let path = dir.path_of(EVENT_CHANNEL);
        return Err(Error::Refused(format!(
            "{path} holds {event_channel:?}, which is no socket's path; remove it"
        )));
    }
    Ok(Ok(Rendezvous { ring_ref, event_channel }))
}

/// The grant of the shared page that is published at the path. Its slot is that of the server.
pub(super) fn published_page(root: &Dir, path: &NodePath) -> Result<Option<u32>> {
    match leaf(root, path)? {
        Some(dir) => page_in_ring_ref(&dir),
        None => Ok(None),
    }
}

fn page_in_ring_ref(dir: &Dir) -> Result<Option<u32>> {
    Ok(read_own_node(dir, RING_REF)?.and_then(|text| number(&text)))
}

fn slot_in_event_channel(dir: &Dir) -> Result<Option<u32>> {
    Ok(read_own_node(dir, EVENT_CHANNEL)?.and_then(|socket| socket.rsplit('/').next().and_then(number)))
}

/// Reads a node to determine its owner. Content that none of our servers writes has no owner.
fn read_own_node(dir: &Dir, name: &str) -> Result<Option<String>> {
    match read_node(dir, name) {
        Err(Error::Refused(_)) => Ok(None),
        other => other,
    }
}

/// Publishes, replacing any previous content.
pub(super) fn write(root: &Dir, path: &NodePath, rendezvous: &Rendezvous) -> Result<()> {
    let mut dir = root.reopen()?;
    for component in path.components() {
        dir = dir.make_sub(component)?;
    }
    dir.remove(RING_REF)?;
    write_node(&dir, EVENT_CHANNEL, UNFINISHED[1], &rendezvous.event_channel)?;
    write_node(&dir, RING_REF, UNFINISHED[0], &rendezvous.ring_ref.to_string())
}

/// Removes what `slot` published at the path, and the directories that become empty.
pub(super) fn withdraw(root: &Dir, path: &NodePath, slot: u32) -> Result<()> {
    let (mut dir, depth) = descend(root, path)?;
    if depth == path.components().count() {
        if page_in_ring_ref(&dir)?.map(slot_of) == Some(slot) {
            dir.remove(RING_REF)?;
        }
        if slot_in_event_channel(&dir)? == Some(slot) {
            dir.remove(EVENT_CHANNEL)?;
        }
        for name in UNFINISHED {
            dir.remove(name)?;
        }
    }
    let components: Vec<&str> = path.components().take(depth).collect();
    for component in components.into_iter().rev() {
        let above = dir.parent()?;
        if !above.remove_empty(component)? {
            break;
        }
        dir = above;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use std::fs;

    fn setting() -> (tempfile::TempDir, Dir) {
        let temp = private_dir();
        let root = Dir::open_root(temp.path().to_str().unwrap(), false).unwrap().unwrap();
        (temp, root)
    }

    fn rendezvous(ring_ref: u32, event_channel: &str) -> Rendezvous {
        Rendezvous { ring_ref, event_channel: event_channel.into() }
    }

    #[test]
    fn invalid_paths_are_refused() {
        assert_eq!(NodePath::new("data/foo", 7).unwrap().as_str(), "/local/domain/7/data/foo");
        assert_eq!(NodePath::new("/x", 7).unwrap().as_str(), "/x");
        let long = "y".repeat(256);
        for bad in ["", "/", "a//b", "a/", "/..", "a/./b", "../b", "a\0b", "/memory/x", "/locks", "/0", &long]
        {
            assert!(matches!(NodePath::new(bad, 0), Err(Error::Invalid(_))), "{bad:?}");
        }
        assert!(NodePath::new(&"x/".repeat(40000), 0).is_err());
    }

    #[test]
    fn written_nodes_are_read_and_withdrawn() {
        let (temp, root) = setting();
        let path = NodePath::new("/local/domain/0/data/vchan/1/x", 0).unwrap();
        assert!(read(&root, &path).unwrap().is_err());
        write(&root, &path, &rendezvous(1024, "/r/1")).unwrap();
        assert_eq!(read(&root, &path).unwrap(), Ok(rendezvous(1024, "/r/1")));
        let dir = temp.path().join("local/domain/0/data/vchan/1/x");
        assert_eq!(fs::read_to_string(dir.join("ring-ref")).unwrap(), "1024");
        assert_eq!(published_page(&root, &path).unwrap(), Some(1024));
        withdraw(&root, &path, 0).unwrap();
        assert!(dir.exists(), "another slot's publication stays");
        withdraw(&root, &path, 1).unwrap();
        assert_eq!(root.names().unwrap(), [""; 0]);
    }

    #[test]
    fn withdraw_removes_only_empty_directories() {
        let (temp, root) = setting();
        let path = NodePath::new("/a/b/c", 0).unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        withdraw(&root, &path, 0).unwrap();
        assert!(!temp.path().join("a").exists(), "made, but never filled, by a killed server");
        write(&root, &path, &rendezvous(0, "/r/0")).unwrap();
        fs::write(temp.path().join("a/other"), "").unwrap();
        withdraw(&root, &path, 0).unwrap();
        assert!(temp.path().join("a/other").exists() && !temp.path().join("a/b").exists());
    }

    #[test]
    fn invalid_content_error_names_the_file() {
        let (temp, root) = setting();
        let path = NodePath::new("/p", 0).unwrap();
        let long = "1".repeat(5000);
        let cases: [(&str, &[u8]); 5] = [
            (RING_REF, b"12x"),
            (RING_REF, b"\xff"),
            (RING_REF, long.as_bytes()),
            (EVENT_CHANNEL, b""),
            (EVENT_CHANNEL, b"a\0b"),
        ];
        for (name, content) in cases {
            write(&root, &path, &rendezvous(0, "/r/0")).unwrap();
            fs::write(temp.path().join("p").join(name), content).unwrap();
            let text = read(&root, &path).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("remove it"), "{text}");
        }
        fs::remove_file(temp.path().join("p/event-channel")).unwrap();
        assert_eq!(read(&root, &path).unwrap(), Err("there is no event-channel".to_owned()));
    }
}
