//! A hostile peer against every call of the library, in lockstep.
#![no_main]

#[allow(dead_code, unused_imports, reason = "the bounded run uses more of it")]
#[path = "../../tests/hostile/engine/mod.rs"]
mod engine;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    engine::step(bytes);
});
