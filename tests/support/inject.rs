//! Fault injection into this thread's system calls, by tests-c/faults/inject.c as a library.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;

/// The library, loaded for the calling thread and never unloaded.
pub struct Injector {
    plan: extern "C" fn(libc::c_int, libc::c_int, libc::c_int, libc::c_int),
    on: extern "C" fn(),
    off: extern "C" fn(),
    count: extern "C" fn(libc::c_int) -> libc::c_int,
    happened: extern "C" fn() -> bool,
}

const NOTHING: libc::c_int = 0;
const FAIL: libc::c_int = 1;
/// The number of system call numbers that it counts.
const CALLS: i32 = 512;

impl Injector {
    /// `Err` is the reason why the system does not support it.
    pub fn load() -> Result<Injector, String> {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject");
        // The packages that use this file have different directories.
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("tests-c/faults"))
            .find(|path| path.exists())
            .ok_or("the sources of the library are missing")?;
        let made = Command::new("make")
            .args(["-s", "-C"])
            .arg(source)
            .arg("inject")
            .arg(format!("OUT={}", out.display()))
            .env_remove("MAKEFLAGS")
            .output()
            .map_err(|error| format!("cannot run make: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        let path = CString::new(out.join("libinject.so").into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: our own library, without constructors; it is never unloaded.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        let symbol = |name: &std::ffi::CStr| {
            // SAFETY: an open library and a NUL-terminated string.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "{name:?} is missing");
            found
        };
        // SAFETY: the types are those of inject.h.
        let (prepare, injector) = unsafe {
            (
                std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> bool>(symbol(c"inject_prepare")),
                Injector {
                    plan: std::mem::transmute::<
                        *mut libc::c_void,
                        extern "C" fn(libc::c_int, libc::c_int, libc::c_int, libc::c_int),
                    >(symbol(c"inject_plan")),
                    on: std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(symbol(c"inject_on")),
                    off: std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(symbol(c"inject_off")),
                    count: std::mem::transmute::<*mut libc::c_void, extern "C" fn(libc::c_int) -> libc::c_int>(
                        symbol(c"inject_count"),
                    ),
                    happened: std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> bool>(symbol(
                        c"inject_happened",
                    )),
                },
            )
        };
        if prepare() {
            Ok(injector)
        } else {
            Err(format!("no syscall user dispatch: {}", std::io::Error::last_os_error()))
        }
    }

    /// Runs `act` and counts its system calls, by number.
    pub fn count<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<(libc::c_long, i32)>) {
        (self.plan)(NOTHING, 0, 0, 0);
        let result = self.run(act);
        let counts =
            (0..CALLS).map(|nr| (libc::c_long::from(nr), (self.count)(nr))).filter(|found| found.1 > 0);
        (result, counts.collect())
    }

    /// Runs `act` with the `nth` call of number `nr` failing. `None` if there were fewer calls.
    pub fn fail<T>(&self, nr: libc::c_long, nth: i32, error: i32, act: impl FnOnce() -> T) -> Option<T> {
        (self.plan)(FAIL, nr as libc::c_int, nth, error);
        let result = self.run(act);
        (self.happened)().then_some(result)
    }

    fn run<T>(&self, act: impl FnOnce() -> T) -> T {
        (self.on)();
        let result = act();
        (self.off)();
        result
    }
}
