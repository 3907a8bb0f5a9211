//! The root directory: where the memory files and the sockets of a pair live.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const ROOT_VARIABLE: &str = "XEN_ROOT";

/// The root directory, and the directories that this process has created and removes when it ends.
pub struct Root {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Root {
    /// Takes `$XEN_ROOT` when it can be entered, else makes a root under the temporary directory.
    pub fn open(program: &Path) -> Result<Root, String> {
        if let Some(path) = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from) {
            if enterable(&path) {
                return Ok(Root { path, made: Vec::new() });
            }
        }
        let base = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for counter in 0..=100 {
            let path = base.join(format!("{name}.{}.{counter}", std::process::id()));
            let mut root = Root { path: path.clone(), made: Vec::new() };
            if root.make(path).is_ok() {
                root.announce();
                return Ok(root);
            }
        }
        Err(format!("no root directory could be made in {}: set TMPDIR or XEN_ROOT", base.display()))
    }

    /// The root itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the memory files, made when it is not there (by a client too).
    pub fn memory_dir(&mut self) -> Result<PathBuf, String> {
        let dir = self.path.join("memory");
        self.make(dir.clone()).map_err(|e| format!("creating {}: {e}", dir.display()))?;
        Ok(dir)
    }

    /// Removes the directories that this process made, the innermost first. One that still holds
    /// something stays, as it did historically.
    pub fn remove(&mut self) {
        while let Some(dir) = self.made.pop() {
            if let Err(error) = fs::remove_dir(&dir) {
                eprintln!("old-unixcat: removing {}: {error}", dir.display());
            }
        }
    }

    /// A directory that can be entered is used as it is, whatever its owner.
    fn make(&mut self, dir: PathBuf) -> io::Result<()> {
        if !enterable(&dir) {
            fs::DirBuilder::new().mode(0o700).create(&dir)?;
            self.made.push(dir);
        }
        Ok(())
    }

    /// The historical program prints this line twice.
    fn announce(&self) {
        for _ in 0..2 {
            eprintln!("{ROOT_VARIABLE}={}; export {ROOT_VARIABLE};", self.path.display());
        }
    }
}

/// Only the permission to enter is looked at: whether it is a directory is not.
fn enterable(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}
