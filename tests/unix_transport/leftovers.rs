//! Nothing is left when everything was dropped: no file, directory, descriptor or mapping.

use super::child::Other;
use super::*;
use std::collections::BTreeMap;

#[test]
fn nothing_is_left() {
    let temp = private_dir();
    // In a separate process, where no other test opens files.
    let output = Other::run("count", &temp.path().join("root"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(tree(temp.path()), ["root"]);
}

/// The open descriptors and their flags, according to the system.
fn open_descriptors() -> BTreeMap<String, u32> {
    // All names first: the descriptor used for listing is among them, and closed afterwards.
    let names: Vec<_> =
        fs::read_dir("/proc/self/fdinfo").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut open = BTreeMap::new();
    for name in names {
        let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(&name)).unwrap_or_default();
        if let Some(octal) = info.lines().find_map(|line| line.strip_prefix("flags:\t")) {
            open.insert(name.into_string().unwrap(), u32::from_str_radix(octal, 8).unwrap());
        }
    }
    open
}

fn shared_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|access| access.ends_with('s')))
        .count()
}

/// Uses everything several times, and counts.
pub fn count_leftovers(root: &Path) {
    let (descriptors, mappings) = (open_descriptors(), shared_mappings());
    for round in 0..3 {
        let server = Server::start(root, "data/x").unwrap();
        assert!(Server::start(root, "data/x").is_err());
        let watching = transport(root).open(Role::Client, 0, "data/x").unwrap();
        let mut watch = watching.registry.watch().unwrap();
        watch.renew().unwrap();
        let client = Client::start(root, "data/x").unwrap();
        let (_at_server, _at_client) = (Waiter::on(&*server.events), Waiter::on(&*client.events));
        client.events.notify().unwrap();
        server.events.receive().unwrap();
        assert!(Client::start(root, "data/x").is_err());
        if round == 1 {
            drop(client);
            server.events.rearm().unwrap();
            Client::start(root, "data/x").unwrap();
        }
        assert!(shared_mappings() > mappings);
        let mut ours = open_descriptors();
        ours.retain(|fd, _| !descriptors.contains_key(fd));
        assert!(!ours.is_empty());
        for (fd, flags) in ours {
            assert_ne!(flags & libc::O_CLOEXEC as u32, 0, "descriptor {fd} would be inherited");
        }
    }
    assert_eq!(tree(root), [""; 0]);
    assert_eq!((open_descriptors(), shared_mappings()), (descriptors, mappings));
}
