//! Grant numbers: the slot they belong to, and the name of a block's memory file.

/// Grant numbers per slot: enough for the shared page and two rings of the largest order.
pub(super) const PER_SLOT: u32 = 1024;

/// The number of slots.
pub(super) const SLOTS: u32 = u32::MAX / PER_SLOT;

/// The longest file name (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// The suffix of a memory file's name while the file is being created.
const UNFINISHED: &str = ".new";

/// The slot that owns a grant number.
pub(super) fn slot_of(grant: u32) -> u32 {
    grant / PER_SLOT
}

/// The memory file's name for a block of grants: the numbers joined by commas, as in the historical program.
/// That program has no name for a block whose list is too long for a file name; it is called
/// `<first>-<last>`.
pub(super) fn file_name(grants: &[u32]) -> String {
    let list = grants.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    match grants {
        [first, .., last] if list.len() > LONGEST_NAME => format!("{first}-{last}"),
        _ => list,
    }
}

/// The name of an incomplete memory file.
pub(super) fn unfinished_name(grants: &[u32]) -> String {
    format!("{}{UNFINISHED}", grants.first().copied().unwrap_or_default())
}

/// The grants in a memory file's name, `None` for each part that is not a number.
pub(super) fn grants_in(name: &str) -> impl Iterator<Item = Option<u32>> + '_ {
    name.strip_suffix(UNFINISHED).unwrap_or(name).split([',', '-']).map(number)
}

/// The slot that all grants in a memory file's name belong to; `None` for any other name.
pub(super) fn slot_of_file(name: &str) -> Option<u32> {
    let mut slots = grants_in(name).map(|grant| grant.map(slot_of));
    let first = slots.next()??;
    slots.all(|slot| slot == Some(first)).then_some(first)
}

/// Parses a number as it is written here: decimal digits and nothing else.
pub(super) fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_the_historical_program() {
        assert_eq!(file_name(&[0]), "0");
        let left: Vec<u32> = (1..=16).rev().collect();
        assert_eq!(file_name(&left), "16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1");
        let sixty_four: Vec<u32> = (65..=128).rev().collect();
        assert!(file_name(&sixty_four).starts_with("128,127,"), "262144 bytes still have the old form");
    }

    #[test]
    fn too_long_list_is_shortened() {
        let order_20: Vec<u32> = (1..=256).rev().collect();
        assert_eq!(file_name(&order_20), "256-1");
        for pages in 1..=256 {
            let grants: Vec<u32> = (2048..2048 + pages).rev().collect();
            assert!(file_name(&grants).len() <= LONGEST_NAME);
            assert_eq!(slot_of_file(&file_name(&grants)), Some(2));
        }
    }

    #[test]
    fn slot_of_file_rejects_other_names() {
        assert_eq!(slot_of_file("0"), Some(0));
        assert_eq!(slot_of_file("1024,1025"), Some(1));
        assert_eq!(slot_of_file(&unfinished_name(&[2049, 2048])), Some(2));
        for foreign in ["", "1,", "x", "1023,1024", "1 ", "+1", "99999999999", "0.old", ".new"] {
            assert_eq!(slot_of_file(foreign), None, "{foreign}");
        }
    }
}
