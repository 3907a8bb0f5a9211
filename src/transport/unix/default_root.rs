//! The default root, and advice for directories that cannot be a root.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Where login managers create each user's runtime directory, also if the environment does not name it.
const RUNTIME_DIRS: &str = "/run/user";

/// `$XDG_RUNTIME_DIR/vchan`, if that variable names a directory of this user (after `su` it may not),
/// otherwise `/run/user/<user id>/vchan`, otherwise `/tmp/vchan-<user id>`, where other programs delete old
/// files.
pub(super) fn default_root(runtime_dir: Option<OsString>) -> PathBuf {
    default_root_beside(runtime_dir, Path::new(RUNTIME_DIRS))
}

fn default_root_beside(runtime_dir: Option<OsString>, runtime_dirs: &Path) -> PathBuf {
    let user = geteuid().as_raw();
    let own = |dir: &Path| dir.metadata().ok().filter(|found| found.is_dir() && found.uid() == user);
    let given = runtime_dir.map(PathBuf::from).filter(|dir| dir.is_absolute() && own(dir).is_some());
    let usual = || {
        let dir = runtime_dirs.join(user.to_string());
        own(&dir).is_some_and(|found| found.mode() & 0o022 == 0).then_some(dir)
    };
    given.or_else(usual).map_or_else(|| PathBuf::from(format!("/tmp/vchan-{user}")), |dir| dir.join("vchan"))
}

/// Advice for a directory that the transport did not create: a value for `XEN_ROOT` that it would create.
pub(super) fn advice_for_another() -> String {
    let home = default_root(std::env::var_os("XDG_RUNTIME_DIR"));
    format!(
        "set XEN_ROOT to one that only you can enter, such as {} (created if it does not exist)",
        home.display()
    )
}

/// What prevents reaching `path`: the first component that is missing, or is not a directory.
pub(super) fn obstacle(path: &str) -> Option<String> {
    let parents: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    for parent in parents.into_iter().rev() {
        let name = parent.display();
        match parent.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Some(format!("{name} is not a directory")),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return None,
            Err(_) if parent.is_symlink() => return Some(format!("{name} is a symbolic link to nothing")),
            Err(_) => return Some(format!("the directory {name} does not exist")),
        }
    }
    None
}

/// The directory in which the first missing component of `path` would appear.
pub(super) fn nearest_existing_parent(path: &str) -> Option<&str> {
    let parents: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    let is_missing = |path: &Path| {
        path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) && !path.is_symlink()
    };
    let nearest_existing_parent =
        parents.windows(2).find(|pair| is_missing(pair[0]) && !is_missing(pair[1])).map(|pair| pair[1]);
    nearest_existing_parent
        .filter(|nearest_existing_parent| nearest_existing_parent.is_dir())
        .and_then(Path::to_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;

    #[test]
    fn default_root_is_in_the_users_runtime_directory() {
        use std::os::unix::fs::PermissionsExt;
        let temp = private_dir();
        let own = temp.path().join(geteuid().to_string());
        let root = |runtime: Option<&Path>| {
            default_root_beside(runtime.map(|dir| dir.as_os_str().to_owned()), temp.path())
        };
        let fallback = PathBuf::from(format!("/tmp/vchan-{}", geteuid()));
        assert_eq!(root(None), fallback);
        std::fs::create_dir(&own).unwrap();
        for (mode, used) in [(0o700, true), (0o755, true), (0o770, false), (0o777, false)] {
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(root(None), if used { own.join("vchan") } else { fallback.clone() }, "{mode:o}");
        }
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(root(Some(temp.path())), temp.path().join("vchan"));
        for unusable in ["relative", "/no/such/directory", "/dev/null"] {
            assert_eq!(root(Some(Path::new(unusable))), own.join("vchan"));
        }
    }

    #[test]
    fn first_obstacle_is_named() {
        let temp = private_dir();
        let at = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nothing"), at("link")).unwrap();
        assert_eq!(obstacle(&at("missing")), None);
        assert_eq!(
            (
                nearest_existing_parent(&at("missing")),
                nearest_existing_parent(&at("link/b/c")),
                nearest_existing_parent(&at("file/b"))
            ),
            (None, None, None)
        );
        assert_eq!(nearest_existing_parent(&at("a/b/c")), temp.path().to_str());
        assert_eq!(obstacle(&at("a/b/c")), Some(format!("the directory {} does not exist", at("a"))));
        assert_eq!(obstacle(&at("file/b/c")), Some(format!("{} is not a directory", at("file"))));
        assert_eq!(obstacle(&at("link/b")), Some(format!("{} is a symbolic link to nothing", at("link"))));
    }
}
