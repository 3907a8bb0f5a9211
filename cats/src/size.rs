//! Numbers on the command line: bytes with a suffix, seconds.

use std::time::Duration;

/// The largest ring of the protocol. Larger requests are capped, not rejected.
pub const LARGEST_RING: usize = 1 << 20;

/// Parses a number of bytes: `4096`, `64K`, `1M`.
///
/// The error text continues a sentence that begins with `text`. Values above [`LARGEST_RING`] are capped, as in
/// the original tool.
pub fn bytes(text: &str) -> Result<usize, &'static str> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("is not a number of bytes, such as 65536, 64K or 1M");
    }
    // Only digits are left, so parsing fails only on overflow.
    let count = digits.parse::<usize>().unwrap_or(usize::MAX).saturating_mul(unit);
    if count == 0 {
        return Err("is too small, a ring has at least 1 byte");
    }
    Ok(count.min(LARGEST_RING))
}

/// Parses a positive number of seconds, with an optional fraction. Error texts as in [`bytes`].
pub fn seconds(text: &str) -> Result<Duration, &'static str> {
    let time = number_of_seconds(text).filter(|time| !time.is_zero());
    time.ok_or("is not a positive number of seconds, such as 10 or 0.5")
}

/// Like [`seconds`], but accepts zero.
pub fn seconds_or_zero(text: &str) -> Result<Duration, &'static str> {
    number_of_seconds(text).ok_or("is not a number of seconds, such as 0, 10 or 0.5")
}

fn number_of_seconds(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain)?;
    // A century counts as forever; larger values would overflow the clock's arithmetic.
    Some(Duration::from_secs_f64(number.min(100.0 * 365.0 * 86400.0)))
}

/// Formats a ring size as [`bytes`] parses it: `64K`, `1M`.
pub fn brief(count: usize) -> String {
    match count >> 20 {
        0 => format!("{}K", count >> 10),
        count => format!("{count}M"),
    }
}

/// Formats a byte count: `17 bytes`, `1.5 MiB`.
pub fn human(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut number = count as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_suffixes_and_a_cap() {
        for (text, count) in [("1", 1), ("4096", 4096), ("64K", 65536), ("64k", 65536), ("1M", 1 << 20)] {
            assert_eq!(bytes(text), Ok(count), "{text}");
        }
        for text in ["1048577", "2M", "9999999999999999999999M", "18446744073709551615K"] {
            assert_eq!(bytes(text), Ok(LARGEST_RING), "{text}");
        }
    }

    #[test]
    fn invalid_sizes_are_rejected() {
        for text in ["", "0", "0K", "K", "-1", "+1", "1.5K", "64KB", "1G", " 1", "0x10", "64 K", "6é"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert!(seconds("99999999999999999999999").is_ok());
        for text in ["", ".", "0", "0.0", "-1", "inf", "nan", "1e9", "1s", "0x1"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
        assert_eq!(seconds_or_zero("0"), Ok(Duration::ZERO));
        assert!(seconds_or_zero("-1").is_err());
    }

    #[test]
    fn byte_counts_have_units() {
        assert_eq!(human(17), "17 bytes");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(1 << 30), "1.0 GiB");
    }
}
