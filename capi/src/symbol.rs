//! Functions of Xen's other libraries, which may be there or not.

use std::ffi::{c_void, CStr};
use std::ptr::NonNull;

/// A function of one of Xen's libraries: of one that is loaded, else of `library`, loaded for good.
pub(crate) fn look_up(symbol: &CStr, library: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: both are plain look-ups by names that end in zero; Xen's libraries have no constructors to fear.
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
    fn unknown_functions_are_not_found() {
        assert!(look_up(c"no_such_function_anywhere", c"no-such-library.so").is_none());
        assert!(look_up(c"malloc", c"no-such-library.so").is_some());
    }
}
