//! The place where the sides meet: strange surroundings, and what is said of them.

mod common;

use common::*;

/// A umask, and modes that apply to root as to everybody else.
fn under_umask(setup: Setup, umask: libc::mode_t) -> Setup {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
    setup.prepared(move || {
        // SAFETY: system calls without pointers. Whoever can't give these capabilities up hasn't got them.
        unsafe {
            libc::umask(umask);
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
        }
        Ok(())
    })
}

#[test]
fn any_umask_will_do() {
    for umask in [0o177, 0o277, 0o477, 0o777] {
        let place = Place::new();
        let home = place.path("home");
        std::fs::create_dir(&home).unwrap();
        let at_home = |setup: Setup| {
            under_umask(setup, umask).without_env("XEN_ROOT").env("XDG_RUNTIME_DIR", &home).piped()
        };
        for _ in 0..2 {
            let mut server = at_home(place.server(&["0", "port"])).start();
            server.serving();
            let mut client = at_home(place.client(&["0", "port"])).start();
            client.say("word");
            server.hear("word");
            client.close_input();
            assert_eq!((client.end().code, server.end().code), (0, 0), "{umask:o}");
        }
        assert_eq!(below(&home), [""; 0].map(std::path::PathBuf::from), "{umask:o}");
    }
}
