//! Nothing is left when all has been dropped: no file, no directory, no descriptor, no mapping.

use super::child::Other;
use super::*;

#[test]
fn nothing_is_left() {
    let temp = private_dir();
    // In a process of its own, where no other test opens anything.
    let output = Other::run("count", &temp.path().join("root"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(tree(temp.path()), ["root"]);
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn shared_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|access| access.ends_with('s')))
        .count()
}

/// Uses everything a few times over, and counts.
pub fn count_leftovers(root: &Path) {
    let (descriptors, mappings) = (open_descriptors(), shared_mappings());
    for round in 0..3 {
        let server = Server::start(root, "data/x").unwrap();
        let watching = transport(root).open(Role::Client, 0, "data/x").unwrap();
        let mut watch = watching.config.watch().unwrap();
        watch.renew().unwrap();
        let client = Client::start(root, "data/x").unwrap();
        let (_at_server, _at_client) = (Waiter::on(&*server.events), Waiter::on(&*client.events));
        client.events.notify().unwrap();
        server.events.receive().unwrap();
        assert!(Client::start(root, "data/x").is_err());
        assert!(Server::start(root, "data/x").is_err());
        if round == 1 {
            drop(client);
            server.events.rearm().unwrap();
            Client::start(root, "data/x").unwrap();
        }
        assert!(shared_mappings() > mappings && open_descriptors() > descriptors);
        for entry in fs::read_dir("/proc/self/fdinfo").unwrap() {
            let path = entry.unwrap().path();
            let fd: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let info = fs::read_to_string(&path).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t"));
            let closed_at_exec =
                flags.is_none_or(|octal| u32::from_str_radix(octal, 8).unwrap() & 0o2000000 != 0);
            assert!(fd <= 2 || closed_at_exec, "descriptor {fd} would be inherited: {info}");
        }
    }
    assert_eq!(tree(root), [""; 0]);
    assert_eq!((open_descriptors(), shared_mappings()), (descriptors, mappings));
}
