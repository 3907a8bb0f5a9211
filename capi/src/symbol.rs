//! Functions of Xen's other libraries, which are optional.

use std::ffi::{c_void, CStr};
use std::ptr::NonNull;

/// A function of one of Xen's libraries: of a loaded one, otherwise of `library`, which then stays loaded.
pub(crate) fn look_up(symbol: &CStr, library: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: both are look-ups by NUL-terminated names; the constructors of Xen's libraries have no side
    // effects.
    unsafe {
        NonNull::new(libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr())).or_else(|| {
            let library = NonNull::new(libc::dlopen(library.as_ptr(), libc::RTLD_NOW))?;
            NonNull::new(libc::dlsym(library.as_ptr(), symbol.as_ptr()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_symbol_is_not_found() {
        assert!(look_up(c"no_such_function_anywhere", c"no-such-library.so").is_none());
        assert!(look_up(c"malloc", c"no-such-library.so").is_some());
    }
}
